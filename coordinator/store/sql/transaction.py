"""Three ways to commit a statement, and the only loop that retries.

  alone           one statement, autocommit: the beat
  read_committed  several statements; row locks and compare-and-set carry the decision
  serializable    the race: one statement that is a whole body, with SERIALIZABLE as backstop

A session that a pooler lends for one transaction keeps no settings: there each transaction begins
with its own (`Cursor.preamble`), and what would be alone becomes a transaction in one message.

Each of them tells two failures apart: what surely did not happen (a psycopg error), and what may
have happened although its answer was lost (OutcomeUnknownError).
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg
from psycopg.pq import ExecStatus, TransactionStatus

from coordinator.errors import CoordError, DatabaseUnreachableError, OutcomeUnknownError

T = TypeVar("T")
Row = tuple[Any, ...]
Params = Mapping[str, object]


class Cursor(psycopg.Cursor[Row]):
    """A cursor that knows what each of its transactions has to set for itself.

    preamble: SQL without parameters; empty on a session of our own, which is set up once.
    """

    preamble: bytes = b""


#: The statements of one transaction; it may run again, so it has no side effects elsewhere.
#: None rolls everything back: the expected "no".
Body = Callable[[Cursor], T | None]
#: Waits so many seconds, or shorter when the connection is aborted.
Pause = Callable[[float], object]

#: A loser finds the row changed in its second try and gives up by itself; 5 outlast any storm
#: that was measured, and the deadline ends it earlier.
ATTEMPTS_MAX = 5
#: Full jitter, in seconds: two losers that come back together would meet again.
PAUSE_MIN_S = 0.005
PAUSE_MAX_S = 0.050

#: SQLSTATEs of a commit that stopped waiting for its synchronous standby: because of a cancelled
#: statement, or of a terminated backend. The commit is visible here and may be nowhere else.
DOUBTFUL_STATES = ("01000", "57P01")

#: The server rolled back because of concurrent transactions; another attempt may succeed.
ABORTED = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)

_BEGIN_READ_COMMITTED = b"BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE"
_BEGIN_SERIALIZABLE = b"BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE"


def alone(cursor: Cursor, statement: bytes, params: Params, *, prepare: bool) -> Row | None:
    """Run one statement as its own transaction and return its first row.

    Errors: OutcomeUnknownError when its answer was lost; psycopg.Error when it surely failed.
    """
    try:
        if cursor.preamble:
            return next(iter(_in_one_message(cursor, statement, params)), None)
        return cursor.execute(statement, params, prepare=prepare).fetchone()
    except psycopg.Error as error:
        if surely_failed(error):
            raise
        raise _unknown(error) from error


def write(cursor: Cursor, statement: bytes, params: Params) -> None:
    """Run one writing statement as its own transaction; its rows are not read.

    Errors: psycopg.Error, whether it was rolled back or not: such a statement may run again.
    """
    if cursor.preamble:
        _in_one_message(cursor, statement, params)
    else:
        cursor.execute(statement, params)


def read(cursor: Cursor, statement: bytes, params: Params) -> list[Row]:
    """Return the rows of one statement, in the transaction that is open or in one of its own.

    Errors: psycopg.Error.
    """
    idle = cursor.connection.pgconn.transaction_status == TransactionStatus.IDLE
    if cursor.preamble and idle:
        return _in_one_message(cursor, statement, params)
    return cursor.execute(statement, params).fetchall()


def read_committed(cursor: Cursor, body: Body[T]) -> T | None:
    """Run `body` once in a READ COMMITTED transaction; None means rolled back.

    Errors: OutcomeUnknownError when the answer to COMMIT was lost; psycopg.Error else.
    """
    return _once(cursor, _BEGIN_READ_COMMITTED, body)


def serializable(
    cursor: Cursor,
    statement: bytes,
    params: Params,
    *,
    agreed: Callable[[Row], bool],
    afterwards: bytes,
    deadline: float,
    pause: Pause,
) -> tuple[Row, Row | None]:
    """Run one statement in a SERIALIZABLE transaction, again when it lost to another one.

    Returns its row; what was written stays only if the caller agreed to that row. Then the row of
    `afterwards`, which reads behind the commit with the same parameters: None without agreement.
    Units:  deadline on time.monotonic(); no try begins after it.
    Errors: as `read_committed`; one of ABORTED when the budget is spent.
    """
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            return _in_two_messages(cursor, statement, params, agreed, afterwards)
        except ABORTED:
            pause_s = random.uniform(PAUSE_MIN_S, PAUSE_MAX_S)  # noqa: S311 - jitter, no secret
            if attempt == ATTEMPTS_MAX or time.monotonic() + pause_s >= deadline:
                raise
            pause(pause_s)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _in_two_messages(
    cursor: Cursor,
    statement: bytes,
    params: Params,
    agreed: Callable[[Row], bool],
    afterwards: bytes,
) -> tuple[Row, Row | None]:
    """Begin, set and run in one round trip; commit in another, once the row is known and agreed to.

    As in `_in_one_message`, the parameters are written in as quoted literals.
    """
    parts = (_BEGIN_SERIALIZABLE, cursor.preamble, statement)
    try:
        with psycopg.ClientCursor(cursor.connection) as whole:
            whole.execute(b"; ".join(part for part in parts if part), params)
            while whole.nextset():
                pass
            row: Row | None = whole.fetchone()
        assert row is not None, "such a statement answers with one row"
        after = _commit_and_read(cursor, afterwards, params) if agreed(row) else None
    finally:
        _roll_back(cursor)
    return row, after


def _commit_and_read(cursor: Cursor, statement: bytes, params: Params) -> Row:
    """Commit, and read one row in a transaction of its own behind it, in one round trip.

    Errors: as `_commit`, also where the reading failed: nobody can tell what came of the commit.
    """
    begin = b"; ".join(part for part in (_BEGIN_READ_COMMITTED, cursor.preamble) if part)
    try:
        with psycopg.ClientCursor(cursor.connection) as whole:
            whole.execute(b"; ".join((b"COMMIT", begin, statement, b"COMMIT")), params)
            _assert_committed(whole)
            (row,) = _rows_before_commit(whole)
    except psycopg.Error as error:
        if _is_refusal(error):
            raise
        raise _unknown(error) from error
    return row


def _once(cursor: Cursor, begin: bytes, body: Body[T]) -> T | None:
    """Begin, run `body`, commit; roll back when it returns None or an error leaves us inside."""
    try:
        cursor.execute(b"; ".join((begin, cursor.preamble)) if cursor.preamble else begin)
        outcome = body(cursor)
        if outcome is not None:
            _commit(cursor)
    finally:
        _roll_back(cursor)
    return outcome


def _in_one_message(cursor: Cursor, statement: bytes, params: Params) -> list[Row]:
    """Begin, set, run and commit in one round trip; return the statement's rows.

    Such a message takes no bound parameters: libpq writes them in as quoted literals.
    """
    parts = (_BEGIN_READ_COMMITTED, cursor.preamble, statement, b"COMMIT")
    with psycopg.ClientCursor(cursor.connection) as whole:
        try:
            whole.execute(b"; ".join(parts), params)
        finally:
            _roll_back(cursor)
        return _rows_before_commit(whole)


def _rows_before_commit(whole: psycopg.ClientCursor[Row]) -> list[Row]:
    """Return the rows of the last statement of a message that ends with COMMIT."""
    rows: list[list[Row]] = [[]]
    while True:
        rows.append(whole.fetchall() if whole.description else [])
        if not whole.nextset():
            break
    _assert_committed(whole)
    return rows[-2]  # the last is COMMIT's


def _assert_committed(cursor: psycopg.Cursor[Row]) -> None:
    """Assert that COMMIT did not answer with ROLLBACK."""
    if cursor.statusmessage != "COMMIT":
        raise AssertionError(f"COMMIT answered {cursor.statusmessage!r}")


def _roll_back(cursor: Cursor) -> None:
    """Leave the transaction that an error or a "no" has left open.

    After an error in COMMIT the server is idle already; a lost connection is UNKNOWN. Not by way of
    the cursor: to psycopg a ROLLBACK is a reason to forget, and to deallocate, all it has prepared.
    """
    pgconn = cursor.connection.pgconn
    if pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        result = pgconn.exec_(b"ROLLBACK")
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.OperationalError(pgconn.get_error_message())


def _commit(cursor: Cursor) -> None:
    """Commit; only the server's refusal to serialize is believed to be a definite no."""
    try:
        cursor.execute(b"COMMIT")
    except psycopg.Error as error:
        if _is_refusal(error):
            raise
        raise _unknown(error) from error
    _assert_committed(cursor)


def _is_refusal(error: psycopg.Error) -> bool:
    """Return true for a commit that the server refused to serialize."""
    return (error.sqlstate or "").startswith("40")


def surely_failed(error: psycopg.Error) -> bool:
    """Return true when the server reported that the statement was rolled back.

    Without SQLSTATE the connection broke; 08 says so too; 57P0x, 58 and XX end a backend that may
    have committed just before.
    """
    state = error.sqlstate or ""
    return bool(state) and state[:2] not in ("08", "58", "XX") and not state.startswith("57P")


#: Messages of a pooler that gets no server for a statement: nothing was sent to one.
_NO_SERVER = re.compile(
    r"server login|login failed|authentication failed|cannot connect to server|query_wait_timeout"
)


def _unknown(error: psycopg.Error) -> CoordError:
    """Return the error of an unknown outcome; the caller must read again."""
    told = str(error).strip().splitlines() or ["the connection is closed"]
    if (error.sqlstate or "").startswith("08") and _NO_SERVER.search(told[0]):
        return DatabaseUnreachableError(f"a pooler got no server to carry it out: {told[0]}")
    return OutcomeUnknownError(f"the answer to a commit was lost: {told[0]}")
