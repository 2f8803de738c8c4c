"""The state of tokens on a MemoryDatabase: what holders save for each other, under the fence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coordinator.errors import DatabaseUnreachableError, TokenLostError
from coordinator.protocol.rules.saved_state import (
    STATES_KEPT,
    StateSeen,
    StateWanted,
    checked_size,
)
from tests.support.fakes.memory_database import MemoryDatabase
from tests.support.fakes.memory_rows import NEVER_HELD, StateRow


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


@dataclass(frozen=True)
class MemoryStateReader:
    """A StateReader on a MemoryDatabase."""

    database: MemoryDatabase

    def read(self, wanted: Sequence[StateWanted]) -> Mapping[str, StateSeen]:
        if not self.database.available:
            raise DatabaseUnreachableError("memory: no database answers")
        names = {each.token for each in wanted} & self.database.tokens.keys()
        return {name: seen(self.database, name) for name in names}


def seen(database: MemoryDatabase, token: str) -> StateSeen:
    """Return the state and the holding of a token, as of now."""
    row = database.tokens.get(token, NEVER_HELD)
    return StateSeen(term=row.term, session=row.session, content=newest(database, token))


def newest(database: MemoryDatabase, token: str) -> bytes | None:
    """Return the state that was saved last, as anybody reads it."""
    kept = database.states.get(token, ())
    return kept[-1].content if kept else None
