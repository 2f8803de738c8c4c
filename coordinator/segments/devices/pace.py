"""Pace of a check: the disk is left to others for a share of the time, whatever its speed.

A limit in bytes a second would be too much for one disk and far too little for another. A disk
that others use answers later, so that a check of it rests longer.
"""

from __future__ import annotations

from collections.abc import Callable

from coordinator.segments.file import Source

#: A check reads at most so much of the time. Its other half is anybody's.
READING_SHARE = 0.5
#: A shorter rest is put off: the disk would not see it.
REST_MIN_S = 0.01


def rest_s(*, reading_s: float, passed_s: float) -> float:
    """Return how long to rest, after so long a reading in so long a time."""
    wanted = reading_s / READING_SHARE - passed_s
    return wanted if wanted >= REST_MIN_S else 0.0


class Pace:
    """Lets a disk be read within its share of the time.

    now_s: a clock that only goes on.
    rest: waits for so many seconds.
    """

    def __init__(self, now_s: Callable[[], float], rest: Callable[[float], object]) -> None:
        self._now_s, self._rest = now_s, rest
        self._began_s, self._reading_s = now_s(), 0.0

    def read(self, source: Source, size: int) -> bytes:
        """Read from a source, and rest afterwards when it is time.

        Errors: the source's.
        """
        began_s = self._now_s()
        part = source.read(size)
        now_s = self._now_s()
        self._reading_s += now_s - began_s
        if pause_s := rest_s(reading_s=self._reading_s, passed_s=now_s - self._began_s):
            self._rest(pause_s)
        return part


class Paced:
    """A source that is read at a pace."""

    __slots__ = ("_pace", "_source")

    def __init__(self, source: Source, pace: Pace) -> None:
        self._source, self._pace = source, pace

    def read(self, size: int, /) -> bytes:
        """Return up to size bytes; none at the end."""
        return self._pace.read(self._source, size)
