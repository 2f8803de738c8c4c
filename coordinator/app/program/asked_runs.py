"""Runs by hand of a task, on PostgreSQL: the process of its schedule hears of them at once."""

from __future__ import annotations

import os
import select
from datetime import datetime
from typing import Any

from psycopg import sql

from coordinator.app.program.database_ledger import DatabaseLedger
from coordinator.app.program.record_connection import RecordConnection
from coordinator.errors import CoordError
from coordinator.protocol.messages.schedule_claims import Claim, Outcome
from coordinator.runtime.schedule.stop_signal import StopSignal
from coordinator.store.program import asked_runs as store
from coordinator.store.program.schedule import Connection, Holding
from coordinator.store.sql.view import channel_of

#: Seconds between two looks where no notification arrives: a pooler lends the session, or the
#: database is away.
LOOK_S = 5.0


class DatabaseAskedRuns:
    """Implementation of `AskedRuns`, for one thread, over the connection of the schedule."""

    def __init__(
        self,
        connection: RecordConnection,
        me: Holding,
        ledger: DatabaseLedger,
        stop: StopSignal,
    ) -> None:
        """me: the holding with the name of the record of runs by hand; ledger: of that record."""
        self._connection, self._me, self._ledger, self._stop = connection, me, ledger, stop
        self._channel = channel_of(me.schema, me.group)
        self._wake_read, self._wake_write = os.pipe()
        #: The connection that listens; another one after each that broke.
        self._listening: Connection | None = None
        self._lent = False
        self._rung = False
        #: Slot whose claim got no answer: the record shows it as running, and nobody runs it.
        self._unsure: datetime | None = None

    def settle(self) -> str | None:
        """Record a run without an end as one that died; the record begins with it."""
        self._ledger.open()
        return self._ledger.settle()

    def due(self) -> datetime | None:
        """Return the slot of a request that waits for its claim, or whose claim got no answer."""
        if self._unsure is not None:
            return self._unsure
        self._rung = False
        return self._connection.ask_twice(self._due)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a request may be there, or a stop is."""
        if self._rung:
            return
        connection = self._listening
        waiting = select.poll()
        waiting.register(self._wake_read, select.POLLIN)
        if connection is None or connection.closed or self._lent:
            seconds = min(seconds, LOOK_S)
        else:
            waiting.register(connection.fileno(), select.POLLIN)
        with self._stop.calling(self._wake):
            ready = dict(waiting.poll(max(0.0, seconds) * 1000))
        if connection is not None and ready and self._wake_read not in ready:
            self._hear(connection)

    def claim(self, slot: datetime) -> Claim:
        """Count a request as started; if the answer is lost, the next call finds out."""
        self._unsure = slot
        claim = self._ledger.claim(slot, None, 0).claim
        self._unsure = None
        return claim

    def finish(
        self, slot: datetime, outcome: Outcome, duration_s: float, error: str | None
    ) -> bool:
        """Record how a run went; the schedule does not end with a run by hand."""
        return self._ledger.finish(slot, outcome, duration_s, error, None)

    def close(self) -> None:
        """Close the pipe; the connection is the schedule's."""
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _due(self, connection: Connection) -> datetime | None:
        # Listening first: what is asked for after the look is heard of.
        if connection is not self._listening:
            # A session that a pooler lends goes to others, who would hear it in our place (O5).
            self._lent = store.is_lent(connection)
            if not self._lent:
                connection.add_notify_handler(self._ring)
                listen = sql.SQL("LISTEN {}").format(sql.Identifier(self._channel))
                with connection.transaction():
                    connection.execute(listen)
            self._listening = connection
        return store.due(connection, self._me)

    def _hear(self, connection: Connection) -> None:
        """Read what has arrived; a connection that broke is opened again by the next look."""

        def read(current: Connection) -> None:
            if current is connection:
                current.pgconn.consume_input()
                while current.pgconn.notifies() is not None:
                    self._rung = True

        try:
            self._connection.ask(read)
        except CoordError:
            self._listening = None

    def _ring(self, _told: Any) -> None:
        self._rung = True

    def _wake(self) -> None:
        os.write(self._wake_write, b"x")
