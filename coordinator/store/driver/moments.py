"""Moments of PostgreSQL, whatever it calls one, and the clock of this machine."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from psycopg.adapt import Buffer, Loader

#: Moments of PostgreSQL that Python does not know, and what is shown for them. A day from its ends,
#: so that every time zone has them.
BEYOND = re.compile(r"^-?infinity$| BC$|^\d{5,}-|^0001-01-01|^9999-12-31")
FIRST_MOMENT = datetime(1, 1, 2, tzinfo=UTC)
LAST_MOMENT = datetime(9999, 12, 30, tzinfo=UTC)


class MomentLoader(Loader):
    """Reads a moment as SETTINGS have it written, whatever the session's style is by now.

    The driver's own goes by the style of the session, which a lent one has back after the commit.
    """

    def load(self, data: Buffer) -> datetime:
        """Return the moment in UTC; the first or the last one for what Python has none for."""
        said = bytes(data).decode()
        if BEYOND.search(said):
            past = said.startswith(("-", "0001")) or said.endswith(" BC")
            return FIRST_MOMENT if past else LAST_MOMENT
        return datetime.fromisoformat(said).astimezone(UTC)


def wall_ms() -> int:
    """Return the clock of this machine in milliseconds since 1970, for people to compare."""
    return time.time_ns() // 1_000_000
