"""Watch a cluster from outside: since when has the database been writable, and by which way?

One thread for each server, through its socket, and one for each proxy of docs/patroni.md. Each
writes a row again and again and remembers when that was acknowledged. A wait for a synchronous
standby is never cut short, for that would look like an acknowledgement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from tests.support.nodes.processes import eventually
from tests.support.servers.patroni import OUTSIDE, SERVERS, STEP_S, Cluster

EVERY_S = 0.1
#: Nothing acknowledged for so long: writes had stopped. A busy machine may need most of a second.
BROKEN_S = 1.0
#: A single refusal may be that of a connection that was slow to stand.
REFUSALS_MIN = 3
#: A thread ends with the server that it waits for, at the latest.
JOIN_S = 30.0
TABLE = "CREATE TABLE IF NOT EXISTS public.observed (way text PRIMARY KEY, times bigint NOT NULL)"
WRITE = """
INSERT INTO public.observed VALUES (%s, 1)
ON CONFLICT (way) DO UPDATE SET times = observed.times + 1
"""

Connect = Callable[[], "psycopg.Connection[tuple[object, ...]]"]


def boottime() -> float:
    """Return the moment by the clock of the recorders."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class Streak:
    """Writes that were acknowledged one after the other, without a break."""

    first: float
    last: float


@dataclass
class Watch:
    """Sightings of one thread on one way."""

    way: str
    connect: Connect
    streaks: list[Streak] = field(default_factory=list)
    refusals: int = 0  #: in a row

    def run(self, over: threading.Event) -> None:
        connection = None
        while not over.is_set():
            try:
                if connection is None:
                    connection = self.connect()
                connection.execute(WRITE, [self.way], prepare=False)
                self._acknowledged(boottime())
            except (psycopg.Error, OSError):
                if connection is not None:
                    connection.close()
                connection = None
                self.refusals += 1
            over.wait(EVERY_S)
        if connection is not None:
            connection.close()

    def _acknowledged(self, at: float) -> None:
        self.refusals = 0
        if self.streaks and at - self.streaks[-1].last < BROKEN_S:
            self.streaks[-1].last = at
        else:
            self.streaks.append(Streak(at, at))

    def writes(self) -> bool:
        """Say whether writes are acknowledged now."""
        return bool(self.streaks) and boottime() - self.streaks[-1].last < BROKEN_S


class Observer:
    """All watches of one cluster."""

    def __init__(self, cluster: Cluster, ways: dict[str, str]) -> None:
        self._cluster = cluster
        self._over = threading.Event()
        self._watches = {
            **{name: Watch(name, lambda name=name: cluster.connect(name)) for name in SERVERS},
            **{way: Watch(way, self._through(address)) for way, address in ways.items()},
        }

    def _through(self, conninfo: str) -> Connect:
        def connect() -> psycopg.Connection[tuple[object, ...]]:
            with self._cluster.net.inside(OUTSIDE):
                return psycopg.connect(conninfo, autocommit=True, connect_timeout=2)

        return connect

    @contextmanager
    def watching(self) -> Iterator[Observer]:
        """Watch while the block runs; it must end before the servers do."""
        with self._cluster.connect(str(self._cluster.leader())) as connection:
            connection.execute(TABLE)
            connection.execute("GRANT ALL ON public.observed TO coord")
        threads = [
            threading.Thread(
                target=watch.run, args=[self._over], name=f"observer {watch.way}", daemon=True
            )
            for watch in self._watches.values()
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in threads:
                thread.join(JOIN_S)

    # --- answers ------------------------------------------------------------------------------

    def wait_for_writes_on(self, server: str) -> None:
        """Wait until a server acknowledges writes."""
        eventually(self._watches[server].writes, STEP_S, self._cluster.story)

    def wait_for_no_writes_on(self, server: str) -> None:
        """Wait until a server refuses them, again and again."""
        watch = self._watches[server]
        eventually(lambda: watch.refusals >= REFUSALS_MIN, STEP_S, self._cluster.story)

    def writable_since(self, way: str, began_at: float) -> float:
        """Return the moment since which one server takes the writes, and this way leads to it.

        Of two that take writes the later one counts; an earlier one may go on beside it.
        """
        leader = str(self._cluster.leader())
        leads = self._watches[leader].streaks[-1].first
        since = max(began_at, leads)
        for name in SERVERS:
            if name == leader or not self._watches[name].streaks:
                continue
            other = self._watches[name].streaks[-1]
            if other.first > leads:
                since = max(since, other.last)
        if way in self._watches:
            since = max(since, self._watches[way].streaks[-1].first)
        return since
