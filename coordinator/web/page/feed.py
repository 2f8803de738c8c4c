"""Feed of the page: the thread that reads the database writes it, the server's streams follow it.

A stream is told only of the newest reading, so a slow browser costs no memory: it misses readings.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One reading, written out.

    number:   rises with each frame, so that a stream sends none twice.
    overview: document of all groups; groups: those in full, by name.
    asked:    the groups that were asked for in full; one that is not among `groups` is not there.
    status:   writes the document of `coord status -o json`; table: its output for people.
    read_at:  of the monotonic clock. trouble: why there is no newer reading; empty: there is none.
    told_at:  of the same clock: when this was read, or this trouble was met.
    """

    number: int = 0
    overview: bytes = b""
    groups: Mapping[str, bytes] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    status: Callable[[], str] = str
    table: Callable[[], str] = str
    read_at: float = 0.0
    trouble: str = ""
    told_at: float = 0.0


class Feed:
    """Newest frame, and who waits for the next one; made for one reader and one server."""

    def __init__(self) -> None:
        self.newest = Frame()
        self.wanted = threading.Event()  #: somebody new looks: read at once
        self.closed = False
        self._watched: Counter[str] = Counter()
        self._looking = 0
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    # --- the reader's side ------------------------------------------------------------------------

    def looked_at(self) -> bool:
        """Return True while anybody looks; otherwise nothing has to be read."""
        with self._lock:
            return self._looking > 0

    def somebody_looks(self, seconds: float) -> bool:
        """Wait for somebody who looks; false: nobody came within this time."""
        give_up_at = time.monotonic() + seconds
        while not self.looked_at():
            # A browser that left has set it, too. It is cleared, or nothing would wait any more.
            if not self.wanted.wait(max(0.0, give_up_at - time.monotonic())):
                return False
            self.wanted.clear()
        return True

    def watched(self) -> tuple[str, ...]:
        """Return the groups that somebody looks at in full."""
        with self._lock:
            return tuple(self._watched)

    def publish(self, frame: Frame) -> None:
        """Replace the newest frame, and tell all streams."""
        now = time.monotonic()
        self._replace(replace(frame, read_at=now, told_at=now))

    def report(self, trouble: str) -> None:
        """Keep what was read last, and tell all streams why there is nothing newer."""
        self._replace(replace(self.newest, trouble=trouble, told_at=time.monotonic()))

    def close(self) -> None:
        """End all streams."""
        self.closed = True
        self._wake()

    def _replace(self, frame: Frame) -> None:
        self.newest = replace(frame, number=self.newest.number + 1)
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiting = tuple(self._waiting)
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    # --- the server's side ------------------------------------------------------------------------

    @contextmanager
    def looking(self, group: str | None) -> Iterator[Follower]:
        """Count as somebody who looks, and at this group in full, in a `with` of the server."""
        follower = Follower(self)
        entry = (asyncio.get_running_loop(), follower.event)
        with self._lock:
            self._looking += 1
            self._waiting.add(entry)
            if group is not None:
                self._watched[group] += 1
        self.wanted.set()
        try:
            yield follower
        finally:
            with self._lock:
                self._looking -= 1
                self._waiting.discard(entry)
                if group is not None:
                    self._watched[group] -= 1
                    self._watched += Counter()  # drops what nobody looks at
            self.wanted.set()


class Follower:
    """Wait of one stream for the next frame."""

    __slots__ = ("_feed", "event")

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.event = asyncio.Event()

    async def changed(self, seconds: float) -> None:
        """Wait for a frame, for the end of the feed, or for this time."""
        try:
            async with asyncio.timeout(seconds):
                await self.event.wait()
        except TimeoutError:
            return
        self.event.clear()

    async def after(self, moment: float, seconds: float, group: str | None) -> Frame | None:
        """Return what was read after a moment, with the group, or the trouble that was met since.

        None: neither came in time.
        """
        give_up_at = time.monotonic() + seconds
        while not self._feed.closed:
            frame = self._feed.newest
            complete = group is None or group in frame.asked
            if frame.told_at > moment and (frame.trouble or complete):
                return frame
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                return None
            await self.changed(left_s)
        return None
