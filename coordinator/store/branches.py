"""A look at every host of a conninfo: which of them would take writes, and on which branch."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg import conninfo as libpq

from coordinator.errors import CoordError
from coordinator.protocol.requests import Identity
from coordinator.store import driver
from coordinator.store.faults import parse

#: Everything that tells two branches of one database apart; no row from a standby.
IDENTITY = """
SELECT
    (SELECT system_identifier FROM pg_control_system()),
    ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int,
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint
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


def primaries(conninfo: str, timeout_s: float) -> Iterator[Identity]:
    """Yield the identity of every host that answers and is not a standby; the rest is skipped."""
    for host in hosts_of(conninfo):
        one = libpq.make_conninfo(
            conninfo, **host, target_session_attrs="any", connect_timeout=max(2, round(timeout_s))
        )
        try:
            with driver.open_session(one, timeout_s=timeout_s) as connection:
                row = connection.execute(IDENTITY).fetchone()
        except (psycopg.Error, CoordError):
            continue  # a host that is down is no primary; the node itself tells of outages
        if row is not None:
            system_identifier, timeline, started_at = row
            yield Identity(
                system_identifier=system_identifier, timeline=timeline, started_at=started_at
            )
