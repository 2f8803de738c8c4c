"""Process of a program of `coord once`: claim the slot, run the command, write how it ended.

The guardian starts it under the token, like the process of a schedule. It is the command's parent:
the group's record has to tell a command that ended from one whose starter died.

Exit codes: the command's own; that of settings.conflict_exit_code when the slot is another
machine's; 76 when the token is lost; others as in errors.py.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading

from coordinator.app.config.settings import NodeSettings, OnceSettings
from coordinator.app.program.database_ledger import DatabaseLedger
from coordinator.app.program.process import Start, started
from coordinator.app.program.record_connection import RecordConnection
from coordinator.errors import CommandNotFoundError, ConfigError, CoordError, TokenLostError
from coordinator.protocol.messages.schedule_claims import (
    AlreadyFired,
    Claim,
    Claimed,
    NotHolder,
    Outcome,
)
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.linux.descriptors import open_standard
from coordinator.runtime.log import logger as log
from coordinator.store.program import once as store
from coordinator.store.program.schedule import Holding

logger = logging.getLogger(log.LOGGER)

#: Seconds between two tries to write the end; trust bounds them.
AGAIN_S = 0.2


def main() -> int:
    """Run the command if the slot is ours; return the exit code."""
    open_standard()
    try:
        start = started(os.environ)
    except CoordError as error:
        print(f"coord: {error}", file=sys.stderr)
        return error.exit_code
    settings = start.settings
    log.set_up(
        settings.log_level, settings.log_format, group=settings.group_id, node=settings.task_id
    )
    try:
        return _run(start)
    except CoordError as error:
        logger.error("%s", error, extra={"event": "program-refused"})
        return error.exit_code


def _run(start: Start) -> int:
    settings, once, ledger = start.settings, start.settings.once, _ledger(start)
    if once is None:
        raise ConfigError("this program is started by `coord once`, not by hand")
    try:
        if not _claimed(ledger, once):
            return settings.conflict_exit_code
        # The command's time is not the connection's: a firewall may have closed it by then.
        ledger.close()
        clock, begun_at = BoottimeClock(), BoottimeClock().now()
        status = _command(settings, once)
        duration_s = clock.now() - begun_at
        outcome: Outcome = "ok" if status == 0 else "failed"
        error = None if status == 0 else f"exit code {status}"
        _finish(start, ledger, once, outcome, duration_s, error)
        return status
    finally:
        ledger.close()


def _ledger(start: Start) -> DatabaseLedger:
    settings = start.settings
    holding = Holding(
        schema=settings.database.schema,
        group=start.group,
        term=start.term,
        session=start.session,
        name=store.NAME,
        node=start.node,
    )
    return DatabaseLedger(
        RecordConnection.of(settings.database),
        holding,
        None,
        clock=BoottimeClock(),
        node_started_at=settings.started_at_s,
    )


def _claimed(ledger: DatabaseLedger, once: OnceSettings) -> bool:
    """Claim the slot, or claim it again after its starter has died, if that is wanted (M7, M8).

    Errors: TokenLostError when the token is not ours any more.
    """
    ledger.open()
    claim: Claim = ledger.claim(once.slot, None, 0).claim
    match claim:
        case Claimed():
            return True
        case AlreadyFired(same=True) if once.retry_s is not None and ledger.unfinished():
            threading.Event().wait(once.retry_s)
            return ledger.claim_again(once.slot)
        case NotHolder(reason):
            raise TokenLostError(f"the slot was not claimed: {reason}")
        case _:
            return False


def _command(settings: NodeSettings, once: OnceSettings) -> int:
    """Run the command to its end; SIGTERM of the guardian reaches it in this process's group."""
    program = settings.program
    assert program is not None, "`coord once` has a command"
    assert program.argv is not None, "`coord once` has a command"
    argv = ("/bin/sh", "-c", program.argv[0]) if program.shell else program.argv
    environ = os.environ | {"COORD_SCHEDULED_AT": once.slot.isoformat()}
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, _pass)  # not SIG_IGN, which the command would inherit
    try:
        process = subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise CommandNotFoundError(f"{argv[0]}: {error.strerror}") from error
    status = process.wait()
    return status if status >= 0 else 128 - status


def _pass(_signum: int, _frame: object) -> None:
    """Do nothing."""


def _finish(
    start: Start,
    ledger: DatabaseLedger,
    once: OnceSettings,
    outcome: Outcome,
    duration_s: float,
    error: str | None,
) -> None:
    """Write the end, again and again while trust lasts: without it the run counts as died."""
    pause = threading.Event()
    while True:
        try:
            ledger.finish(once.slot, outcome, duration_s, error, None)
            return
        except CoordError as trouble:
            if start.trust.remaining_s() <= AGAIN_S:
                logger.warning("the end of the run was not written: %s", trouble)
                return
            pause.wait(AGAIN_S)


if __name__ == "__main__":
    sys.exit(main())
