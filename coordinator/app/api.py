"""The in-process API: a token for code that runs in your own process.

    from coordinator import Coordinator

    coordinator = Coordinator(group_id="orders", database_url="postgresql://...")
    with coordinator.token() as token:
        while work_left():
            token.check()              # raises TokenLostError once trust is over
            do_some(token.term)

What this does not guarantee: nothing can stop your code when the token is lost. A thread that is
paused between `check` and a write may write late. Use `token.transaction()` for what is written to
the same database; pass `token.term` to whatever else can refuse an older one; or let `coord run`
guard a process, which it can kill.
"""

from __future__ import annotations

import asyncio
import functools
import os
import queue
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from coordinator.app.config_values import NAME, NAME_RULE
from coordinator.errors import ConfigError, CoordError, TokenHeldError, TokenLostError
from coordinator.protocol.events import Finish, Report, StopAsked
from coordinator.protocol.node import Node, OnExit, Policy
from coordinator.protocol.requests import NodeFacts
from coordinator.protocol.timing import Timing
from coordinator.runtime.agent import Agent
from coordinator.runtime.clock import BoottimeClock
from coordinator.runtime.local_program import Holding, LocalProgram, OnLost
from coordinator.store.postgres import PostgresStore

if TYPE_CHECKING:
    from sqlalchemy import Connection

P = ParamSpec("P")
R = TypeVar("R")

#: Leaving tells the database; this is how long the end of a `with` may wait for that.
LEAVE_MAX_S = 5.0
#: The first connection must be there in this time; later ones are waited for.
CONNECT_S = 5.0
#: Of a group and the token's name together, as the tables have it.
NAME_LENGTH_MAX = 256


class Token:
    """A token that is held by this process.

    Attributes: name (of the token), node, term (the fencing token), session.
    """

    def __init__(self, holding: Holding, conninfo: str, schema: str) -> None:
        self._holding, self._conninfo, self._schema = holding, conninfo, schema
        self.name = holding.group
        self.node = holding.node
        self.term = holding.term
        self.session = holding.session

    @property
    def seconds_left(self) -> float:
        """How long the token may still be trusted, by this machine's own clock."""
        return self._holding.seconds_left

    def is_held(self) -> bool:
        """Say whether the token may be acted on at this moment."""
        return self._holding.is_held()

    def check(self) -> None:
        """Return when the token is held at this moment; TokenLostError otherwise."""
        self._holding.check()

    def on_lost(self, callback: OnLost) -> None:
        """Call back with the reason when the token is lost; keep it short, it must not block."""
        self._holding.on_lost(callback)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that can only commit while this token is held.

        The token's row is locked FOR SHARE until the commit, so no takeover can slip between the
        check and the commit. Yields an SQLAlchemy connection, committed at the end.

        Errors: TokenLostError when the token is not this holding's any more.
        """
        self.check()
        from coordinator.store.fenced import fenced_transaction

        name, term, session = self.name, self.term, self.session
        with fenced_transaction(self._conninfo, self._schema, name, term, session) as connection:
            yield connection


class Coordinator:
    """One node of a group, for code in this process.

    Units: heartbeat_frequency, liveness_check_interval in seconds, as in Config.toml.
    Errors: TimingError when the intervals cannot keep their promise.
    """

    def __init__(
        self,
        *,
        group_id: str,
        database_url: str,
        task_id: str | None = None,
        schema: str = "public",
        heartbeat_frequency: float = 1.0,
        liveness_check_interval: float = 30.0,
        stop_timeout: float | None = None,
        priority: int = 1,
    ) -> None:
        self.group_id = group_id
        self.task_id = task_id or f"{socket.gethostname()}-{os.getpid()}"
        self._conninfo, self._schema, self._priority = database_url, schema, priority
        self._timing = Timing(
            liveness_s=liveness_check_interval,
            heartbeat_s=heartbeat_frequency,
            stop_timeout_s=-1.0 if stop_timeout is None else stop_timeout,
        )

    @classmethod
    def from_config(cls, path: str | None = None) -> Coordinator:
        """Make a coordinator from Config.toml, the environment and the defaults.

        Errors: ConfigError with every problem of the file.
        """
        from coordinator.app.config_loader import load
        from coordinator.app.database import resolve

        settings = load(path, flags={}, environ=os.environ)
        return cls(
            group_id=settings.group_id,
            task_id=settings.task_id,
            database_url=resolve(settings.database).conninfo,
            schema=settings.database.schema,
            heartbeat_frequency=settings.heartbeat_s,
            liveness_check_interval=settings.liveness_s,
            stop_timeout=settings.stop_timeout_s,
            priority=settings.priority,
        )

    @contextmanager
    def token(self, name: str | None = None, *, timeout: float | None = None) -> Iterator[Token]:
        """Hold the group's token, or the token `name` of the group, for the body of a `with`.

        timeout: seconds to wait for it; None waits for ever, 0 does not wait.
        Errors: ConfigError for a malformed name; TokenHeldError when it could not be had in time;
        CoordError when the database refuses; TokenLostError at the end of the body when the token
        was lost meanwhile.
        """
        life = _Life(self._agent_parts(name), timeout)
        try:
            holding = life.wait()
            yield Token(holding, self._conninfo, self._schema)
            if not holding.is_held():
                holding.check()
        finally:
            life.end()

    #: The same, in the words of those who think of being active rather than of holding a lock.
    active = token

    @asynccontextmanager
    async def token_async(
        self, name: str | None = None, *, timeout: float | None = None
    ) -> AsyncIterator[Token]:
        """Hold a token for the body of an `async with`; heartbeats go on in their own thread.

        Errors: as `token`.
        """
        life = _Life(self._agent_parts(name), timeout)
        try:
            holding = await asyncio.to_thread(life.wait)
            yield Token(holding, self._conninfo, self._schema)
            if not holding.is_held():
                holding.check()
        finally:
            # Shielded: a cancelled task must still give its token back.
            await asyncio.shield(asyncio.to_thread(life.end))

    def exclusive(
        self, name: str | None = None, *, timeout: float | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function so that each call runs while this process holds the token."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            @functools.wraps(function)
            def call(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.token(name, timeout=timeout):
                    return function(*args, **kwargs)

            return call

        return decorate

    def _agent_parts(self, name: str | None) -> tuple[PostgresStore, Policy, Timing]:
        group = self.group_id if name is None else f"{self.group_id}/{name}"
        _refuse_malformed(group=group, task_id=self.task_id)
        facts = NodeFacts(
            node=self.task_id,
            group=group,
            liveness_s=self._timing.liveness_s,
            heartbeat_s=self._timing.heartbeat_s,
            lease_s=self._timing.lease_s,
            priority=self._priority,
            host=socket.gethostname(),
            pid=os.getpid(),
            isolation="in-process",
        )
        policy = Policy(
            node=self.task_id,
            group=group,
            seed=uuid.uuid4().hex,
            priority=self._priority,
            on_exit=OnExit.STOP,
        )
        return PostgresStore(self._conninfo, self._schema, facts), policy, self._timing


class _Life:
    """One node's life in a thread, from the wait for the token to its release."""

    def __init__(
        self, parts: tuple[PostgresStore, Policy, Timing], timeout_s: float | None
    ) -> None:
        store, policy, timing = parts
        self._clock = BoottimeClock()
        self._granted: queue.Queue[Holding | Finish | CoordError] = queue.Queue()
        self._program = LocalProgram(self._clock, self._granted.put)
        now = self._clock.now()
        wait_until = now + timeout_s if timeout_s else None
        patience = replace(policy, wait_until=wait_until, nonblock=timeout_s == 0)
        node = Node(policy=patience, timing=timing)
        self._agent = Agent(node, store, self._program, self._clock, _quiet)
        self._holding: Holding | None = None
        self._thread = threading.Thread(target=self._run, name="coord-node", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            connection = self._agent.store.connect(CONNECT_S)
            self._granted.put(self._agent.run(connection))
        except CoordError as error:
            self._granted.put(error)

    def wait(self) -> Holding:
        """Wait for the token."""
        answer = self._granted.get()
        match answer:
            case Holding():
                self._holding = answer
                return answer
            case Finish(code=ConfigError.exit_code, trouble=trouble):
                raise ConfigError(trouble)
            case Finish(trouble=trouble):
                raise TokenHeldError(trouble)
            case CoordError():
                raise answer

    def end(self) -> None:
        """Release the token and leave the group."""
        inbox, now = self._agent.inbox, self._clock.now()
        inbox.put(StopAsked(now, "the block ended"))
        if self._holding is not None:
            inbox.put(self._program.ended(self._holding))
        self._thread.join(LEAVE_MAX_S)


def _refuse_malformed(**names: str) -> None:
    """Refuse a name here, where the caller reads why, and not in the node's thread.

    Errors: ConfigError.
    """
    for key, given in names.items():
        parts = given.split("/") if key == "group" else [given]
        if len(given) > NAME_LENGTH_MAX or not all(NAME.fullmatch(part) for part in parts):
            raise ConfigError(f"{key}: {NAME_RULE} (got {given!r})")


def _quiet(report: Report, node: Node) -> None:
    """A library does not talk; `Token.on_lost` does."""


__all__ = ["Coordinator", "Token", "TokenHeldError", "TokenLostError"]
