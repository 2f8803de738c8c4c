"""Count of the terms that have begun since this node started.

The database deletes old terms (retention), so its rows are not counted: a counter never falls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from coordinator.web.node.samples import Gaps

if TYPE_CHECKING:
    from coordinator.app.admin.status import Takeover


class Counted:
    """Terms counted so far, by reason; each term of a token once.

    now: a clock that only goes on. A term that began before this was made does not count.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._began_at = now, now()
        self._added_at = self._began_at
        self._last: dict[str, int] = {}  #: the highest counted term of each token
        self.reasons: Counter[str] = Counter()
        self.gaps = Gaps()

    def since_s(self) -> float:
        """Return for how long nothing was counted."""
        return self._now() - self._added_at

    def add(self, takeovers: Iterable[Takeover]) -> None:
        """Count those that were not counted before."""
        at = self._now()
        for each in sorted(takeovers, key=lambda takeover: (takeover.group, takeover.term)):
            old = each.age_s > at - self._began_at or each.term <= self._last.get(each.group, 0)
            if old:
                continue
            self._last[each.group] = each.term
            self.reasons[each.how] += 1
            if each.gap_s is not None:
                self.gaps = self.gaps.with_one(each.gap_s)
        self._added_at = at
