"""Contender for a token in this process: a node in a thread of its own, under its own name.

    held(contest)        the token for the body of a `with`
    held_async(contest)  the same for an `async with`; nothing of it waits in an executor

However the waiting code ends (an exception, a cancelled task, a closed event loop), it finally
calls `give_back`: from then on the node's own thread refuses a grant that is still under way,
releases a token that was granted, and ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from coordinator.app.api.contender import own_name
from coordinator.app.api.setup import Setup
from coordinator.errors import ConfigError, CoordError, TokenHeldError
from coordinator.ports import Store
from coordinator.protocol.messages.requests import NodeFacts
from coordinator.protocol.node.events import Finish, LogLine
from coordinator.protocol.node.state.node import Node, OnExit, Policy
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.agent.in_process import LocalProgram
from coordinator.runtime.agent.inbox import Inbox
from coordinator.runtime.agent.loop import Agent
from coordinator.runtime.holders.holding import Holding
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.log.logger import LOGGER
from coordinator.store.connection.postgres import PostgresStore

T = TypeVar("T")
#: Answer to a contender: its holding, or the error that explains why there is none.
Answer = Holding | CoordError

#: Time that the end of a block may wait until the database has acknowledged the leave.
LEAVE_MAX_S = 5.0
#: Time limit of the first connection; later ones are waited for.
CONNECT_S = 5.0

_logger = logging.getLogger(LOGGER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Wishes of a contender: the token, and how to hold it.

    token: its name, which in this API is the group's name, too.
    task_id: the first part of the contender's own name.
    timeout_s: None waits for ever, 0 does not wait.
    """

    token: str
    task_id: str
    timing: Timing
    store: Callable[[NodeFacts], Store]
    priority: int = 1
    timeout_s: float | None = None


def contest(setup: Setup, token: str, timeout_s: float | None) -> Contest:
    """Return the wish for one token of a setup."""
    return Contest(
        token=token,
        task_id=setup.task_id,
        timing=setup.timing,
        store=lambda facts: PostgresStore(setup.conninfo, setup.schema, facts),
        timeout_s=timeout_s,
    )


@contextmanager
def held(contest: Contest) -> Iterator[Holding]:
    """Hold the token for the body of a `with`.

    Errors: see `Coordinator.token`.
    """
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    contender = Contender(contest, answers.put)
    try:
        contender.start()
        holding = _granted(answers.get())
        yield holding
        holding.check()
    finally:
        contender.give_back()
        contender.join(LEAVE_MAX_S)


@asynccontextmanager
async def held_async(contest: Contest) -> AsyncIterator[Holding]:
    """Hold the token for the body of an `async with`; see `held`."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Answer] = loop.create_future()
    left: asyncio.Future[None] = loop.create_future()
    contender = Contender(contest, _resolver(loop, answer), lambda: _resolver(loop, left)(None))
    may_wait = True
    try:
        contender.start()
        holding = _granted(await answer)
        yield holding
        holding.check()
    except GeneratorExit:
        may_wait = False  # the task was discarded: there is no loop to wait in
        raise
    finally:
        contender.give_back()
        if may_wait and contender.is_alive():
            await asyncio.wait((left,), timeout=LEAVE_MAX_S)


def _granted(answer: Answer) -> Holding:
    """Return the holding; raise the error if there is none."""
    if isinstance(answer, CoordError):
        raise answer
    return answer


def _resolver(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T]) -> Callable[[T], None]:
    """Return a function that resolves a future of the loop from another thread, once.

    Errors: RuntimeError in its call if the loop is closed.
    """

    def resolve(value: T) -> None:
        if not future.done():
            future.set_result(value)

    def from_elsewhere(value: T) -> None:
        loop.call_soon_threadsafe(resolve, value)

    return from_elsewhere


class Contender:
    """Node in a thread, from the wait for the token to its release.

    answered: called in that thread with the holding or the error; RuntimeError means that nobody
    waits for the answer any more.
    left: called in that thread at its end; RuntimeError is ignored.
    """

    def __init__(
        self,
        contest: Contest,
        answered: Callable[[Answer], None],
        left: Callable[[], None] = lambda: None,
    ) -> None:
        self._contest, self._answered, self._left = contest, answered, left
        self._pid = os.getpid()
        self._clock = BoottimeClock()
        self._program = LocalProgram(self._clock, self._tell)
        self._thread = threading.Thread(target=self._live, name="coord-node", daemon=True)

    def start(self) -> None:
        """Begin to wait for the token. Everything that is opened belongs to the thread."""
        self._thread.start()

    def give_back(self) -> None:
        """Release the token, or stop waiting for it; never blocks."""
        if not self._is_forked():
            self._program.give_back()

    def is_alive(self) -> bool:
        """Return True while the node's thread runs."""
        return not self._is_forked() and self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        """Wait a while for the node to leave its group."""
        if self.is_alive():
            self._thread.join(timeout_s)

    def _is_forked(self) -> bool:
        """Return True in a forked child, where the thread and its session are the parent's."""
        return os.getpid() != self._pid

    def _live(self) -> None:
        trouble: CoordError
        try:
            trouble = _as_error(self._run())
        except CoordError as error:
            trouble = error
        except Exception as error:  # top of the thread: nothing else would report it
            _logger.exception("the node for the token of %s has ended", self._contest.token)
            trouble = CoordError(f"the node has ended: {type(error).__name__}: {error}")
        self._program.abandon(str(trouble))
        self._tell(trouble)
        try:
            self._left()
        except RuntimeError:
            return  # the event loop is closed, and nobody waits

    def _run(self) -> Finish:
        contest = self._contest
        with ExitStack() as opened:
            name = opened.enter_context(own_name(contest.token, contest.task_id))
            inbox = Inbox()
            opened.callback(inbox.close)
            if not self._program.attach(inbox.put):
                return Finish(0, "nobody waits for it")
            node = Node(policy=self._policy(name), timing=contest.timing)
            store = contest.store(self._facts(name))
            agent = Agent(node, store, self._program, self._clock, _quiet, inbox=inbox)
            return agent.run(store.connect(CONNECT_S))

    def _tell(self, answer: Answer) -> None:
        try:
            self._answered(answer)
        except RuntimeError:
            # The event loop is closed: a grant that nobody can fetch must be released.
            self._program.give_back()

    def _policy(self, name: str) -> Policy:
        timeout_s = self._contest.timeout_s
        return Policy(
            node=name,
            group=self._contest.token,
            seed=uuid.uuid4().hex,
            priority=self._contest.priority,
            on_exit=OnExit.STOP,
            nonblock=timeout_s == 0,
            wait_until=self._clock.now() + timeout_s if timeout_s else None,
        )

    def _facts(self, name: str) -> NodeFacts:
        timing = self._contest.timing
        return NodeFacts(
            node=name,
            group=self._contest.token,
            liveness_s=timing.liveness_s,
            heartbeat_s=timing.heartbeat_s,
            lease_s=timing.lease_s,
            priority=self._contest.priority,
            host=socket.gethostname(),
            pid=self._pid,
            isolation="in-process",
        )


def _as_error(finish: Finish) -> CoordError:
    """Return the error, for a caller that still waits, that describes a node's end."""
    if finish.code == ConfigError.exit_code:
        return ConfigError(finish.trouble)
    return TokenHeldError(finish.trouble)


def _quiet(report: LogLine, node: Node) -> None:
    """Log nothing: this is a library; `Token.on_lost` reports what matters."""
