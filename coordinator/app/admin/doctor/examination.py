"""Examination step by step: each goes on after the one before has failed, as far as it can."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

from coordinator import __version__
from coordinator.app.admin.config_check import problems_of
from coordinator.app.admin.doctor import server
from coordinator.app.admin.doctor.findings import Finding, bad, good, weak
from coordinator.app.admin.doctor.levels import guardian_levels
from coordinator.app.admin.doctor.peers import Own, judge_peers
from coordinator.app.admin.status import StatusReader
from coordinator.app.config.database_choice import Resolved
from coordinator.app.config.settings import NodeSettings
from coordinator.errors import CoordError, NotFoundError
from coordinator.runtime.isolation import plain
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.store.admin.connection import AdminConnection
from coordinator.store.admin.look import examination as store
from coordinator.web.webhook import payload, target
from coordinator.web.webhook.post import NotDeliveredError, reach

#: Seconds between the two looks at the server's clock: an answer of 10 ms is an error of 1 %.
CLOCK_TRIAL_S = 1.0
Pause = Callable[[float], object]


def examine_machine(wanted: str) -> Iterator[Finding]:
    """Yield what this machine allows a guardian to do."""
    try:
        levels = guardian_levels(wanted)
    except CoordError as error:
        remedy = "isolation = 'auto', or change the machine as the sentence says"
        yield bad("guardian", str(error), remedy, error.exit_code)
        return
    used = next(level for level in levels if level.used)
    text = f"isolation {used.name}: {used.promise}"
    if used.name == plain.LEVEL:
        better = next((level for level in levels if not level.available), None)
        remedy = "a stronger level" if better is None else f"{better.name}: {better.why_not}"
        yield weak("guardian", text, remedy)
    else:
        yield good("guardian", text)


def examine_config(
    settings: NodeSettings, checks: tuple[Callable[[], object], ...]
) -> Iterator[Finding]:
    """Yield what `coord run` refuses before it asks the database.

    checks: functions that raise CoordError for what is refused.
    """
    troubles = [error for check in checks if (error := _refused(check)) is not None]
    for error in troubles:
        first = str(error).splitlines()[0]
        yield bad("config", first, "change what the sentence names", error.exit_code)
    if settings.program is None and settings.priority > 0 and not settings.hosts_tasks:
        yield weak("config", "no program is configured", "`coord run -- COMMAND`, or [program]")
    problems = problems_of(settings)
    for line in problems:
        yield weak("config", line, "change that line")
    for line in settings.warnings:
        yield weak("config", line, "read docs/settings.md")
    if not troubles and not problems and not settings.warnings:
        yield good("config", settings.config_path or "from the environment and options")


def examine_webhook(settings: NodeSettings) -> Iterator[Finding]:
    """Yield whether the webhook can be reached, and its files read; nothing is sent to it."""
    hooks = settings.hooks
    if hooks is None or hooks.webhook is None:
        return
    place = target.shown(hooks.webhook)
    for path, read in (
        (hooks.webhook_token_file, payload.token_of),
        (hooks.webhook_secret_file, payload.key_of),
    ):
        try:
            if path is not None:
                read(path)
        except payload.SecretFileError as error:
            yield weak("webhook", str(error), "no event is delivered until the file is right")
    try:
        reach(target.target_of(hooks.webhook), hooks.webhook_timeout_s)
    except NotDeliveredError as error:
        remedy = "events wait until it takes them: look at the URL, the network and the receiver"
        yield weak("webhook", f"{place} {error}", remedy)
    else:
        yield good("webhook", f"{place} can be reached")


def _refused(check: Callable[[], object]) -> CoordError | None:
    try:
        check()
    except CoordError as error:
        return error
    return None


def examine_database(
    resolved: Resolved, settings: NodeSettings, timeout_s: float, pause: Pause
) -> Iterator[Finding]:
    """Yield what is to be said about the connection, the server, the schema and the group."""
    schema = settings.database.schema
    try:
        database = AdminConnection(resolved.conninfo, schema, resolved.label, timeout_s)
    except CoordError as error:
        remedy = "look at host, port, user, password and the server's pg_hba.conf"
        yield bad("connection", str(error), remedy, error.exit_code)
        return
    with closing(database):
        yield good("connection", resolved.label)
        for step in (_server, _clock, _news, _schema):
            yield from _guarded(step, database, resolved, settings, timeout_s, pause)


def _guarded(step: Callable[..., Iterator[Finding]], *arguments: object) -> Iterator[Finding]:
    """Run one step; its failure is a finding, and the next step goes on."""
    found: list[Finding] = []
    try:
        for finding in step(*arguments):
            found.append(finding)
    except CoordError as error:
        area = step.__name__.strip("_")
        found.append(bad(area, str(error), "see the sentence", error.exit_code))
    yield from found


def _server(
    database: AdminConnection, _: Resolved, settings: NodeSettings, _timeout: float, _pause: Pause
) -> Iterator[Finding]:
    row = store.server(database)
    lent = row.pop("pid") != database.greeted_by
    facts = server.ServerFacts(**row, version=database.version(), lent=lent)
    yield from server.judge_server(facts, settings.heartbeat_s)


def _clock(
    database: AdminConnection, _: Resolved, _settings: NodeSettings, _timeout: float, pause: Pause
) -> Iterator[Finding]:
    clock = BoottimeClock()

    def look() -> tuple[float, float]:
        asked_at = clock.now()
        then = database.server_time().timestamp()
        return (asked_at + clock.now()) / 2, then

    here, there = look()
    pause(CLOCK_TRIAL_S)
    here_later, there_later = look()
    tried_s = here_later - here
    yield server.judge_clock((there_later - there) / tried_s - 1.0, tried_s)


def _news(
    database: AdminConnection, resolved: Resolved, _: NodeSettings, timeout_s: float, _pause: Pause
) -> Iterator[Finding]:
    other = AdminConnection(resolved.conninfo, database.schema, resolved.label, timeout_s)
    with closing(other):
        yield server.judge_news(heard=store.hears(database, other))


def _schema(
    database: AdminConnection,
    resolved: Resolved,
    settings: NodeSettings,
    timeout_s: float,
    _pause: Pause,
) -> Iterator[Finding]:
    try:
        revision = database.revision()
    except CoordError as error:
        remedy = "`coord db upgrade`, by a login that may create tables"
        yield bad("schema", str(error), remedy, error.exit_code)
        return
    yield good("schema", f"{database.schema} is at {revision}")
    for sentence in database.remarks():
        yield weak("schema", sentence, "see docs/operation.md")
    role = store.server(database)["role"]
    yield server.judge_rights(store.missing_rights(database), database.schema, role)
    admission = store.admission(database, settings.group_id)
    found = server.judge_admission(**admission, role=role, group=settings.group_id)
    if found is not None:
        yield found
    yield from _peers(database, resolved, settings, timeout_s)


def _peers(
    database: AdminConnection, resolved: Resolved, settings: NodeSettings, timeout_s: float
) -> Iterator[Finding]:
    kind = store.group_kind(database, settings.group_id)
    reader = StatusReader(resolved, schema=database.schema, timeout_s=timeout_s)
    with closing(reader):
        try:
            nodes = reader.status(settings.group_id).groups[0].nodes
        except NotFoundError:
            nodes = ()
    own = Own(
        node=settings.task_id,
        group=settings.group_id,
        host=socket.gethostname(),
        version=__version__,
        config_hash=settings.config_hash,
        liveness_s=settings.liveness_s,
        heartbeat_s=settings.heartbeat_s,
        priority=settings.priority,
        hosts_tasks=settings.hosts_tasks,
        running=frozenset(int(name) for name in os.listdir("/proc") if name.isdigit()),
    )
    yield from judge_peers(own, nodes, kind=kind["hosts_tasks"], tasks=kind["tasks"])
