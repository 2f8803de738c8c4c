"""Servers that take writes among the hosts of a database, for people; there should be one (E4)."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from coordinator.protocol.messages.requests import Identity
from coordinator.store.connection import hosts

#: A host that drops packets delays an answer by no more than this.
WITHIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """Server that takes writes, and its address as the configuration names it."""

    address: str
    timeline: int
    started_at: int  #: microseconds of its own clock since 1970


class Primaries:
    """Query of all hosts of a conninfo at once; it begins when it is made."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._hosts = hosts.hosts_of(conninfo)
        self._seen: dict[int, Identity | None] = {}
        self._changed = threading.Condition()
        self._began_at = time.monotonic()
        looks = hosts.looks(conninfo, WITHIN_S) if self._hosts else []
        for number, look in enumerate(looks):
            threading.Thread(
                target=self._query, args=(number, look), name="coord-look", daemon=True
            ).start()

    def _query(self, number: int, look: hosts.HostLook) -> None:
        seen = look()
        with self._changed:
            self._seen[number] = seen
            self._changed.notify()

    def found(self) -> tuple[Primary, ...] | None:
        """Return the servers that take writes; None if only one address is known.

        A switchover may happen between the queries of two hosts. Therefore, if several servers
        take writes, only those count that a second query, begun after the first, finds again.
        """
        if not self._hosts:
            return None
        first = self._answers()
        if len(first) < 2:
            return tuple(first.values())
        again = Primaries(self._conninfo)._answers()
        return tuple(primary for run, primary in again.items() if run in first)

    def _answers(self) -> dict[Identity, Primary]:
        """Return the servers that answered in time; once, if two names lead to one."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._seen) == len(self._hosts),
                max(0.0, self._began_at + WITHIN_S - time.monotonic()),
            )
            seen = sorted(self._seen.items())
        found: dict[Identity, Primary] = {}
        for number, identity in seen:
            if identity is not None:
                found.setdefault(identity, _primary(self._hosts[number], identity))
        return found


def _primary(host: dict[str, str], identity: Identity) -> Primary:
    address = host["host"] + (f":{host['port']}" if host.get("port") else "")
    return Primary(address=address, timeline=identity.timeline, started_at=identity.started_at)
