"""Store port on PostgreSQL: one connection, one thread, all writes of a request at once."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

import psycopg

from coordinator.errors import CoordError, DatabaseUnreachableError, OutcomeUnknownError
from coordinator.protocol.messages.holder_requests import Exchange
from coordinator.protocol.messages.planned import EndPlanned, TellInterval
from coordinator.protocol.messages.requests import (
    Answer,
    Beat,
    EndNamesake,
    Join,
    Leave,
    NodeFacts,
    RaiseFloor,
    ReadRoster,
    Release,
    Request,
    Settle,
    Take,
    TellReady,
    View,
)
from coordinator.protocol.messages.task_requests import (
    CatchUp,
    Decide,
    EndSpread,
    RaiseTaskFloors,
    ReadGroup,
    ReleaseTasks,
    ReportTasks,
    TakeTasks,
    TaskRequest,
    WatchSessions,
)
from coordinator.protocol.node.state.last_seen import LastSeen
from coordinator.store.connection import pooler
from coordinator.store.connection.hosts import rotated
from coordinator.store.connection.opening import (
    SET_LIMITS,
    Opened,
    limits,
    listen,
    open_connection,
    preamble,
)
from coordinator.store.driver import errors as driver_errors
from coordinator.store.node import epoch, group_record, heartbeat, race, roster, session
from coordinator.store.node import holders as node_holders
from coordinator.store.node import observer as node_observer
from coordinator.store.node import planned as node_planned
from coordinator.store.node.epoch import ensure_epoch
from coordinator.store.node.tasks import release as task_release
from coordinator.store.node.tasks import report as task_report
from coordinator.store.node.tasks import take as task_take
from coordinator.store.sql.statement import named
from coordinator.store.sql.transaction import DOUBTFUL_STATES, Cursor


class PostgresStore:
    """Opens connections to PostgreSQL for one node."""

    def __init__(self, conninfo: str, schema: str, facts: NodeFacts, label: str = "") -> None:
        self._conninfo = conninfo
        self._schema = schema
        self._facts = facts
        self._where = label or driver_errors.label(conninfo)
        self._may_prepare = True
        self._pooler_tells = False
        self._turn = -1
        self._verified: int | None = None

    def connect(self, timeout_s: float) -> PostgresConnection:
        """Connect to a writable server; see `ports.Store`.

        Units: timeout_s for each host of the conninfo, but at least libpq's own 2 s.
        """
        # The next host first: one that swallows packets, or was left behind, must not stay first.
        self._turn += 1
        conninfo = rotated(self._conninfo, self._turn)
        opened = open_connection(
            conninfo,
            self._schema,
            self._facts,
            self._where,
            timeout_s,
            pooler_tells=self._pooler_tells,
            may_prepare=self._may_prepare,
            verified=self._verified,
        )
        self._verified = opened.place.system_identifier
        return PostgresConnection(
            opened,
            self._facts,
            self._where,
            timeout_s,
            may_prepare=self._may_prepare,
            on_not_prepared=self._prepare_no_more,
        )

    def try_to_listen(self, connection: PostgresConnection) -> None:
        """Find out whether a pooler passes notifications on, and listen if it does.

        Costs nothing without a pooler. What is found holds for all connections to come.
        Errors: DatabaseUnreachableError; the connection is closed then.
        """
        if connection.listening:
            return
        try:
            connection.try_to_listen(self._conninfo)
        except CoordError:
            connection.close()
            raise
        self._pooler_tells = connection.listening

    def _prepare_no_more(self) -> None:
        """Remember that a pooler between us and the server loses prepared statements."""
        self._may_prepare = False


class PostgresConnection:
    """One connection of one node; `abort` alone may be called from other threads."""

    def __init__(
        self,
        opened: Opened,
        facts: NodeFacts,
        where: str,
        timeout_s: float,
        *,
        may_prepare: bool,
        on_not_prepared: Callable[[], None],
    ) -> None:
        self._connection = opened.connection
        self._place = opened.place
        self._facts = facts
        self._where = where
        self._timeout_s = timeout_s
        self.listening = opened.listening
        self._lent = opened.lent
        self._may_prepare = may_prepare
        self._on_not_prepared = on_not_prepared
        self._cursor = Cursor(self._connection)
        if self._lent:
            self._cursor.preamble = preamble(self._connection, self._place.schema, timeout_s)
        # A second descriptor of the same socket: it stays ours whatever libpq does with its own.
        self._socket = socket.socket(fileno=os.dup(self._connection.fileno()))
        self._socket_lock, self._aborted = threading.Lock(), threading.Event()
        self._doubt: str | None = None
        self._last_seen = LastSeen(lent=opened.lent, hosts_tasks=facts.hosts_tasks)
        self._known = group_record.Known()
        self._shown: View | None = None
        self._connection.add_notice_handler(self._noticed)
        self._connection.add_notify_handler(self._on_notification)

    def ask(self, request: Request, timeout_s: float) -> Answer:
        """Carry out one request; see `ports.StoreConnection`."""
        asked_at = time.monotonic()
        self._doubt = None
        try:
            self._limit(timeout_s)
            answer = self._carry_out(request, asked_at + timeout_s)
            if answer.view.lacks_rows:
                session.ensure_rows(self._cursor, self._place)
                # After them: what the history brings back shows that this is no new database.
                ensure_epoch(self._cursor, self._place)
        except psycopg.Error as error:
            raise self._judged(error) from error
        if self._doubt is not None:
            raise OutcomeUnknownError(f"{self._where}: {self._doubt}")
        if answer.view.identity.started_at != self._place.started_at:
            # What was asked of a connection's start holds for the server that was there.
            raise OutcomeUnknownError(f"{self._where}: a pooler led us to another server")
        took_share = (time.monotonic() - asked_at) / timeout_s
        self._last_seen = self._last_seen.after_answer(answer.view, took_share)
        self._shown = answer.view
        return answer

    def fileno(self) -> int:
        """Return the socket."""
        return self._connection.fileno()

    def heard(self) -> bool:
        """Consume what arrived unasked; also true for what arrived during an `ask`."""
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            while pgconn.notifies() is not None:
                self._last_seen = self._last_seen.after_notification()
        except psycopg.Error as error:
            raise DatabaseUnreachableError(f"{self._where}: the connection is closed") from error
        self._last_seen, heard = self._last_seen.hear()
        return heard

    def try_to_listen(self, conninfo: str) -> None:
        """Find out whether a pooler passes notifications on, and listen if it does."""
        try:
            if pooler.hears(self._connection, self.heard, conninfo):
                listen(self._connection, self._place.channel)
                self.listening = True
        except psycopg.Error as error:
            raise self._judged(error) from error

    def abort(self) -> None:
        """Shut the socket down, so that a blocked `ask` returns at once; cancels nothing.

        A cancelled statement could become a commit that no standby has, reported as a success.
        """
        self._aborted.set()
        with self._socket_lock:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it is closed or broken already: that is what was wanted

    def close(self) -> None:
        """Close the connection."""
        with self._socket_lock:
            self._socket.close()
        self._connection.close()

    def _carry_out(self, request: Request, deadline: float) -> Answer:
        """Pass the request to the module that has its statements."""
        cursor, place = self._cursor, self._place
        match request:
            case Beat():
                self._last_seen, known = self._last_seen.for_a_beat()
                known = None if request.looks else known
                return heartbeat.beat(
                    cursor, place, request, known=known, prepare=self._may_prepare
                )
            case Join():
                return session.join(cursor, place, request, self._facts)
            case EndNamesake():
                return session.end_namesake(cursor, place, request)
            case Leave():
                return session.leave(cursor, place, request)
            case Take():
                return race.take(
                    cursor, place, request, deadline=deadline, pause=self._aborted.wait
                )
            case Release():
                return race.release(cursor, place, request)
            case Settle():
                return epoch.settle(cursor, place, request)
            case RaiseFloor():
                return epoch.raise_floor(cursor, place, request)
            case ReadRoster() | TellReady():
                return roster.carry_out(cursor, place, request)
            case EndPlanned() | TellInterval():
                return node_planned.carry_out(cursor, place, request)
            case Exchange():
                return node_holders.exchange(cursor, place, request, known=self._shown)
            case _:
                return self._carry_out_for_tasks(request)

    def _carry_out_for_tasks(self, request: TaskRequest) -> Answer:
        """Do the same for the requests of a node of a task group."""
        cursor, place = self._cursor, self._place
        match request:
            case ReadGroup():
                return group_record.read_group(cursor, place, self._known)
            case TakeTasks():
                return task_take.take_tasks(cursor, place, request)
            case ReleaseTasks():
                return task_release.release_tasks(cursor, place, request)
            case RaiseTaskFloors():
                return task_take.raise_task_floors(cursor, place, request)
            case WatchSessions():
                return node_observer.watch_sessions(cursor, place)
            case Decide():
                return node_observer.decide(cursor, place, request)
            case EndSpread():
                return node_observer.end_spread(cursor, place, request)
            case ReportTasks():
                return task_report.tell_tasks(cursor, place, request)
            case CatchUp():
                return task_report.catch_up(cursor, place, request)

    def _limit(self, timeout_s: float) -> None:
        """Let the server end what takes longer than this request may; a round trip on change."""
        if timeout_s == self._timeout_s:
            return
        if self._lent:
            self._cursor.preamble = preamble(self._connection, self._place.schema, timeout_s)
        else:
            self._cursor.execute(named(SET_LIMITS, self._place.schema), limits(timeout_s))
        self._timeout_s = timeout_s

    def _judged(self, error: psycopg.Error) -> CoordError:
        """Map a psycopg error to ours; treat an unclassified one as unreachable."""
        if isinstance(
            error,
            (
                psycopg.errors.InvalidSqlStatementName,
                psycopg.errors.DuplicatePreparedStatement,
            ),
        ):
            self._on_not_prepared()
        ours = driver_errors.database_error(
            error, self._where, driver_errors.role_of(self._connection)
        )
        return DatabaseUnreachableError(str(ours)) if type(ours) is CoordError else ours

    def _noticed(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """Remember a warning that makes the last commit doubtful."""
        if diagnostic.severity_nonlocalized == "WARNING" and diagnostic.sqlstate in DOUBTFUL_STATES:
            self._doubt = diagnostic.message_primary or "the server warned of an unsafe commit"

    def _on_notification(self, _notification: psycopg.Notify) -> None:
        """Remember that the group was notified while an answer was read."""
        self._last_seen = self._last_seen.after_notification()
