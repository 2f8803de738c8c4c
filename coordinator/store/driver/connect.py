"""The one door: every connection of the product is opened, and its session set up, here.

What a role, a database, a server or the environment sets is for other programs. Ours must not find
a function of somebody else's by their search_path, read a moment in another style, lose a commit,
or be cut off by a limit that is shorter than a heartbeat. So each session says what it needs:

  a session of our own    once, when it is opened (`set_up`)
  a transaction           at its beginning (`preamble`): all that holds behind a pooler, which lends
                          a session for one transaction
  a user's transaction    what the driver, the commit and the fence need, and nothing else
                          (`USER_SETTINGS`): its search_path, time zone and limits are the user's

Nothing is looked up by a search_path before ours is set, and nothing is cut off by a limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from coordinator.errors import UnsupportedServerError
from coordinator.store.driver.errors import label, parse
from coordinator.store.driver.moments import MomentLoader
from coordinator.store.driver.password_file import password_now
from coordinator.store.driver.texts import CleanStrDumper, CleanStrDumperUnknown

Connection = psycopg.Connection[Any]

#: The oldest PostgreSQL that coord is written for, as libpq counts; and how people say it.
VERSION_MIN = 140000
VERSION_MIN_SAID = "14"

#: Seconds for one connection attempt, unless the conninfo names its own.
CONNECT_TIMEOUT_S = 5
#: libpq waits at least so many seconds for each host.
CONNECT_TIMEOUT_MIN_S = 2
#: A lock is waited for shorter than a request; a transaction that was left open ends before that.
LOCK_SHARE = 0.5
OPEN_SHARE = 0.8
#: A limit may be so short that a role can set up nothing.
SET_UP_TRIES = 5

#: Of one transaction only, and looked up nowhere: they come before everything else.
FIRST = b"SET LOCAL statement_timeout = 0; SET LOCAL search_path = pg_catalog, pg_temp"

#: Settings of each session, or of each transaction where a pooler lends the session. Needs a table
#: `session` with `lent`, and the parameters of `limits`.
#: client_min_messages: the warning about a cancelled wait for a standby must reach us.
#: Two limits are not known to every server.
SETTINGS: LiteralString = """
    set_config('search_path', 'pg_catalog, pg_temp', session.lent),
    set_config('client_encoding', 'UTF8', session.lent),
    set_config('DateStyle', 'ISO, YMD', session.lent),
    set_config('IntervalStyle', 'postgres', session.lent),
    set_config('TimeZone', 'UTC', session.lent),
    set_config('standard_conforming_strings', 'on', session.lent),
    set_config('bytea_output', 'hex', session.lent),
    set_config('extra_float_digits', '1', session.lent),
    set_config('array_nulls', 'on', session.lent),
    set_config('row_security', 'on', session.lent),
    set_config('client_min_messages', 'warning', session.lent),
    set_config('default_transaction_isolation', 'read committed', session.lent),
    set_config('default_transaction_read_only', 'off', session.lent),
    set_config('default_transaction_deferrable', 'off', session.lent),
    set_config('lock_timeout', %(lock_ms)s, session.lent),
    set_config('statement_timeout', %(statement_ms)s, session.lent),
    set_config('idle_in_transaction_session_timeout', %(open_ms)s, session.lent),
    CASE
        WHEN current_setting('idle_session_timeout', true) IS NULL THEN 'unknown'
        ELSE set_config('idle_session_timeout', '0', session.lent)
    END,
    CASE
        WHEN current_setting('transaction_timeout', true) IS NULL THEN 'unknown'
        ELSE set_config('transaction_timeout', '0', session.lent)
    END,
    CASE
        WHEN current_setting('synchronous_commit') IN ('on', 'remote_apply') THEN 'kept'
        ELSE set_config('synchronous_commit', 'on', session.lent)
    END
"""

#: If the backend PID differs from the one in the startup packet, a pooler is in between. A session
#: that it lends must not keep our settings: the next transaction in it may be another client's.
SET_UP: LiteralString = """
SELECT session.lent, {settings}
FROM (SELECT pg_backend_pid() <> %(greeted_by)s AS lent) AS session
"""

PREAMBLE: LiteralString = "SELECT {settings} FROM (SELECT true AS lent) AS session"

_SET_UP = sql.SQL(SET_UP).format(settings=sql.SQL(SETTINGS)).as_bytes(None)
_PREAMBLE = sql.SQL(PREAMBLE).format(settings=sql.SQL(SETTINGS)).as_bytes(None)

#: The same as one text, for a transaction that waits as long as it has to.
PREAMBLE_UNBOUNDED = f"{FIRST.decode()}; {_PREAMBLE.decode()}" % {
    "lock_ms": "'0'",
    "open_ms": "'0'",
    "statement_ms": "'0'",
}

#: Before the first statement of a transaction whose rest is a user's: every name is qualified,
#: because the search_path is the user's.
USER_SETTINGS: LiteralString = """
SELECT
    pg_catalog.set_config('client_encoding', 'UTF8', true),
    pg_catalog.set_config('DateStyle', 'ISO, YMD', true),
    pg_catalog.set_config('IntervalStyle', 'postgres', true),
    pg_catalog.set_config('standard_conforming_strings', 'on', true),
    pg_catalog.set_config('bytea_output', 'hex', true),
    pg_catalog.set_config('row_security', 'on', true),
    pg_catalog.set_config('client_min_messages', 'warning', true),
    CASE
        WHEN pg_catalog.texteq(pg_catalog.current_setting('synchronous_commit'), 'remote_apply')
            THEN 'kept'
        ELSE pg_catalog.set_config('synchronous_commit', 'on', true)
    END
"""
USER_BEGIN: LiteralString = "SET TRANSACTION READ WRITE"


def connect(
    conninfo: str,
    *,
    timeout_s: float | None = None,
    row_factory: Any = tuple_row,
    prepare_threshold: int | None = None,
    ours: bool = True,
) -> Connection:
    """Connect in autocommit mode; the session is the server's own still: see `set_up`.

    timeout_s: what one request may take; bounds the network, too. None: a connection for which
    nobody waits with a bound of his own.
    ours: texts are made such that the database takes them, and moments are read whatever the
    session's style is. A user's own are the user's.
    Errors: psycopg.Error; UnsupportedServerError; DatabaseRefusedError for a password file that
    cannot be read.
    """
    connection: Connection = psycopg.connect(
        conninfo,
        autocommit=True,
        prepare_threshold=prepare_threshold,
        row_factory=row_factory,
        **_added(conninfo, timeout_s),
    )
    try:
        _refuse_old(connection, conninfo)
    except BaseException:
        connection.close()
        raise
    if not ours:
        return connection
    adapters = connection.adapters
    adapters.register_dumper(str, CleanStrDumper)
    adapters.register_dumper(str, CleanStrDumperUnknown)
    adapters.register_loader("timestamptz", MomentLoader)
    return connection


def open_session(
    conninfo: str, *, timeout_s: float | None = None, row_factory: Any = tuple_row
) -> Connection:
    """Connect and set the session up, unless a pooler lends it: then each transaction has to.

    Errors: psycopg.Error; UnsupportedServerError.
    """
    connection = connect(conninfo, timeout_s=timeout_s, row_factory=row_factory)
    try:
        set_up(connection, _SET_UP, limits(timeout_s))
    except BaseException:
        connection.close()
        raise
    return connection


def set_up(
    connection: Connection, statement: bytes, params: Mapping[str, object]
) -> tuple[Any, ...]:
    """Set the session up by the one statement of a first message, and return its row.

    statement: has SETTINGS in it, and may ask for more; it is told who greeted us.
    Errors: psycopg.Error; the connection is to be closed then, unless a table was missing.
    """
    message = b"; ".join((b"BEGIN", FIRST, statement, b"COMMIT"))
    known = {**params, "greeted_by": connection.info.backend_pid}
    for attempt in range(1, SET_UP_TRIES + 1):
        try:
            return _only_row(connection, message, known)
        except psycopg.errors.QueryCanceled:
            # A role's own limit, and one so short that it struck before it was taken away.
            if attempt == SET_UP_TRIES:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def preamble(connection: Connection, params: Mapping[str, object], statement: bytes = b"") -> bytes:
    """Return what a transaction begins with where its session is lent, without parameters.

    statement: PREAMBLE with more settings than ours in it.
    """
    with psycopg.ClientCursor(connection) as cursor:
        return b"; ".join((FIRST, cursor.mogrify(statement or _PREAMBLE, params).encode()))


def begin(
    connection: Connection, timeout_s: float | None, how: bytes = b"READ COMMITTED, READ WRITE"
) -> bytes:
    """Return the message that begins a transaction under our settings, also in a lent session."""
    return b"; ".join((b"BEGIN ISOLATION LEVEL " + how, preamble(connection, limits(timeout_s))))


def asked(connection: Connection, start: bytes, question: bytes) -> list[tuple[Any, ...]]:
    """Return the rows of a question in one round trip, in a transaction that `begin` begins."""
    rows: list[tuple[Any, ...]] = []
    try:
        with psycopg.ClientCursor(connection, row_factory=tuple_row) as cursor:
            cursor.execute(b"; ".join((start, question, b"COMMIT")))
            while True:
                if cursor.description:
                    rows = cursor.fetchall()
                if not cursor.nextset():
                    return rows
    finally:
        _leave(connection)


@contextmanager
def within(connection: Connection, timeout_s: float | None = None) -> Iterator[None]:
    """Run a few statements in one transaction under our settings, also in a lent session."""
    try:
        connection.execute(begin(connection, timeout_s))
        yield
        connection.execute(b"COMMIT")
    finally:
        _leave(connection)


def limits(timeout_s: float | None, statement_s: float = 0.0) -> dict[str, str]:
    """Return the parameters of SETTINGS for a request of timeout_s seconds.

    statement_s: a statement may take so long at least.
    """
    if timeout_s is None:
        return {"lock_ms": "0", "open_ms": "0", "statement_ms": "0"}
    return {
        "lock_ms": str(max(1, int(timeout_s * LOCK_SHARE * 1000))),
        "open_ms": str(max(1, int(timeout_s * OPEN_SHARE * 1000))),
        "statement_ms": str(max(1, int(max(timeout_s, statement_s) * 1000))),
    }


def _only_row(
    connection: Connection, message: bytes, params: Mapping[str, object]
) -> tuple[Any, ...]:
    """Run a message of which one statement has a row."""
    row: tuple[Any, ...] | None = None
    try:
        with psycopg.ClientCursor(connection, row_factory=tuple_row) as cursor:
            cursor.execute(message, params)
            while cursor.description is None:
                assert cursor.nextset(), "a message without a row"
            row = cursor.fetchone()
    finally:
        _leave(connection)
    assert row is not None, "such a statement has one row"
    return row


def _leave(connection: Connection) -> None:
    """Roll back what an error has left open."""
    pgconn = connection.pgconn
    if pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        pgconn.exec_(b"ROLLBACK")


def _refuse_old(connection: Connection, conninfo: str) -> None:
    version = connection.info.server_version
    if version < VERSION_MIN:
        said = connection.info.parameter_status("server_version") or str(version)
        raise UnsupportedServerError(
            f"{label(conninfo)}: PostgreSQL {said} is older than coord supports:"
            f" use PostgreSQL {VERSION_MIN_SAID} or later"
        )


def _added(conninfo: str, timeout_s: float | None) -> dict[str, Any]:
    """Return what we add to a conninfo: bounds where it has none, or longer ones than the asker."""
    given = parse(conninfo)
    added: dict[str, Any] = {"client_encoding": "UTF8"}
    password = password_now(given)
    if password is not None:
        added["password"] = password
    defaults: dict[str, Any] = {"fallback_application_name": "coord"}
    several = "," in str(given.get("host") or os.environ.get("PGHOST", ""))
    if several and "PGTARGETSESSIONATTRS" not in os.environ:
        # With several hosts only the writable one is the database; a standby would refuse us. Not
        # read-write: a role whose transactions are read-only by default would find no server.
        defaults["target_session_attrs"] = "primary"
    if timeout_s is not None:
        whole_s = max(1, int(timeout_s))
        defaults |= {
            "tcp_user_timeout": int(timeout_s * 1000),
            "keepalives": 1,
            "keepalives_idle": whole_s,
            "keepalives_interval": 1,
            "keepalives_count": 3,
        }
        # libpq reads 0 as "no limit"; a limit of the operator's own may only be shorter than ours.
        theirs = str(given.get("connect_timeout", "0"))
        bounded_s = min(whole_s, int(theirs)) if theirs.isdecimal() and int(theirs) else whole_s
        added["connect_timeout"] = max(CONNECT_TIMEOUT_MIN_S, bounded_s)
    elif "PGCONNECT_TIMEOUT" not in os.environ:
        defaults["connect_timeout"] = CONNECT_TIMEOUT_S
    return added | {key: value for key, value in defaults.items() if key not in given}
