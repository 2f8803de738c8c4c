"""In-process API: a token for code that runs in your own process.

    from coordinator import Coordinator

    coordinator = Coordinator(group_id="orders", database_url="postgresql://...")
    with coordinator.token() as token:
        while work_left():
            token.check()              # raises TokenLostError once trust is over
            do_some(token.term)

What this does not guarantee: nothing can stop your code when the token is lost. A thread that is
paused between `check` and a write may write late. Use `token.transaction()` for writes to the same
database; make every other system that you write to reject a lower `token.term`; or let `coord run`
guard a process, which it can kill.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from coordinator.app.api import in_process
from coordinator.app.api.exclusive import exclusive
from coordinator.app.api.in_process import Contest
from coordinator.app.config.model.values import NAME, NAME_RULE, duration_s, node_name
from coordinator.app.config.settings import DEFAULT_SCHEMA
from coordinator.errors import ConfigError, TokenHeldError, TokenLostError
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.agent.in_process import Holding, OnLost
from coordinator.store.connection.postgres import PostgresStore

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from coordinator.store.program.state import TokenState

P = ParamSpec("P")
R = TypeVar("R")

#: Longest name of group and token together, as in the tables.
NAME_LENGTH_MAX = 256


class Token:
    """Token that this process holds.

    Attributes: name (of the token), node (this contender's own name, which begins with the
    taskId), term (the fencing token), session.
    """

    def __init__(self, holding: Holding, conninfo: str, schema: str) -> None:
        self._holding, self._conninfo, self._schema = holding, conninfo, schema
        self.name = holding.group
        self.node = holding.node
        self.term = holding.term
        self.session = holding.session

    def __repr__(self) -> str:
        state = f"held, {self.seconds_left:.1f} s left" if self.is_held() else "not held"
        return f"<Token {self.name} term {self.term} of {self.node}: {state}>"

    @property
    def seconds_left(self) -> float:
        """Seconds for which the token may still be trusted, by this machine's own clock."""
        return self._holding.seconds_left

    def is_held(self) -> bool:
        """Return True if this process may act on the token at this moment."""
        return self._holding.is_held()

    def check(self) -> None:
        """Raise TokenLostError unless the token is held at this moment."""
        self._holding.check()

    def on_lost(self, callback: OnLost) -> None:
        """Call back with the reason once the token is lost; the callback must not block.

        An exception of a callback is logged, and stops neither other callbacks nor the release.
        """
        self._holding.on_lost(callback)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that can only commit while this token is held.

        The token's row is locked FOR SHARE until the commit, so no takeover can slip between the
        check and the commit. Yields an SQLAlchemy connection, committed at the end.

        search_path, time zone and limits are those of the role; the commit is durable whatever
        synchronous_commit says.

        Errors: TokenLostError when the token is not this holding's any more, or the connection
        broke before the commit: nothing was written. OutcomeUnknownError when it broke later: read
        again what was written, before you do it again.
        """
        self.check()
        from coordinator.store.program.fenced_transaction import fenced_transaction

        name, term, session = self.name, self.term, self.session
        with fenced_transaction(self._conninfo, self._schema, name, term, session) as connection:
            yield connection

    @property
    def state(self) -> TokenState:
        """Bytes that a holder saves for the next one: `state.get()`, `state.put(content)`.

        In a transaction of `transaction`: `state.get_in(connection)`, `state.put_in(connection,
        content)`.
        """
        from coordinator.store.program.state import TokenState

        return TokenState(
            conninfo=self._conninfo,
            schema=self._schema,
            token=self.name,
            term=self.term,
            session=self.session,
        )


class Coordinator:
    """Configuration of the tokens that code in this process holds.

    Any number of threads, tasks, forks and processes may use it at the same time: each block
    contends under a name of its own.

    task_id: the first part of those names; the machine's name when it is not given.
    Units: heartbeat_frequency, liveness_check_interval, stop_timeout in seconds, or texts such as
    "6s", as in Config.toml.
    Errors: ConfigError for a malformed value; TimingError for intervals that cannot keep the
    guarantees.
    """

    def __init__(
        self,
        *,
        group_id: str,
        database_url: str,
        task_id: str | None = None,
        schema: str = DEFAULT_SCHEMA,
        heartbeat_frequency: float | str = 1.0,
        liveness_check_interval: float | str = 30.0,
        stop_timeout: float | str | None = None,
        priority: int = 1,
    ) -> None:
        self.group_id = group_id
        self.task_id = task_id or node_name("{hostname}")
        self._conninfo, self._schema, self._priority = database_url, schema, priority
        self._timing = Timing(
            liveness_s=_seconds("liveness_check_interval", liveness_check_interval),
            heartbeat_s=_seconds("heartbeat_frequency", heartbeat_frequency),
            stop_timeout_s=-1.0 if stop_timeout is None else _seconds("stop_timeout", stop_timeout),
        )

    @classmethod
    def from_config(cls, path: str | None = None) -> Coordinator:
        """Make a coordinator from Config.toml, the environment and the defaults.

        Errors: ConfigError with every problem of the file.
        """
        from coordinator.app.config.database_choice import resolve
        from coordinator.app.config.loader import load

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
    def token(
        self, name: str | None = None, *, timeout: float | str | None = None
    ) -> Iterator[Token]:
        """Hold the group's token, or the token `name` of the group, for the body of a `with`.

        timeout: seconds to wait for it; None waits for ever, 0 does not wait.
        Errors: ConfigError for a malformed name; TokenHeldError when it could not be had in time;
        CoordError when the database refuses; TokenLostError at the end of the body when the token
        was lost meanwhile.
        """
        with in_process.held(self._contest(name, timeout)) as holding:
            yield Token(holding, self._conninfo, self._schema)

    #: The same, for code that is active rather than holds a lock.
    active = token

    @asynccontextmanager
    async def token_async(
        self, name: str | None = None, *, timeout: float | str | None = None
    ) -> AsyncIterator[Token]:
        """Hold a token for the body of an `async with`; heartbeats go on in a thread of their own.

        A task that is cancelled holds nothing afterwards, whenever it is cancelled.
        Errors: as `token`.
        """
        async with in_process.held_async(self._contest(name, timeout)) as holding:
            yield Token(holding, self._conninfo, self._schema)

    def exclusive(
        self, name: str | None = None, *, timeout: float | str | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function or coroutine function: its body runs while this call holds the token.

        Errors: TypeError for generator functions, when they are decorated.
        """

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            return exclusive(
                function,
                lambda: self.token(name, timeout=timeout),
                lambda: self.token_async(name, timeout=timeout),
            )

        return decorate

    def _contest(self, name: str | None, timeout: float | str | None) -> Contest:
        group = self.group_id if name is None else f"{self.group_id}/{name}"
        _refuse_malformed(group=group, task_id=self.task_id)
        return Contest(
            token=group,
            task_id=self.task_id,
            timing=self._timing,
            store=lambda facts: PostgresStore(self._conninfo, self._schema, facts),
            priority=self._priority,
            timeout_s=None if timeout is None else _seconds("timeout", timeout),
        )


def _seconds(key: str, given: float | str) -> float:
    """Return a duration in seconds.

    Errors: ConfigError.
    """
    try:
        seconds = duration_s(given)
    except ValueError as error:
        raise ConfigError(f"{key}: {error} (got {given!r})") from None
    if seconds < 0:
        raise ConfigError(f"{key}: must not be negative (got {given!r})")
    return seconds


def _refuse_malformed(**names: str) -> None:
    """Refuse a name here, where the caller reads why, and not in the node's thread.

    Errors: ConfigError.
    """
    for key, given in names.items():
        parts = given.split("/") if key == "group" else [given]
        if len(given) > NAME_LENGTH_MAX or not all(NAME.fullmatch(part) for part in parts):
            raise ConfigError(f"{key}: {NAME_RULE} (got {given!r})")


__all__ = ["Coordinator", "Token", "TokenHeldError", "TokenLostError"]
