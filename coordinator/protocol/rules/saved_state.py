"""Bounds of the state that a holder saves for its successor (docs/protocol.md, rules Y)."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.errors import StateTooLargeError

#: A state is what a program has reached and not its work: one row that is written at each save,
#: and read by a node that has just taken the token. The database checks the same number.
STATE_BYTES_MAX = 1_048_576
#: States of one token that are kept, the current one included: enough to see what a program did
#: before it failed, and at most 10 MiB for a token.
STATES_KEPT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWanted:
    """Holding for whose program the state of its token is read."""

    token: str
    term: int
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSeen:
    """State of a token, and the holding that the same snapshot of the database shows.

    content: the state that was saved last; None when none was.
    """

    term: int
    session: str | None
    content: bytes | None


def shows_holding(seen: StateSeen, wanted: StateWanted) -> bool:
    """Say whether no older holder can save any more after what was seen (rule Y4).

    A snapshot that shows the holding comes after its take, and so after all that older holders
    committed (Y1). One that does not may come from before the take, or from another server.
    """
    return (seen.term, seen.session) == (wanted.term, wanted.session)


def checked_size(content: bytes) -> bytes:
    """Return a state that is small enough.

    Errors: StateTooLargeError.
    """
    if len(content) > STATE_BYTES_MAX:
        raise StateTooLargeError(
            f"the state has {len(content)} bytes, more than {STATE_BYTES_MAX} (1 MiB): save where"
            " the work is, and keep the work itself in tables or in files"
        )
    return content
