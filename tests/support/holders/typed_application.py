"""Application that uses the whole in-process API; a type checker reads it, nobody runs it."""

from __future__ import annotations

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Session

from coordinator import (
    AsyncCoordinator,
    AsyncJobContext,
    AsyncToken,
    Coordinator,
    JobContext,
    Retry,
    Token,
    TokenLostError,
)


def use(coordinator: Coordinator, engine: sa.Engine) -> int:
    with coordinator.token("nightly", timeout="30s", cancel="main-thread") as token:
        token.on_lost(lambda reason: print(reason.upper()))
        with token.transaction() as connection:
            connection.execute(sa.text("SELECT 1"))
        with Session(engine) as session, token.transaction(session) as same:
            same.flush()
        with psycopg.connect("") as raw, token.transaction(raw) as cursorable:
            cursorable.execute("SELECT 1")
        return held(token)


def held(token: Token) -> int:
    try:
        token.check()
    except TokenLostError:
        return 0
    reason: str = token.lost_future.result() if token.lost.is_set() else ""
    return token.term + len(reason) + round(token.deadline + token.seconds_left)


async def use_async(coordinator: AsyncCoordinator, engine: AsyncEngine) -> str:
    async with coordinator.token("nightly", wait=False, cancel="task") as token:
        async with engine.connect() as connection, token.transaction(connection) as same:
            await same.execute(sa.text("SELECT 1"))
        return await reason_of(token)


async def reason_of(token: AsyncToken) -> str:
    await token.lost.wait()
    return await token.lost_future


def decorated(coordinator: Coordinator, asynchronous: AsyncCoordinator) -> None:
    @coordinator.exclusive("report")
    def report(number: int) -> str:
        return str(number)

    @asynchronous.exclusive("report")
    async def later(number: int) -> str:
        return str(number)

    text: str = report(3)
    print(text, later(4))


def scheduled(coordinator: Coordinator, asynchronous: AsyncCoordinator) -> None:
    @coordinator.every("1h", max_count=3, error_policy="LOG_AND_CONTINUE", retry=Retry())
    def hourly(context: JobContext) -> int:
        with context.token.transaction() as connection:
            connection.execute(sa.text("SELECT 1"))
        return context.count + context.term

    @asynchronous.cron("30 2 * * *", timezone="Europe/Berlin", catch_up="none")
    async def nightly(context: AsyncJobContext) -> bytes | None:
        context.stop_event.clear()
        return await context.token.state.get()

    print(hourly, nightly, coordinator.stop(timeout="5s"))
