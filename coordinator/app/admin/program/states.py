"""States of tokens, for `coord state`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from coordinator.app.admin.task_views import Asked
from coordinator.app.config.database_choice import Resolved
from coordinator.errors import ConditionFalseError, NotFoundError
from coordinator.protocol.rules.saved_state import STATES_KEPT
from coordinator.store.admin.program.states import StateStore


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedLine:
    """One state that is kept, without its content; the age by the server's clock."""

    sequence: int
    term: int
    session: str
    node: str | None
    saved_at: datetime
    saved_age_s: float
    size: int


class States:
    """Connection for one command; close it after use."""

    __slots__ = ("_resolved", "_store")

    def __init__(self, resolved: Resolved, *, schema: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError.
        """
        self._resolved = resolved
        self._store = StateStore(
            resolved.conninfo, schema=schema, where=resolved.label, timeout_s=timeout_s
        )

    def close(self) -> None:
        """Close the connection; never waits."""
        self._store.close()

    def asked(self) -> Asked:
        """Return the server's clock for the head of a document."""
        return Asked(self._store.server_time(), self._resolved.scope)

    def kept(self, token: str) -> tuple[SavedLine, ...]:
        """Return what is kept of a token's states, the newest first.

        Errors: NotFoundError if there is no such token.
        """
        rows, known = self._store.kept(token)
        if not rows and not known:
            raise NotFoundError(f"there is no token {token!r}, and no state of it")
        return tuple(SavedLine(**row) for row in rows)

    def newest(self, token: str) -> SavedLine:
        """Return the newest state, without its content.

        Errors: NotFoundError; ConditionFalseError if none was saved yet.
        """
        kept = self.kept(token)
        if not kept:
            raise ConditionFalseError(f"{token}: no state was saved yet")
        return kept[0]

    def content(self, token: str, sequence: int | None = None) -> bytes:
        """Return a state, the newest when no sequence is given.

        Errors: NotFoundError; ConditionFalseError if none was saved yet, or that one is not kept.
        """
        content = self._store.content(token, sequence)
        if content is None:
            self.newest(token)
            raise ConditionFalseError(
                f"{token}: state {sequence} is not kept; the last {STATES_KEPT} are:"
                " see `coord state history`"
            )
        return content

    def save(self, token: str, term: int, session: str, content: bytes) -> int:
        """Save a state under the holding of the calling program; return its sequence.

        Errors: TokenLostError if the holding is over; StateTooLargeError.
        """
        return self._store.save(token, term, session, content)
