"""Opens a connection to a writable, safe server whose schema fits, and prepares our rows there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from coordinator.errors import DatabaseUnreachableError, UnsafeServerError
from coordinator.protocol.requests import NodeFacts
from coordinator.store import faults
from coordinator.store.epoch import ensure_epoch
from coordinator.store.heartbeat import rehearse
from coordinator.store.migrate import judge, why_none
from coordinator.store.session import ensure_rows
from coordinator.store.statement import named
from coordinator.store.transaction import Cursor
from coordinator.store.view import Place

#: libpq waits at least so many seconds for each host.
CONNECT_TIMEOUT_MIN_S = 2
#: A lock is waited for shorter than the asker waits for the whole request, and a transaction that
#: was left open ends before that.
LOCK_SHARE = 0.5
OPEN_SHARE = 0.8
#: Locks are all that our statements wait for; this ends what its asker has left behind for another
#: reason. Shorter than the time between two heartbeats it would wake each backend once more for
#: each: PostgreSQL disarms the limit when a statement ends, and lets its alarm ring (ADR 12).
STATEMENT_S = 10.0
#: Only statements that ask for it are prepared: the heartbeat.
PREPARE_ON_REQUEST_ONLY = 2**31 - 1

#: One round trip: what must be known of server and schema, and what the session needs.
#: Who was greeted by another process than the one that answers stands before a pooler. A session
#: that it lends must not keep our settings: the next transaction in it may be somebody else's.
PROBE: LiteralString = """
SELECT
    (SELECT max(version_num) FROM {schema}.coord_version),
    pg_is_in_recovery(),
    (SELECT system_identifier FROM pg_control_system()),
    current_setting('fsync'),
    current_setting('full_page_writes'),
    {started_at},
    session.lent,
    {settings}
FROM (SELECT pg_backend_pid() <> %(greeted_by)s AS lent) AS session
"""

#: For a database without our schema: a standby of one is to be told from one that lacks it.
PROBE_SERVER: LiteralString = """
SELECT
    NULL,
    pg_is_in_recovery(),
    (SELECT system_identifier FROM pg_control_system()),
    current_setting('fsync'),
    current_setting('full_page_writes'),
    {started_at},
    false
"""

#: The first statement of a transaction in a session that is lent.
PREAMBLE: LiteralString = "SELECT {settings} FROM (SELECT true AS lent) AS session"

SET_LIMITS: LiteralString = """
SELECT
    set_config('lock_timeout', %(lock_ms)s, false),
    set_config('statement_timeout', %(statement_ms)s, false),
    set_config('idle_in_transaction_session_timeout', %(open_ms)s, false)
"""

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection that may be used, and where it leads.

    lent:      a pooler stands between; nothing that we set in the session would stay ours.
    listening: notifications of the group arrive here.
    """

    connection: Connection
    place: Place
    lent: bool
    listening: bool


def channel_of(schema: str, group: str) -> str:
    """Return the NOTIFY channel of a group; a hash, because names may be longer than a channel."""
    digest = hashlib.blake2b(f"{schema}\0{group}".encode(), digest_size=10)
    return f"coord_{digest.hexdigest()}"


def open_connection(
    conninfo: str,
    schema: str,
    facts: NodeFacts,
    where: str,
    timeout_s: float,
    *,
    pooler_tells: bool,
    may_prepare: bool,
) -> Opened:
    """Connect, check the server, make the rows that must exist, and listen.

    pooler_tells: whether a pooler, if there is one, is known to pass notifications on.
    may_prepare:  whether statements that were prepared are known to stay.
    Errors: DatabaseUnreachableError (also a standby), DatabaseRefusedError, SchemaError,
    UnsafeServerError, ConfigError (the conninfo is wrong, there is no such database).
    """
    added = _added(conninfo, timeout_s)
    try:
        connection: Connection = psycopg.connect(
            conninfo, autocommit=True, prepare_threshold=PREPARE_ON_REQUEST_ONLY, **added
        )
    except psycopg.Error as error:
        raise faults.database_error(error, where) from error
    try:
        place, lent = _prepare(connection, schema, facts, where, timeout_s)
        if may_prepare and not lent:
            rehearse(Cursor(connection), place)
        listening = pooler_tells or not lent
        if listening:
            listen(connection, place.channel)
        return Opened(connection, place, lent, listening)
    except psycopg.Error as error:
        connection.close()
        raise faults.database_error(error, where) from error
    except BaseException:
        connection.close()
        raise


def limits(timeout_s: float) -> dict[str, str]:
    """Return the parameters of SET_LIMITS for a request of timeout_s seconds."""
    return {
        "lock_ms": str(max(1, int(timeout_s * LOCK_SHARE * 1000))),
        "open_ms": str(max(1, int(timeout_s * OPEN_SHARE * 1000))),
        "statement_ms": str(int(max(timeout_s, STATEMENT_S) * 1000)),
    }


def preamble(connection: Connection, schema: str, timeout_s: float) -> bytes:
    """Return what a transaction in a lent session begins with, for a request of timeout_s."""
    cursor = psycopg.ClientCursor(connection)
    return cursor.mogrify(named(PREAMBLE, schema), limits(timeout_s)).encode()


def listen(connection: Connection, channel: str) -> None:
    """Have the session told of what is notified on a channel."""
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))


def _prepare(
    connection: Connection, schema: str, facts: NodeFacts, where: str, timeout_s: float
) -> tuple[Place, bool]:
    """Set the session up, judge server and schema, and make the rows beforehand.

    Returns whether the session is lent, too.
    """
    cursor = Cursor(connection)
    system_identifier, started_at, lent = _probe(cursor, schema, where, timeout_s)
    if lent:
        cursor.preamble = preamble(connection, schema, timeout_s)
    place = Place(
        schema=schema,
        group=facts.group,
        node=facts.node,
        token=facts.token,
        hosts_tasks=facts.hosts_tasks,
        system_identifier=system_identifier,
        started_at=started_at,
        channel=channel_of(schema, facts.group),
    )
    ensure_epoch(cursor, place)
    ensure_rows(cursor, place)
    return place, lent


def _probe(cursor: Cursor, schema: str, where: str, timeout_s: float) -> tuple[int, int, bool]:
    """Judge the server; return its system identifier, its start, and whether the session is lent.

    Errors: when it is not writable, not safe, or lacks our schema.
    """
    params = {**limits(timeout_s), "greeted_by": cursor.connection.info.backend_pid}
    try:
        cursor.execute(named(PROBE, schema), params)
    except psycopg.errors.UndefinedTable:
        cursor.execute(named(PROBE_SERVER, schema))
    row = cursor.fetchone()
    assert row is not None, "a probe is one row"
    revision, in_recovery, system_identifier, fsync, full_page_writes, started_at, lent = row[:7]
    if in_recovery:
        raise DatabaseUnreachableError(
            f"{where}: the server is a standby (in recovery) and cannot be written to;"
            " name the primary, or all hosts with target_session_attrs=read-write"
        )
    for setting, value in (("fsync", fsync), ("full_page_writes", full_page_writes)):
        if value == "off":
            raise UnsafeServerError(
                f"{where}: the server runs with {setting} = off and may lose acknowledged"
                f" commits in a crash: set {setting} = on"
            )
    if revision is None:
        raise why_none(cursor.connection, schema, where)
    judge(revision, schema, where)
    return int(system_identifier), int(started_at), bool(lent)


def _added(conninfo: str, timeout_s: float) -> dict[str, Any]:
    """Return what we add to a conninfo: bounds where it has none, or longer ones than the asker."""
    given = faults.parse(conninfo)
    whole_s = max(1, int(timeout_s))
    defaults = {
        "tcp_user_timeout": int(timeout_s * 1000),
        "keepalives": 1,
        "keepalives_idle": whole_s,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "fallback_application_name": "coord",
    }
    added: dict[str, Any] = {key: value for key, value in defaults.items() if key not in given}
    # libpq reads 0 as "no limit"; a limit of the operator's own may only be shorter than ours.
    theirs_s = str(given.get("connect_timeout", "0"))
    bounded_s = min(whole_s, int(theirs_s)) if theirs_s.isdecimal() and int(theirs_s) else whole_s
    return added | {"connect_timeout": max(CONNECT_TIMEOUT_MIN_S, bounded_s)}
