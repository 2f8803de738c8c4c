"""Terms always rise: through releases, restarts, lost commits and restored backups."""

from __future__ import annotations

#: No term that is counted from 1 comes here; the clock's were above it in 2001.
CLOCK_TERM_MIN = 10**12


def next_term(seen_term: int, remembered: int) -> int:
    """Return the lowest term that the next holding may have (docs/protocol.md, rule N1).

    seen_term:  the term in the token's row; the row may have lost commits in a failover.
    remembered: the highest term that this node has seen for the token.
    """
    return max(seen_term + 1, remembered + 1)


def granted_term(
    computed: int, seen_term: int, floor: int, clock_ms: int | None, now_ms: int
) -> int:
    """Return the term that the database grants; the schema's functions compute the same.

    computed: the result of the requesting node's `next_term`.
    floor:    the highest term that any node remembers.
    clock_ms: the server's clock, milliseconds since 1970; None on the first branch of a database.
    now_ms:   the server's clock on any branch: once a term was the clock's, all later ones are.
    """
    least = max(computed, seen_term + 1, floor + 1, clock_ms or 0)
    return max(least, now_ms) if least >= CLOCK_TERM_MIN else least
