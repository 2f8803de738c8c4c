"""State of a token, as a coroutine that holds it sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.app.api.asynchronous.own_thread import in_own_thread
from coordinator.store.program.state import TokenState
from coordinator.store.program.state_async import read_state_async, save_state_async

if TYPE_CHECKING:
    from coordinator.store.program.fenced_async import AsyncGiven


class AsyncTokenState:
    """Bytes that a holder saves for the next one, as `Token.state`."""

    def __init__(self, *, conninfo: str, schema: str, token: str, term: int, session: str) -> None:
        self._schema = schema
        self._holding = {"token": token, "term": term, "session": session}
        self._token = token
        self._blocking = TokenState(
            conninfo=conninfo, schema=schema, token=token, term=term, session=session
        )

    async def get(self) -> bytes | None:
        """Return the state that was saved last, by this holding or an earlier one; None at first.

        It connects in a thread of its own.
        Errors: TokenLostError when the token is not this holding's any more.
        """
        return await in_own_thread("coord-state", self._blocking.get)

    async def put(self, content: bytes) -> int:
        """Save a state for the next holder; return its sequence, which rises by one each time.

        It connects in a thread of its own.
        Errors: as `Token.state.put`.
        """
        return await in_own_thread("coord-state", lambda: self._blocking.put(content))

    async def get_in(self, connection: AsyncGiven) -> bytes | None:
        """Return the state, as a transaction of the token sees it."""
        return await read_state_async(connection, self._schema, token=self._token)

    async def put_in(self, connection: AsyncGiven, content: bytes) -> int:
        """Save a state in a transaction of the token, together with the work that it tells of."""
        return await save_state_async(connection, self._schema, content=content, **self._holding)  # type: ignore[arg-type]
