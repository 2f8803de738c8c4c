"""Keep what the database remembers of holdings from one look to the next: a fault may lose it."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.campaign.history import Grant, Told

#: Asks one statement; None when the server does not answer.
Ask = Callable[..., list[tuple[object, ...]] | None]
GRANTS = (
    "SELECT term, task_id, session::text, extract(epoch FROM acquired_at)::float8"
    " FROM {schema}.token_history WHERE group_id = %s ORDER BY term"
)
TOLD = """
SELECT told.term, before.term, told.gap_s, extract(epoch FROM told.acquired_at)::float8
FROM {schema}.coord_history AS told
CROSS JOIN LATERAL (
    SELECT max(term) AS term FROM {schema}.token_history AS history
    WHERE history.group_id = told.group_id AND history.term < told.term
) AS before
WHERE told.group_id = %s AND told.gap_s IS NOT NULL
"""
CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
#: The quickest answer of so many says best how far the server's clock and ours are apart.
CLOCK_LOOKS = 5


def boottime() -> float:
    """Return the one clock of everything that is judged."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Remembered:
    """Grants, and takeovers as they are told; a later look corrects an earlier one."""

    def __init__(self) -> None:
        self._grants: dict[tuple[int, str, str], Grant] = {}
        self._told: dict[int, Told] = {}

    @property
    def grants(self) -> list[Grant]:
        return list(self._grants.values())

    @property
    def told(self) -> list[Told]:
        return list(self._told.values())

    def take_in(self, ask: Ask, group: str) -> None:
        """Read what the server remembers now; nothing when it does not answer."""
        for term, node, session, at in ask(GRANTS, group) or []:
            grant = Grant(
                term=int(str(term)), node=str(node), session=str(session), at=float(str(at))
            )
            self._grants[grant.holding] = grant
        ahead_s = _ahead(ask)
        for term, before, gap_s, at in ask(TOLD, group) or [] if ahead_s is not None else []:
            self._told[int(str(term))] = Told(
                term=int(str(term)),
                before_term=int(str(before)),
                gap_s=float(str(gap_s)),
                acquired_at=float(str(at)) - ahead_s,
            )


def _ahead(ask: Ask) -> float | None:
    """Return by how much the server's clock is ahead of boottime."""
    looks: list[tuple[float, float]] = []
    for _ in range(CLOCK_LOOKS):
        before = boottime()
        rows = ask(CLOCK)
        after = boottime()
        if rows:
            looks.append((after - before, float(str(rows[0][0])) - (before + after) / 2))
    return min(looks)[1] if looks else None
