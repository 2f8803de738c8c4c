"""Sentences about a database on which no node takes a token yet (rule E3)."""

from __future__ import annotations

UNSETTLED = (
    "no node takes the token yet: the database is on timeline {timeline}, {because};"
    " a program that an earlier grant started may still run"
)
#: Clause about an identity of the database on which a node waits, by the machine's reason.
BECAUSE = {
    "failover": "after a failover or a restore, which may have lost the last commits",
    "restart": "restarted, and commits that this node saw acknowledged are missing, or may be",
    "another": "another branch or another database than before",
    "start": "and no live node has seen this run of the server from its start",
}


def waits(timeline: int, why: str, left_s: float | None) -> str:
    """Return a sentence: no node takes a token of a group yet, why, and for how long (rule E3)."""
    left = "the wait begins once a node is live" if left_s is None else f"{left_s:.1f} s are left"
    return f"{UNSETTLED.format(timeline=timeline, because=BECAUSE[why])}; {left}"
