"""FakeAsyncCoordinator: an AsyncCoordinator in memory; see FakeCoordinator."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from coordinator.app.api.asynchronous.block import TaskTokens
from coordinator.app.api.asynchronous.coordinator import AsyncCoordinator
from coordinator.app.api.asynchronous.token import AsyncToken
from coordinator.app.api.session import CLOSE_S
from coordinator.app.api.setup import Seconds, Setup, setup_of
from coordinator.errors import CoordError, TokenHeldError
from coordinator.runtime.holders.holding import Holding
from coordinator.testing.fakes.state import FakeAsyncState, FakeState
from coordinator.testing.fakes.tokens import FakeTokens
from coordinator.testing.fakes.transactions import fenced_async

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from coordinator.app.api.schedules.holder import Tokens

P = ParamSpec("P")
R = TypeVar("R")

_numbers = itertools.count(1)


class FakeAsyncToken(AsyncToken):
    """Token of a FakeAsyncCoordinator."""

    def __init__(self, holding: Holding, tokens: FakeTokens) -> None:
        super().__init__(holding, "", "")
        self._tokens = tokens
        self._state = FakeState(tokens, holding)

    def transaction(self, connection: Any) -> AbstractAsyncContextManager[Any]:
        """Make the next transaction of a connection one that commits only under this token.

        connection: as for a real token; it may be one of any database.
        Errors: as `AsyncToken.transaction`.
        """
        self.check()
        return fenced_async(self._state, connection)

    @property
    def state(self) -> Any:
        """Bytes that a holder saves for the next one, as `AsyncToken.state`."""
        return FakeAsyncState(self._state)

    def _checkpoints(self) -> Any:
        from coordinator.testing.fakes.checkpoints import FakeCheckpoints

        return FakeCheckpoints(self._tokens, self._holding)


class FakeAsyncCoordinator(AsyncCoordinator):
    """AsyncCoordinator without a database.

    tokens: shared by the fakes that are to see the same tokens; by default its own.
    """

    def __init__(
        self,
        *,
        group_id: str = "test",
        task_id: str = "node-1",
        tokens: FakeTokens | None = None,
    ) -> None:
        self.tokens = FakeTokens() if tokens is None else tokens
        self._setup = fake_setup(group_id, task_id)
        self._node = f"{task_id}.fake-async-{next(_numbers)}"
        self._tokens = TaskTokens()

    @classmethod
    def from_config(cls, path: str | None = None) -> FakeAsyncCoordinator:
        """Make a fake of the group that Config.toml, the environment and the defaults name.

        Errors: ConfigError with every problem of the file.
        """
        group_id, task_id = names_in_config(path)
        return cls(group_id=group_id, task_id=task_id)

    @classmethod
    def from_engine(
        cls,
        engine: Engine | AsyncEngine,  # noqa: ARG003 - as for a real one
        *,
        group_id: str,
        task_id: str | None = None,
        schema: str | None = None,  # noqa: ARG003 - as for a real one
        heartbeat_frequency: Seconds = 1.0,  # noqa: ARG003
        liveness_check_interval: Seconds = 30.0,  # noqa: ARG003
    ) -> FakeAsyncCoordinator:
        """Make a fake; an asynchronous one takes no engine."""
        return cls(group_id=group_id, task_id=task_id or "node-1")

    async def close(self) -> None:
        """End the coordinator; waiting callers get a CoordError."""
        await self.stop(CLOSE_S)
        self.tokens.close(self._node)

    def _job_tokens(self) -> Callable[[], Tokens]:
        from coordinator.testing.fakes.records import FakeJobTokens

        tokens, node = self.tokens, self._node
        return lambda: FakeJobTokens(tokens, node)

    def _token_maker(self) -> Callable[[Holding], AsyncToken]:
        tokens = self.tokens
        return lambda holding: FakeAsyncToken(holding, tokens)

    def _held(self, full: str, limit_s: float | None) -> AbstractAsyncContextManager[AsyncToken]:
        return held_async(self.tokens, full, self._node, limit_s)


@asynccontextmanager
async def held_async(
    tokens: FakeTokens, full: str, node: str, limit_s: float | None
) -> AsyncIterator[AsyncToken]:
    """Hold a token of the fakes for the body of an `async with`."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Holding] = loop.create_future()
    granted: list[Holding] = []

    def grant(holding: Holding) -> None:
        granted.append(holding)
        try:
            loop.call_soon_threadsafe(_resolve, answer, holding)
        except RuntimeError:
            tokens.give_back(holding)  # the event loop is closed, and nobody waits

    def refuse(error: CoordError) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed, and nobody waits
            loop.call_soon_threadsafe(_refuse, answer, error)

    wish = tokens.ask(full, node, grant, refuse, wait=limit_s != 0)
    try:
        try:
            holding = await asyncio.wait_for(asyncio.shield(answer), limit_s or None)
        except TimeoutError:
            if tokens.give_up(wish):
                raise TokenHeldError(f"the token is held by {tokens.holder(full)}") from None
            holding = await answer
        yield FakeAsyncToken(holding, tokens)
        holding.check()
    finally:
        tokens.give_up(wish)
        for each in granted:
            tokens.give_back(each)


def _resolve(answer: asyncio.Future[Holding], holding: Holding) -> None:
    if not answer.done():
        answer.set_result(holding)


def _refuse(answer: asyncio.Future[Holding], error: CoordError) -> None:
    if not answer.done():
        answer.set_exception(error)


def names_in_config(path: str | None) -> tuple[str, str]:
    """Return group_id and task_id, as Config.toml, the environment and the defaults have them.

    Errors: ConfigError with every problem of the file.
    """
    from coordinator.app.config.loader import load

    settings = load(path, flags={}, environ=os.environ)
    return settings.group_id, settings.task_id


def fake_setup(group_id: str, task_id: str) -> Setup:
    """Return the setup of a fake, by which names are checked as for a real coordinator.

    Errors: ConfigError.
    """
    return setup_of(
        group_id=group_id,
        database_url="",
        task_id=task_id,
        schema=None,
        heartbeat_frequency=1.0,
        liveness_check_interval=30.0,
    )
