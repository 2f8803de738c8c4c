"""Servers that take writes among the hosts of a database, for people: one, if all is well (E4)."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from coordinator.protocol.messages.requests import Identity
from coordinator.store.connection import hosts

#: A host that swallows packets holds up nobody who looks for longer than this.
WITHIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """A server that takes writes, and its address as the configuration names it."""

    address: str
    timeline: int
    started_at: int  #: microseconds of its own clock since 1970


class Primaries:
    """A look at all hosts of a conninfo at once; it begins when it is made."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._hosts = hosts.hosts_of(conninfo)
        self._seen: dict[int, Identity | None] = {}
        self._changed = threading.Condition()
        self._began_at = time.monotonic()
        looks = hosts.looks(conninfo, WITHIN_S) if self._hosts else []
        for number, look in enumerate(looks):
            threading.Thread(
                target=self._look, args=(number, look), name="coord-look", daemon=True
            ).start()

    def _look(self, number: int, look: hosts.HostLook) -> None:
        seen = look()
        with self._changed:
            self._seen[number] = seen
            self._changed.notify()

    def found(self) -> tuple[Primary, ...] | None:
        """Return who takes writes; None where one address alone is known.

        Looks at two hosts may have a switchover between them. So of several servers those count
        that a second look, which begins after the first, shows again.
        """
        if not self._hosts:
            return None
        first = self._waited_for()
        if len(first) < 2:
            return tuple(first.values())
        again = Primaries(self._conninfo)._waited_for()
        return tuple(primary for run, primary in again.items() if run in first)

    def _waited_for(self) -> dict[Identity, Primary]:
        """Return who was seen in time; a server that two of the names lead to once."""
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
