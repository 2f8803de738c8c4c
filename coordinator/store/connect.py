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
from coordinator.store.migrate import judge
from coordinator.store.session import ensure_rows
from coordinator.store.statement import named
from coordinator.store.transaction import Cursor
from coordinator.store.view import Place

#: libpq waits at least so many seconds for each host.
CONNECT_TIMEOUT_MIN_S = 2
#: Each statement ends before the asker gives the whole request up; a lock is waited for shorter,
#: so that "locked" and "slow" can be told apart.
STATEMENT_SHARE = 0.8
LOCK_SHARE = 0.5
#: Only statements that ask for it are prepared: the heartbeat.
PREPARE_ON_REQUEST_ONLY = 2**31 - 1

#: One round trip: what must be known of server and schema, and what the session needs.
#: Index scans only: on a table of one page the planner prefers a sequential scan, whose predicate
#: lock covers the whole table. jit off: a scan that cannot be avoided would look expensive to it.
#: client_min_messages: the warning about a cancelled wait for a standby must reach us.
PROBE: LiteralString = """
SELECT
    (SELECT max(version_num) FROM {schema}.alembic_version),
    pg_is_in_recovery(),
    (SELECT system_identifier FROM pg_control_system()),
    current_setting('fsync'),
    current_setting('full_page_writes'),
    set_config('lock_timeout', %(lock_ms)s, false),
    set_config('statement_timeout', %(statement_ms)s, false),
    set_config('idle_in_transaction_session_timeout', %(statement_ms)s, false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('client_min_messages', 'warning', false),
    set_config('enable_seqscan', 'off', false),
    set_config('jit', 'off', false),
    CASE
        WHEN current_setting('synchronous_commit') IN ('on', 'remote_apply') THEN 'kept'
        ELSE set_config('synchronous_commit', 'on', false)
    END
"""

#: For a database without our schema: a standby of one is to be told from one that lacks it.
PROBE_SERVER: LiteralString = """
SELECT
    NULL,
    pg_is_in_recovery(),
    (SELECT system_identifier FROM pg_control_system()),
    current_setting('fsync'),
    current_setting('full_page_writes')
"""

SET_LIMITS: LiteralString = """
SELECT
    set_config('lock_timeout', %(lock_ms)s, false),
    set_config('statement_timeout', %(statement_ms)s, false),
    set_config('idle_in_transaction_session_timeout', %(statement_ms)s, false)
"""

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection that may be used, and where it leads."""

    connection: Connection
    place: Place


def channel_of(schema: str, group: str) -> str:
    """Return the NOTIFY channel of a group; a hash, because names may be longer than a channel."""
    digest = hashlib.blake2b(f"{schema}\0{group}".encode(), digest_size=10)
    return f"coord_{digest.hexdigest()}"


def open_connection(
    conninfo: str, schema: str, facts: NodeFacts, where: str, timeout_s: float
) -> Opened:
    """Connect, check the server, make the rows that must exist, and listen.

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
        return Opened(connection, _prepare(connection, schema, facts, where, timeout_s))
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
        "statement_ms": str(max(1, int(timeout_s * STATEMENT_SHARE * 1000))),
    }


def _prepare(
    connection: Connection, schema: str, facts: NodeFacts, where: str, timeout_s: float
) -> Place:
    """Set the session up, judge server and schema, and make the rows beforehand."""
    cursor = connection.cursor()
    system_identifier = _probe(cursor, schema, where, timeout_s)
    place = Place(
        schema=schema,
        group=facts.group,
        node=facts.node,
        system_identifier=system_identifier,
        channel=channel_of(schema, facts.group),
    )
    ensure_epoch(cursor, place)
    ensure_rows(cursor, place)
    cursor.execute(sql.SQL("LISTEN {}").format(sql.Identifier(place.channel)))
    return place


def _probe(cursor: Cursor, schema: str, where: str, timeout_s: float) -> int:
    """Return the system identifier of a server that is writable, safe and has our schema."""
    try:
        cursor.execute(named(PROBE, schema), limits(timeout_s))
    except psycopg.errors.UndefinedTable:
        cursor.execute(PROBE_SERVER)
    row = cursor.fetchone()
    assert row is not None, "a probe is one row"
    revision, in_recovery, system_identifier, fsync, full_page_writes = row[:5]
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
    judge(revision, schema, where)
    return int(system_identifier)


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
