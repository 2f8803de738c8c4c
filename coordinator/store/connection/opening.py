"""Opening of a connection: to a writable, safe server with our schema; creates our rows there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from coordinator.errors import DatabaseUnreachableError, UnsafeServerError
from coordinator.protocol.messages.requests import NodeFacts
from coordinator.store.driver import connect as driver
from coordinator.store.driver import errors as driver_errors
from coordinator.store.node.epoch import ensure_epoch
from coordinator.store.node.heartbeat import rehearse
from coordinator.store.node.session import ensure_rows
from coordinator.store.schema.facts import refuse_incomplete
from coordinator.store.schema.migrate import judge, why_none
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import Cursor
from coordinator.store.sql.view import Place, channel_of

#: Our statements wait for locks only; this limit ends a statement that its client abandoned for
#: another reason. Shorter than the time between two heartbeats, it would wake each backend once
#: more for each: PostgreSQL disarms the limit when a statement ends, and lets its alarm ring (ADR
#: 12).
STATEMENT_S = 10.0
#: Only statements that ask for it are prepared: the heartbeat.
PREPARE_ON_REQUEST_ONLY = 2**31 - 1

#: Added to a group's name for the channel on which its tokens are waited for.
HOLDERS = "/_holders"

#: One round trip: what must be known of server and schema, and what the session needs.
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

#: For a database without our schema: tells a standby from a primary that lacks the schema.
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

    lent:      a pooler is in between and lends the session; settings of the session would not last.
    listening: notifications of the group arrive here.
    """

    connection: Connection
    place: Place
    lent: bool
    listening: bool


def open_connection(
    conninfo: str,
    schema: str,
    facts: NodeFacts,
    where: str,
    timeout_s: float,
    *,
    pooler_tells: bool,
    may_prepare: bool,
    verified: int | None = None,
) -> Opened:
    """Connect, check the server, make the rows that must exist, and listen.

    pooler_tells: whether a pooler, if there is one, is known to pass notifications on.
    may_prepare:  whether statements that were prepared are known to stay.
    verified:     the system whose schema was found whole before.
    Errors: DatabaseUnreachableError (also a standby), DatabaseRefusedError, SchemaError,
    UnsafeServerError, ConfigError (the conninfo is wrong, there is no such database).
    """
    try:
        connection: Connection = driver.connect(
            conninfo, timeout_s=timeout_s, prepare_threshold=PREPARE_ON_REQUEST_ONLY
        )
    except psycopg.Error as error:
        raise driver_errors.database_error(error, where) from error
    try:
        place, lent = _prepare(connection, schema, facts, where, timeout_s, verified)
        if may_prepare and not lent:
            rehearse(Cursor(connection), place)
        listening = pooler_tells or not lent
        if listening:
            listen(connection, place.channel)
        return Opened(connection, place, lent, listening)
    except psycopg.Error as error:
        role = driver_errors.role_of(connection)
        connection.close()
        raise driver_errors.database_error(error, where, role) from error
    except BaseException:
        connection.close()
        raise


def limits(timeout_s: float) -> dict[str, str]:
    """Return the parameters of SET_LIMITS for a request of timeout_s seconds."""
    return driver.limits(timeout_s, STATEMENT_S)


def preamble(connection: Connection, schema: str, timeout_s: float) -> bytes:
    """Return what a transaction in a lent session begins with, for a request of timeout_s."""
    return driver.preamble(connection, limits(timeout_s), named(driver.PREAMBLE, schema))


def listen(connection: Connection, channel: str) -> None:
    """Subscribe the session to the notifications of a channel."""
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))


def _prepare(
    connection: Connection,
    schema: str,
    facts: NodeFacts,
    where: str,
    timeout_s: float,
    verified: int | None,
) -> tuple[Place, bool]:
    """Set the session up, check server and schema, and create the rows beforehand.

    Returns whether the session is lent, too.
    """
    cursor = Cursor(connection)
    system_identifier, started_at, lent = _probe(cursor, schema, where, timeout_s)
    if system_identifier != verified:
        refuse_incomplete(connection, schema, where)
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
        # A session that holds tokens waits for tokens, not for changes of the group.
        channel=channel_of(schema, f"{facts.group}{HOLDERS if facts.holds else ''}"),
    )
    ensure_epoch(cursor, place)
    ensure_rows(cursor, place)
    return place, lent


def _probe(cursor: Cursor, schema: str, where: str, timeout_s: float) -> tuple[int, int, bool]:
    """Check the server; return its system identifier, its start, and whether the session is lent.

    Errors: when it is not writable, not safe, or lacks our schema.
    """
    connection, params = cursor.connection, limits(timeout_s)
    try:
        row = driver.set_up(connection, named(PROBE, schema), params)
    except psycopg.errors.UndefinedTable:
        row = driver.set_up(connection, named(PROBE_SERVER, schema), params)
    revision, in_recovery, system_identifier, fsync, full_page_writes, started_at, lent = row[:7]
    if in_recovery:
        raise DatabaseUnreachableError(
            f"{where}: the server is a standby (in recovery) and cannot be written to;"
            " name the primary, or all hosts with target_session_attrs=primary"
        )
    for setting, value in (("fsync", fsync), ("full_page_writes", full_page_writes)):
        if value == "off":
            raise UnsafeServerError(
                f"{where}: the server runs with {setting} = off and may lose acknowledged"
                f" commits in a crash: set {setting} = on"
            )
    if revision is None:
        raise why_none(connection, schema, where)
    judge(revision, schema, where)
    return int(system_identifier), int(started_at), bool(lent)
