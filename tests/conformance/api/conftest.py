"""The fixture `maker`: coordinators in memory, or on a real database; one call, one process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from coordinator import AsyncCoordinator, Coordinator
from coordinator.testing import FakeAsyncCoordinator, FakeCoordinator, FakeTokens
from tests.conftest import Database

GROUP = "orders"


class FakeMaker:
    """Coordinators in memory, and the database of their user in SQLite."""

    def __init__(self) -> None:
        self.made: list[Coordinator] = []
        self.made_async: list[AsyncCoordinator] = []
        self.tokens = FakeTokens()
        pool = sa.pool.StaticPool
        self.engine = sa.create_engine("sqlite://", poolclass=pool)
        self.table = "work"

    def coordinator(self, name: str = "a") -> Coordinator:
        made = FakeCoordinator(group_id=GROUP, task_id=name, tokens=self.tokens, engine=self.engine)
        self.made.append(made)
        return made

    def asynchronous(self, name: str = "a") -> AsyncCoordinator:
        made = FakeAsyncCoordinator(group_id=GROUP, task_id=name, tokens=self.tokens)
        self.made_async.append(made)
        return made

    def take_away(self, token: str) -> None:
        self.tokens.lose(token)

    def record(self, token: str, name: str = "") -> tuple[int, str, bool]:
        """Count of runs, outcome of the last one, and whether the schedule has ended."""
        kept = self.tokens.record(token, name)
        return kept.fired_count, kept.outcomes[-1] if kept.outcomes else "", kept.ended

    def async_connection(self) -> AbstractAsyncContextManager[Any]:
        """A connection of the user's database for a coroutine."""
        return nullcontext(OwnConnection())

    def close(self) -> None:
        self.engine.dispose()


class OwnConnection:
    """Any connection whose transaction is begun by `begin`; nothing is written here."""

    def in_transaction(self) -> bool:
        return False

    def begin(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()


class RealMaker:
    """Coordinators on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self.made: list[Coordinator] = []
        self.made_async: list[AsyncCoordinator] = []
        self.database = database
        self.engine = sa.create_engine(
            "postgresql+psycopg://", creator=database.connect_plain, poolclass=sa.pool.NullPool
        )
        self.table = f"{database.schema}.work"
        self._settings: dict[str, Any] = {
            "group_id": GROUP,
            "database_url": database.conninfo,
            "schema": database.schema,
            "heartbeat_frequency": 0.2,
            "liveness_check_interval": 30.0,
        }

    def coordinator(self, name: str = "a") -> Coordinator:
        made = Coordinator(task_id=name, **self._settings)
        self.made.append(made)
        return made

    def asynchronous(self, name: str = "a") -> AsyncCoordinator:
        made = AsyncCoordinator(task_id=name, **self._settings)
        self.made_async.append(made)
        return made

    def take_away(self, token: str) -> None:
        """End the session that holds it, as another node does."""
        self.database.query(
            "UPDATE health_check SET ended_at = now(), end_reason = 'evicted'"
            " WHERE session = (SELECT session FROM token_holder WHERE group_id = %s)",
            token,
        )

    def record(self, token: str, name: str = "") -> tuple[int, str, bool]:
        rows = self.database.query(
            "SELECT fired_count, COALESCE(last_outcome, ''), ended FROM schedule"
            " WHERE group_id = %s AND name = %s",
            token,
            name,
        )
        return rows[0] if rows else (0, "", False)

    @asynccontextmanager
    async def async_connection(self) -> AsyncIterator[Any]:
        connection = await psycopg.AsyncConnection.connect(self.database.conninfo)
        async with connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()


Maker = FakeMaker | RealMaker


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def maker(request: pytest.FixtureRequest) -> Iterator[Maker]:
    made: Maker
    if request.param == "fake":
        made = FakeMaker()
    else:
        made = RealMaker(request.getfixturevalue("database"))
    yield made
    for coordinator in made.made:
        coordinator.close()
    made.close()
