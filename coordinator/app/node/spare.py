"""The spare: a copy of the agent that waits to replace it, or to clean up after it."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import NoReturn

from coordinator.app.config.settings import NodeSettings
from coordinator.app.node import compose
from coordinator.app.node.compose import Legacy
from coordinator.errors import CoordError
from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import SessionTold
from coordinator.protocol.messages.requests import Leave
from coordinator.runtime.agent.backstop import SpareBackstop
from coordinator.runtime.isolation.levels import Handle, kill_all
from coordinator.runtime.linux.channel import Channel
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.log import logger as log

#: Tries, of 0.2 s each, to kill the programs that a dead guardian left.
KILLS_MAX = 25
#: Ending a dead agent's session is tried for this long if no other process is left to do it.
BURY_S = 5.0


def wait(
    channel: Channel,
    settings: NodeSettings,
    deadlines_fd: int = -1,
    known: Mapping[int, Handle] | None = None,
) -> tuple[Legacy, int]:
    """Wait until this process becomes the agent; exit when it is no longer needed.

    known: the runs that its agent has inherited.
    """
    backstop = SpareBackstop(channel, deadlines_fd, known or {})
    agent = os.getppid()
    session: str | None = None
    while True:
        backstop.watch()
        message, fds = channel.receive()
        if message is None:
            _end_alone(backstop, settings, session, agent_lives=os.getppid() == agent)
        match word := wire.for_spare(message):
            case wire.QuitOrdered():
                os._exit(0)
            case wire.BecomeOrdered(found, term, dying):
                backstop.close()
                return Legacy(found, term, dying, backstop.handles), fds[0]
            case wire.RunsTold() | wire.RunTold() | wire.RunOver():
                backstop.hear(word)
                session = word.session if isinstance(word, wire.RunsTold) else session
            case SessionTold(found):
                session = found
            case _:
                pass


def _end_alone(
    backstop: SpareBackstop, settings: NodeSettings, session: str | None, *, agent_lives: bool
) -> NoReturn:
    """End the node: the guardian is dead, and the agent may be.

    No process of any program may survive. Each try is bounded; a process that the kernel cannot
    kill now may die later.
    """
    gone = any(not kill_all(backstop.handles) for _ in range(KILLS_MAX))
    if backstop.killed:
        _say(
            settings,
            f"neither guardian nor agent ended {backstop.killed} programs in time:"
            " the spare did, and ends the node",
        )
    elif not agent_lives:
        _say(settings, "guardian and agent were killed; the programs are killed, the node leaves")
    # If a process cannot be killed, the token is kept for the rest of the lease (L1).
    if session is not None and gone:
        bury(settings, session)
    log.end()
    os._exit(1)


def _say(settings: NodeSettings, why: str) -> None:
    """Log what a shell, which reports only "Killed", does not know."""
    group, node = settings.group_id, settings.task_id
    logger = log.set_up(settings.log_level, settings.log_format, group=group, node=node)
    log.say(logger, "guardian-lost", f"{group}: {why}", {})


def bury(settings: NodeSettings, session: str, reason: str = "guardian and agent are dead") -> bool:
    """End a session whose guardian and agent are both dead; the program has been killed.

    Returns false when the database did not answer in time.
    """
    made, clock, pause = compose.parts(settings), BoottimeClock(), threading.Event()
    give_up_at = clock.now() + BURY_S
    while clock.now() < give_up_at:
        try:
            connection = made.store.connect(1.0)
            connection.ask(Leave(session=session, reason=reason), 1.0)
        except CoordError:
            pause.wait(compose.FIRST_RETRY_S)
        else:
            return True
    return False
