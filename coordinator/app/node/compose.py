"""Composition of one node from its settings, store, program and machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from coordinator import __version__
from coordinator.app.admin.since import trouble_of
from coordinator.app.config.settings import NodeSettings
from coordinator.app.node.asked_lines import (
    first_words,
    say_guardian_lost,
    say_state,
    say_warnings,
    with_origin,
)
from coordinator.app.node.beside.housekeeping import housekeeper_of
from coordinator.app.node.beside.suspends import suspends
from coordinator.app.node.beside.token_service import TokenServiceProcess
from coordinator.app.node.beside.webhook import WebhookProcess
from coordinator.app.node.http.endpoints import HttpEndpoints
from coordinator.app.node.log_lines import sentence
from coordinator.app.node.one_off.door import OneOffDoor
from coordinator.app.node.own.policy import policy_of
from coordinator.app.node.own.program import OwnProgram
from coordinator.app.node.program.loads import loader_of
from coordinator.app.node.reload import LiveSettings
from coordinator.app.node.service.manager import ServiceManager
from coordinator.app.node.tasks import TaskNode, declare
from coordinator.app.worker.orders import worker_orders
from coordinator.errors import (
    CoordError,
    DatabaseUnreachableError,
    SchemaError,
)
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import ExitOrdered
from coordinator.protocol.messages.requests import NodeFacts
from coordinator.protocol.node.events import Finish, LogLine, StartProgram
from coordinator.protocol.node.state.node import Node, succeeding
from coordinator.protocol.node.state.tasks import TaskState
from coordinator.protocol.node.state.worker import WORKER
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.agent.guardian_link import GuardLink, Orders
from coordinator.runtime.agent.host_watch import HostWatch
from coordinator.runtime.agent.left_behind import LeftBehind
from coordinator.runtime.agent.loop import Agent
from coordinator.runtime.isolation.levels import Handle
from coordinator.runtime.linux.capacity import programs_max
from coordinator.runtime.linux.channel import Channel
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.log import logger as log
from coordinator.runtime.log import stacks
from coordinator.store.connection import hosts
from coordinator.store.connection.postgres import PostgresConnection, PostgresStore

#: Between two tries to reach the database at the start.
FIRST_RETRY_S = 0.1
#: The other hosts of the database are queried once in so many heartbeats, each by a new connection,
LOOK_BEATS = 5
#: but more often than a whole livenessCheckInterval, after which a node may act on a new identity.
LOOK_SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class Legacy:
    """State that a dead agent left behind."""

    session: str | None
    term: int
    program_dying: bool
    handles: Mapping[int, Handle] = field(default_factory=dict)  #: of its runs, as far as known

    def left_behind(self, deadlines_fd: int) -> LeftBehind | None:
        """Return the programs that are still to die; None if there are none."""
        return LeftBehind(self.handles, deadlines_fd) if self.program_dying else None


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts that are made once for a node."""

    settings: NodeSettings
    timing: Timing
    facts: NodeFacts
    store: PostgresStore


def parts(settings: NodeSettings, isolation: str = "") -> Parts:
    """Make the store and the facts of a node from its settings."""
    timing = Timing(
        liveness_s=settings.liveness_s,
        heartbeat_s=settings.heartbeat_s,
        stop_timeout_s=settings.stop_timeout_s,
    )
    facts = NodeFacts(
        node=settings.task_id,
        group=settings.group_id,
        liveness_s=timing.liveness_s,
        heartbeat_s=timing.heartbeat_s,
        lease_s=timing.lease_s,
        priority=settings.priority,
        host=socket.gethostname(),
        pid=os.getppid(),  # the guardian: the process that a person or a supervisor sees
        version=__version__,
        config_hash=settings.config_hash,
        isolation=isolation,
        hosts_tasks=settings.hosts_tasks,
        capacity=programs_max() if settings.hosts_tasks else None,
        address=settings.address or "",
    )
    database = settings.database
    store = PostgresStore(database.conninfo, database.schema, facts, database.label)
    return Parts(settings, timing, facts, store)


def run(
    settings: NodeSettings,
    settings_fd: int,
    channel: Channel,
    legacy: Legacy | None,
    isolation: str,
    spare: int | None,
    deadlines_fd: int = -1,
) -> int:
    """Run the node until it is finished; return its exit code."""
    logger, clock = _logger(settings), BoottimeClock()
    made = parts(settings, isolation)
    connection: PostgresConnection | None = None
    if legacy is None:
        say_warnings(logger, settings)
        try:
            connection = first_connection(made, settings_fd, clock)
            declare(settings, logger)
        except CoordError as error:
            log.fail(logger, "not-started", str(error))
            channel.send(wire.build(ExitOrdered(error.exit_code)))
            return error.exit_code
        first_words(logger, settings, isolation, listening=connection.listening)
    live = LiveSettings(settings)
    manager = ServiceManager(settings, None if legacy is None else legacy.program_dying)
    programs = _programs(settings, live, settings_fd, clock)

    def ordered(command: StartProgram, session: str) -> Orders:
        if command.side == WORKER:
            return worker_orders(settings, settings_fd, session, programs.progress, command.run)
        return programs.orders(command, session, agent.node)

    link = GuardLink(
        channel,
        clock,
        made.timing,
        orders=ordered,
        on_started=lambda order, pid: programs.say_started(logger, order, pid, agent.node),
        inherited=None if legacy is None else legacy.left_behind(deadlines_fd),
        upkeep=lambda: _collect(spare),
        loader=(loader := loader_of(settings, made.timing, clock)),
        record=manager.runs,
    )
    node = first_node(made, clock.now(), legacy)
    agent = Agent(node, made.store, link, clock, partial(_say, logger, manager))
    sleeps = suspends(channel, logger, settings, succeeds=legacy is not None)
    door = OneOffDoor(agent, settings, logger)
    agent.sources, agent.on_tell = (sleeps, programs.progress, loader, door), door.tell
    agent.onlookers += (programs.look, manager.look)
    _connect_callbacks(link, agent, live, manager, logger)
    lookout = _lookout(settings, made.timing, clock, agent)
    keeping = housekeeper_of(settings, agent)
    agent.onlookers += (lambda _node: lookout.begin(), lambda _node: keeping.begin())
    try:
        window = HttpEndpoints(agent, clock, settings, logger)
        tokens = TokenServiceProcess(agent, settings, settings_fd, logger, first=legacy is None)
    except CoordError as error:
        log.fail(logger, "not-started", with_origin(settings, str(error)))
        link.finish(error.exit_code)
        return error.exit_code
    webhook = WebhookProcess(agent, settings, settings_fd, logger)
    finish = agent.run(connection)
    for beside in (webhook, tokens, window, loader, door):
        beside.close()
    for watch in (lookout, keeping, manager):
        watch.stop()
    _say_trouble(logger, settings, finish)
    link.finish(finish.code)
    return finish.code


def _programs(
    settings: NodeSettings, live: LiveSettings, settings_fd: int, clock: BoottimeClock
) -> TaskNode | OwnProgram:
    """Return what orders the programs of a node: those of its tasks, or the group's own."""
    if settings.hosts_tasks:
        return TaskNode(settings, settings_fd, clock)
    return OwnProgram(live, settings_fd, clock)


def _say_trouble(logger: logging.Logger, settings: NodeSettings, finish: Finish) -> None:
    """Log why the node ends, if that is news.

    A node of `coord once` that ends because another machine was faster is none.
    """
    expected = settings.once is not None and finish.code == settings.conflict_exit_code
    if finish.trouble and not expected:
        log.fail(logger, "ended", with_origin(settings, trouble_of(settings, finish)))


def _logger(settings: NodeSettings) -> logging.Logger:
    """Return the logger of this process; no line of it waits for a reader (G10)."""
    logger = log.set_up(
        settings.log_level, settings.log_format, group=settings.group_id, node=settings.task_id
    )
    log.take_stderr(logger)
    stacks.tell_on_quit(partial(log.fail, logger, "stacks"))
    return logger


def _lookout(
    settings: NodeSettings, timing: Timing, clock: BoottimeClock, agent: Agent
) -> HostWatch:
    """Return a watch of the other hosts of the database, or of a proxy in front of it."""
    looks = hosts.looks(settings.database.conninfo, timing.attempt_s)
    every_s = min(LOOK_BEATS * timing.heartbeat_s, LOOK_SHARE * timing.liveness_s)
    return HostWatch(looks, clock, agent.inbox.put, every_s)


def first_node(made: Parts, now: float, legacy: Legacy | None) -> Node:
    """Return the state that a node begins with."""
    settings = made.settings
    policy = policy_of(settings, now)
    # The numbers of runs rise through all agents of one guardian.
    node = Node(
        policy=policy,
        timing=made.timing,
        run_count=int(now * 1000),
        task_state=TaskState() if settings.hosts_tasks else None,
    )
    if legacy is None:
        return node
    return succeeding(node, legacy.session, legacy.term, now, dying=legacy.program_dying)


def _collect(spare: int | None) -> None:
    """Take the exit status of a spare that died, so that no zombie stays."""
    if spare is None:
        return
    with contextlib.suppress(ChildProcessError):
        os.waitpid(spare, os.WNOHANG)


def first_connection(made: Parts, settings_fd: int, clock: BoottimeClock) -> PostgresConnection:
    """Connect for the first time, and upgrade the schema if that is allowed.

    Errors: any CoordError; later a node waits for its database for ever.
    """
    database = made.settings.database
    give_up_at = clock.now() + database.connect_timeout_s
    pause = threading.Event()
    upgraded = False
    while True:
        left_s = max(0.5, give_up_at - clock.now())
        try:
            connection = made.store.connect(min(left_s, max(made.timing.attempt_s, 0.5)))
            made.store.try_to_listen(connection)
            return connection
        except SchemaError:
            if upgraded or not database.auto_migrate:
                raise
            from coordinator.app.node.schema_upgrade import upgrade_in_child

            upgrade_in_child(settings_fd)
            upgraded = True
            give_up_at = clock.now() + database.connect_timeout_s
        except DatabaseUnreachableError:
            if clock.now() + FIRST_RETRY_S >= give_up_at:
                raise
            pause.wait(FIRST_RETRY_S)


def _connect_callbacks(
    link: GuardLink,
    agent: Agent,
    live: LiveSettings,
    manager: ServiceManager,
    logger: logging.Logger,
) -> None:
    """Handle signals and the loss of the guardian; the link hears every answer of the database."""
    agent.on_answer = link.note
    link.on_lost = partial(say_guardian_lost, logger, live.now)
    live.on_read = manager.reload_ends

    def on_signal(signum: int) -> None:
        if signum == signal.SIGHUP:
            manager.reload_begins()
        _on_signal(signum, agent, live, logger)

    link.on_signal = on_signal


def _on_signal(signum: int, agent: Agent, live: LiveSettings, logger: logging.Logger) -> None:
    if signum == signal.SIGUSR2:
        say_state(logger, agent.node, agent.clock.now())
    elif signum == signal.SIGHUP:
        live.reload(logger)


def _say(logger: logging.Logger, manager: ServiceManager, report: LogLine, node: Node) -> None:
    manager.note(report, node)
    fields = {"group": node.policy.group, "node": node.policy.node, **dict(report.fields)}
    log.say(logger, report.event, sentence(report, node), fields)
