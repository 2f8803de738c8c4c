"""The lookout looks at every host, and waits for none of them (rule E4)."""

from __future__ import annotations

import threading
from queue import Queue

from coordinator.protocol.messages.requests import Identity
from coordinator.protocol.node.events import Event, PrimarySeen
from coordinator.runtime.agent.host_watch import UNDER_WAY_MAX, HostWatch
from coordinator.runtime.linux.clock import BoottimeClock

HERE = Identity(system_identifier=7, timeline=2, started_at=1)
WITHIN_S = 30.0


class Host:
    """A host that answers, or that swallows what is sent to it."""

    def __init__(self, identity: Identity | None = None, *, silent: bool = False) -> None:
        self.over = False
        self._identity, self._silent = identity, silent
        self.hangs = threading.Semaphore(0)
        self.under_way = 0
        self.asked = threading.Event()

    def __call__(self) -> Identity | None:
        self.asked.set()
        if self._silent:
            self.under_way += 1
            self.hangs.acquire()
        return self._identity


def test_hosts_that_swallow_everything_hold_up_no_look_at_the_others() -> None:
    silent = [Host(silent=True), Host(silent=True)]
    posted: Queue[Event] = Queue()
    lookout = HostWatch([*silent, Host(HERE)], BoottimeClock(), posted.put, 0.01)
    try:
        for _ in range(3 * UNDER_WAY_MAX):
            seen = posted.get(timeout=WITHIN_S)
            assert isinstance(seen, PrimarySeen)
            assert seen.identity == HERE
        assert all(1 <= host.under_way <= UNDER_WAY_MAX for host in silent)
    finally:
        lookout.stop()
        for host in silent:
            host.hangs.release(UNDER_WAY_MAX)


def test_standbys_and_dead_hosts_are_not_told_of() -> None:
    posted: Queue[Event] = Queue()
    nobody = Host(None)
    lookout = HostWatch([nobody, Host(HERE)], BoottimeClock(), posted.put, 0.01)
    try:
        assert nobody.asked.wait(WITHIN_S)
        assert posted.get(timeout=WITHIN_S).identity == HERE  # type: ignore[union-attr]
    finally:
        lookout.stop()
