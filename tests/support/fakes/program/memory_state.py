"""The state of tokens on a MemoryDatabase: what holders save for each other, under the fence."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.errors import TokenLostError
from coordinator.protocol.rules.saved_state import STATES_KEPT, checked_size
from tests.support.fakes.memory_database import MemoryDatabase
from tests.support.fakes.memory_rows import StateRow


@dataclass(frozen=True)
class MemoryState:
    """A StatePort for one holding of one token."""

    database: MemoryDatabase
    token: str
    term: int
    session: str

    def get(self) -> bytes | None:
        self._fence()
        return newest(self.database, self.token)

    def put(self, content: bytes) -> int:
        checked_size(content)
        self._fence()
        kept = self.database.states.get(self.token, ())
        row = StateRow(kept[-1].sequence + 1 if kept else 1, self.term, self.session, content)
        self.database.states[self.token] = (*kept, row)[-STATES_KEPT:]
        return row.sequence

    def _fence(self) -> None:
        if not self.database.fence_passes(self.token, self.term, self.session):
            raise TokenLostError(f"the token of {self.token} (term {self.term}) is lost")


def newest(database: MemoryDatabase, token: str) -> bytes | None:
    """Return the state that was saved last, as anybody reads it."""
    kept = database.states.get(token, ())
    return kept[-1].content if kept else None
