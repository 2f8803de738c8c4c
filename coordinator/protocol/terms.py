"""Terms rise for ever, through releases, restarts, lost commits and restored backups."""

from __future__ import annotations

#: Each timeline of the database has this many terms of its own. bigint and a JavaScript number
#: both hold nine million timelines of it.
TERMS_PER_TIMELINE = 10**9


def next_term(seen_term: int, timeline: int, remembered: int) -> int:
    """Return the term of the next holding (docs/protocol.md, rule N1).

    seen_term:  the token row's term; the row may have lost commits in a failover.
    timeline:   the database's WAL timeline, which PostgreSQL itself raises at each promotion.
    remembered: the highest term that this node has ever seen for the token.
    """
    first_of_timeline = (timeline - 1) * TERMS_PER_TIMELINE + 1
    return max(seen_term + 1, first_of_timeline, remembered + 1)
