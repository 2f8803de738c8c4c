"""State of a fake's token: saved at once, or with the transaction that it belongs to."""

from __future__ import annotations

from coordinator.errors import UsageError
from coordinator.protocol.rules.saved_state import checked_size
from coordinator.runtime.holders.holding import Holding
from coordinator.testing.fakes.tokens import FakeTokens


class FakeState:
    """A StatePort in memory, for one holding."""

    def __init__(self, tokens: FakeTokens, holding: Holding) -> None:
        self._tokens, self._holding = tokens, holding
        self._open: dict[int, list[bytes]] = {}  #: by the id of the connection

    def get(self) -> bytes | None:
        """Return the state that was saved last.

        Errors: TokenLostError when the token is not this holding's any more.
        """
        self.check()
        return self._tokens.read(self._holding.group)

    def put(self, content: bytes) -> int:
        """Save a state; return its sequence.

        Errors: StateTooLargeError; TokenLostError.
        """
        return self._tokens.save(self._holding.group, self._holding.term, content)

    def get_in(self, connection: object) -> bytes | None:
        """Return the state, as a transaction of the token sees it."""
        saved = self._saved_in(connection)
        return saved[-1] if saved else self._tokens.read(self._holding.group)

    def put_in(self, connection: object, content: bytes) -> int:
        """Save a state with a transaction of the token; return the sequence that it will have."""
        saved = self._saved_in(connection)
        saved.append(bytes(checked_size(content)))
        return self._tokens.sequence(self._holding.group) + len(saved)

    def begin(self, connection: object) -> None:
        """Begin to collect what is saved in a transaction."""
        self._open[id(connection)] = []

    def commit(self, connection: object) -> None:
        """Save what was collected.

        Errors: TokenLostError when the token is not this holding's any more: nothing is saved.
        """
        self.check()
        for content in self._open[id(connection)]:
            self.put(content)

    def end(self, connection: object) -> None:
        """Forget what was collected."""
        self._open.pop(id(connection), None)

    def check(self) -> None:
        """Return if the token is this holding's, as the fence of the database does."""
        self._tokens.check(self._holding.group, self._holding.term)

    def _saved_in(self, connection: object) -> list[bytes]:
        try:
            return self._open[id(connection)]
        except KeyError:
            raise UsageError("the connection has no transaction of this token") from None


class FakeAsyncState:
    """The same for coroutines."""

    def __init__(self, state: FakeState) -> None:
        self._state = state

    async def get(self) -> bytes | None:
        """Return the state that was saved last; as `FakeState.get`."""
        return self._state.get()

    async def put(self, content: bytes) -> int:
        """Save a state; return its sequence. Errors: as `FakeState.put`."""
        return self._state.put(content)

    async def get_in(self, connection: object) -> bytes | None:
        """Return the state, as a transaction of the token sees it."""
        return self._state.get_in(connection)

    async def put_in(self, connection: object, content: bytes) -> int:
        """Save a state with a transaction of the token; return the sequence that it will have."""
        return self._state.put_in(connection, content)
