"""FakeCoordinator: a Coordinator in memory, for unit tests of code that holds tokens.

    def test_the_report_stops_when_the_token_is_lost():
        coordinator = FakeCoordinator(group_id="orders")
        with pytest.raises(TokenLostError), coordinator.token("nightly") as token:
            coordinator.tokens.lose("orders/nightly")
            write_report(token)             # calls token.check()

It has the names, arguments and errors of Coordinator, and keeps its promises: one holder of a
token, terms that rise, a loss that is told, nothing held by a fork. Time limits are real; there are
no heartbeats, so a token is lost only when a test says so. Several fakes with the same `tokens` are
several processes on one database.
"""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    contextmanager,
    suppress,
)
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from coordinator.app.api.block import ThreadTokens
from coordinator.app.api.coordinator import Coordinator
from coordinator.app.api.session import CLOSE_S
from coordinator.app.api.setup import Seconds
from coordinator.app.api.token import Token
from coordinator.errors import CoordError, TokenHeldError, UsageError
from coordinator.runtime.holders.holding import Holding
from coordinator.testing.fakes.asynchronous import fake_setup, held_async, names_in_config
from coordinator.testing.fakes.state import FakeState
from coordinator.testing.fakes.tokens import FakeTokens, Wish
from coordinator.testing.fakes.transactions import fenced

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from coordinator.app.api.schedules.holder import Tokens

P = ParamSpec("P")
R = TypeVar("R")

#: Fakes of one process are told apart by a number, as processes by their names.
_numbers = itertools.count(1)


class FakeToken(Token):
    """Token of a FakeCoordinator."""

    def __init__(self, holding: Holding, tokens: FakeTokens, engine: Engine | None) -> None:
        super().__init__(holding, "", "")
        self._tokens, self._engine = tokens, engine
        self._state = FakeState(tokens, holding)

    def transaction(self, connection: Any = None) -> AbstractContextManager[Any]:
        """Open a transaction that commits only if the token is still held then.

        connection: as for a real token; it may be one of any database, SQLite for example. None:
            a new connection of the `engine` that the FakeCoordinator was made with.
        Errors: as `Token.transaction`; UsageError without an engine.
        """
        self.check()
        if connection is None and self._engine is None:
            raise UsageError(
                "FakeCoordinator has no database: give it `engine`, or bring a connection"
            )
        return fenced(self._state, connection, self._engine)

    @property
    def state(self) -> Any:
        """Bytes that a holder saves for the next one, as `Token.state`."""
        return self._state

    def _checkpoints(self) -> Any:
        from coordinator.testing.fakes.checkpoints import FakeCheckpoints

        return FakeCheckpoints(self._tokens, self._holding)


class FakeCoordinator(Coordinator):
    """Coordinator without a database.

    tokens: shared by the fakes that are to see the same tokens; by default its own.
    engine: an SQLAlchemy engine on which `token.transaction()` opens connections.
    """

    def __init__(
        self,
        *,
        group_id: str = "test",
        task_id: str = "node-1",
        tokens: FakeTokens | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.tokens = FakeTokens() if tokens is None else tokens
        self._setup = fake_setup(group_id, task_id)
        self._node = f"{task_id}.fake-{next(_numbers)}"
        self._engine = engine
        self._tokens = ThreadTokens()

    @classmethod
    def from_config(cls, path: str | None = None) -> FakeCoordinator:
        """Make a fake of the group that Config.toml, the environment and the defaults name.

        Errors: ConfigError with every problem of the file.
        """
        group_id, task_id = names_in_config(path)
        return cls(group_id=group_id, task_id=task_id)

    @classmethod
    def from_engine(
        cls,
        engine: Engine,
        *,
        group_id: str,
        task_id: str | None = None,
        schema: str | None = None,  # noqa: ARG003 - as for a real one
        heartbeat_frequency: Seconds = 1.0,  # noqa: ARG003
        liveness_check_interval: Seconds = 30.0,  # noqa: ARG003
    ) -> FakeCoordinator:
        """Make a fake whose transactions are on an engine, of any database."""
        return cls(group_id=group_id, task_id=task_id or "node-1", engine=engine)

    def close(self) -> None:
        """End the coordinator; waiting callers get a CoordError."""
        self.stop(CLOSE_S)
        self.tokens.close(self._node)

    def _job_tokens(self) -> Callable[[], Tokens]:
        from coordinator.testing.fakes.records import FakeJobTokens

        tokens, node = self.tokens, self._node
        return lambda: FakeJobTokens(tokens, node)

    def _token_maker(self) -> Callable[[Holding], Token]:
        tokens, engine = self.tokens, self._engine
        return lambda holding: FakeToken(holding, tokens, engine)

    @contextmanager
    def _held(self, full: str, limit_s: float | None) -> Iterator[Token]:
        answers: queue.SimpleQueue[Holding | CoordError] = queue.SimpleQueue()
        wish = self.tokens.ask(full, self._node, answers.put, answers.put, wait=limit_s != 0)
        holding: Holding | None = None
        try:
            holding = self._answer(answers, wish, limit_s)
            yield self._token_maker()(holding)
            holding.check()
        finally:
            if holding is None and not self.tokens.give_up(wish):
                # Interrupted, while the token was handed over.
                with suppress(queue.Empty, CoordError):
                    holding = _granted(answers.get_nowait())
            if holding is not None:
                self.tokens.give_back(holding)

    def _held_async(self, full: str, limit_s: float | None) -> AbstractAsyncContextManager[object]:
        return held_async(self.tokens, full, self._node, limit_s)

    def _answer(
        self, answers: queue.SimpleQueue[Holding | CoordError], wish: Wish, limit_s: float | None
    ) -> Holding:
        """Wait for a holding.

        Errors: TokenHeldError when the time is over; CoordError when the coordinator is closed.
        """
        try:
            return _granted(answers.get(timeout=limit_s or None))
        except queue.Empty:
            if self.tokens.give_up(wish):
                holder = self.tokens.holder(wish.token)
                raise TokenHeldError(f"the token is held by {holder}") from None
            return _granted(answers.get())

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a FakeCoordinator cannot be pickled: its tokens are in the memory of this process"
        )


def _granted(answer: Holding | CoordError) -> Holding:
    if isinstance(answer, CoordError):
        raise answer
    return answer
