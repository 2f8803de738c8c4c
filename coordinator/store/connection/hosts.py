"""Queries to every host of a conninfo: the host that takes writes, and its branch."""

from __future__ import annotations

from typing import LiteralString

import psycopg
from psycopg import conninfo as libpq

from coordinator.errors import CoordError
from coordinator.protocol.messages.requests import Identity
from coordinator.store.driver import connect as driver
from coordinator.store.driver.errors import parse
from coordinator.store.sql.statement import named

#: All values that distinguish two runs of servers, and the address that the server itself reports;
#: no row from a standby.
IDENTITY: LiteralString = """
SELECT
    (SELECT system_identifier FROM pg_control_system()),
    {timeline},
    {started_at},
    host(inet_server_addr()),
    inet_server_port()
WHERE NOT pg_is_in_recovery()
"""


def hosts_of(conninfo: str) -> list[dict[str, str]]:
    """Return host and port of each server that a conninfo names; empty when it names one."""
    given = parse(conninfo)
    hosts = str(given.get("host") or "").split(",")
    ports = str(given.get("port") or "").split(",")
    if len(hosts) < 2:
        return []
    if len(ports) != len(hosts):
        ports = [ports[0]] * len(hosts)
    return [
        {"host": host, **({"port": port} if port else {})}
        for host, port in zip(hosts, ports, strict=True)
    ]


def rotated(conninfo: str, turn: int) -> str:
    """Return the conninfo with its hosts in another order: the turn-th of them first.

    A host that swallows packets must not be the first one of every attempt.
    """
    hosts = hosts_of(conninfo)
    if not hosts:
        return conninfo
    start = turn % len(hosts)
    ordered = hosts[start:] + hosts[:start]
    changed: dict[str, str] = {"host": ",".join(host["host"] for host in ordered)}
    if "port" in ordered[0]:
        changed["port"] = ",".join(host["port"] for host in ordered)
    return libpq.make_conninfo(conninfo, **changed)


class HostLook:
    """Query to one address for the server that takes writes there, if one does.

    over: the only address is the server's own, so that a query shows nothing beyond the node's own
          connection. A proxy may keep that connection at a primary that was left behind, and lead
          new ones to another.
    """

    def __init__(self, conninfo: str, timeout_s: float, *, alone: bool) -> None:
        # libpq waits for each address at least two seconds.
        waits_s = max(2, round(timeout_s))
        self._conninfo = libpq.make_conninfo(
            conninfo, target_session_attrs="any", connect_timeout=waits_s
        )
        self._alone, self._timeout_s = alone, timeout_s
        self.over = False

    def __call__(self) -> Identity | None:
        """Return the server that takes writes; None: no answer, or a standby answered."""
        try:
            with driver.open_session(self._conninfo, timeout_s=self._timeout_s) as connection:
                begin = driver.begin(connection, self._timeout_s, b"READ COMMITTED, READ ONLY")
                rows = driver.asked(connection, begin, named(IDENTITY, "public"))
                info = connection.info
                reached = info.hostaddr, info.port
        except (psycopg.Error, CoordError):
            return None  # a host that is down is no primary; the node itself tells of outages
        if not rows:
            return None
        system_identifier, timeline, started_at, address, port = rows[0]
        # A Unix socket has neither; a proxy in front of one may itself be reached by TCP.
        self.over = self._alone and ((address or "", port or reached[1]) == reached)
        return Identity(
            system_identifier=system_identifier, timeline=timeline, started_at=started_at
        )


def looks(conninfo: str, timeout_s: float) -> list[HostLook]:
    """Return a query for each host that a conninfo names."""
    hosts = hosts_of(conninfo)
    if not hosts:
        return [HostLook(conninfo, timeout_s, alone=True)]
    return [
        HostLook(libpq.make_conninfo(conninfo, **host), timeout_s, alone=False) for host in hosts
    ]
