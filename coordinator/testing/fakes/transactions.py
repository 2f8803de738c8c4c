"""Transactions under a fake's token: committed only if the token is still held then.

The check is made right before the commit, in the process itself. For tests that is the fence of a
real database: whoever loses the token in between finds nothing written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from coordinator.errors import UsageError
from coordinator.testing.fakes.state import FakeState

if TYPE_CHECKING:
    from sqlalchemy import Engine

OPEN_ALREADY = "the connection has an open transaction: commit it, or roll it back, first"


@contextmanager
def fenced(state: FakeState, given: Any, engine: Engine | None) -> Iterator[Any]:
    """Yield a connection in a transaction of its own; the given one stays open afterwards.

    Errors: TokenLostError, and nothing is written. UsageError when a transaction is open.
    """
    with ExitStack() as opened:
        if given is None:
            assert engine is not None, "the caller has refused this"
            given = opened.enter_context(engine.connect())
        _refuse_open(given)
        begin = given.begin if hasattr(given, "begin") else given.transaction
        state.begin(given)
        opened.callback(state.end, given)
        with begin():
            state.check()
            yield given
            state.commit(given)


@asynccontextmanager
async def fenced_async(state: FakeState, given: Any) -> AsyncIterator[Any]:
    """Do the same with an asynchronous connection."""
    async with AsyncExitStack() as opened:
        _refuse_open(given)
        begin = given.begin if hasattr(given, "begin") else given.transaction
        state.begin(given)
        opened.callback(state.end, given)
        async with begin():
            state.check()
            yield given
            state.commit(given)


def _refuse_open(given: Any) -> None:
    if hasattr(given, "in_transaction"):
        is_open = bool(given.in_transaction())
    else:
        is_open = given.info.transaction_status != 0  # psycopg's IDLE
    if is_open:
        raise UsageError(OPEN_ALREADY)
