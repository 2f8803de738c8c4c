"""Process of a group's webhook: `python -m coordinator.app.webhook.process`.

The agent of the node that holds the group's token starts it, with the settings and the session of
the node, and it dies with the agent. So whatever the receiver does, no heartbeat waits for it.

    --settings-fd N --parent PID --session UUID
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable
from functools import partial

from coordinator.app.config.settings import HookSettings, NodeSettings, from_json
from coordinator.app.node.no_core_dump import leave_no_core
from coordinator.app.node.start import recall
from coordinator.app.webhook.sender import POLL_S, Sender
from coordinator.errors import CoordError
from coordinator.protocol.rules.timing import RATE_ERROR
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.linux.descriptors import open_standard
from coordinator.runtime.linux.syscalls import set_death_signal
from coordinator.runtime.log import logger as log
from coordinator.store.webhook.deliveries import TIMEOUT_S, Deliveries, Place
from coordinator.web.webhook import payload
from coordinator.web.webhook.payload import Event, SecretFileError
from coordinator.web.webhook.post import NotDeliveredError, post
from coordinator.web.webhook.target import shown, target_of

#: The kernel ends this process when a delivery is not over so long after its time: a resolver of
#: names cannot be bounded otherwise.
OVERTIME_S = 2.0


class LeavingError(Exception):
    """A signal to end, wherever it comes."""


def claim_s(timeout_s: float) -> float:
    """Return the time of a claim: a delivery, and what comes before and after it, is shorter."""
    return (timeout_s + OVERTIME_S + TIMEOUT_S) * (1 + RATE_ERROR)


def main() -> int:
    """Send until SIGTERM, until the agent dies, or until the session holds no token."""
    open_standard()
    parser = argparse.ArgumentParser(prog="coordinator.app.webhook.process")
    for name in ("--settings-fd", "--parent"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--session", required=True)
    arguments = parser.parse_args()
    set_death_signal(signal.SIGKILL)
    if os.getppid() != arguments.parent:
        return 0  # the agent has died already
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    leave_no_core()
    try:
        return run(from_json(recall(arguments.settings_fd)), arguments.session)
    except LeavingError:
        return 0


def run(settings: NodeSettings, session: str) -> int:
    """Send the events of a group; return the exit code."""
    logger = log.set_up(
        settings.log_level, settings.log_format, group=settings.group_id, node=settings.task_id
    )
    hooks = settings.hooks
    assert hooks is not None, "this is started with a webhook only"
    assert hooks.webhook is not None, "this is started with a webhook only"
    place = shown(hooks.webhook)
    database = settings.database
    marks = Deliveries(
        Place(
            conninfo=database.conninfo,
            schema=database.schema,
            where=database.label,
            group=settings.group_id,
            session=session,
            sender=str(uuid.uuid4()),
            claim_s=claim_s(hooks.webhook_timeout_s),
        )
    )

    def say(event: str, text: str) -> None:
        fields = {"group": settings.group_id, "node": settings.task_id}
        log.say(logger, event, f"{settings.group_id}: {text} ({place})", fields)

    sender = Sender(marks, partial(send, settings.group_id, hooks), say, BoottimeClock())
    try:
        _turns(sender, marks, say)
    finally:
        # The one statement is bounded, and a second signal ends it.
        with contextlib.suppress(CoordError, LeavingError):
            marks.leave()
        marks.close()
        log.end()
    return 0


def _turns(sender: Sender, marks: Deliveries, say: Callable[[str, str], None]) -> None:
    """Take turns until the session is over; the database may be away meanwhile."""
    pause, away = threading.Event(), False
    while True:
        try:
            wait_s = sender.turn()
            away = False
            if wait_s is None:
                return
            if wait_s:
                marks.wait_for_news(wait_s)
        except CoordError as error:
            marks.close()
            if not away:
                say("webhook-late", f"no event is delivered now: {error}")
            away = True
            pause.wait(POLL_S)


def send(group: str, hooks: HookSettings, event: Event, sent_at: int) -> None:
    """Deliver one event; sent_at: seconds since 1970.

    Errors: NotDeliveredError.
    """
    assert hooks.webhook is not None, "this is called with a webhook only"
    try:
        token = None if (path := hooks.webhook_token_file) is None else payload.token_of(path)
        key = None if (path := hooks.webhook_secret_file) is None else payload.key_of(path)
    except SecretFileError as error:
        raise NotDeliveredError(f"is not asked: {error}") from None
    body, identity = payload.body_of(group, event), payload.identity_of(group, event)
    headers = payload.headers_of(identity, body, sent_at, token=token, key=key)
    signal.setitimer(signal.ITIMER_REAL, hooks.webhook_timeout_s + OVERTIME_S)
    try:
        post(target_of(hooks.webhook), headers, body, hooks.webhook_timeout_s)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _leave(_signum: int, _frame: object) -> None:
    raise LeavingError


if __name__ == "__main__":
    sys.exit(main())
