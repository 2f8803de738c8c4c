"""Connection of a process to the records of its schedules, opened anew when it breaks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

import psycopg

from coordinator.app.config.settings import DatabaseSettings
from coordinator.errors import CoordError, DatabaseUnreachableError
from coordinator.runtime.schedule.run_log import error_text
from coordinator.store.driver.errors import database_error
from coordinator.store.program import schedule as store

T = TypeVar("T")


class RecordConnection:
    """At most one connection, for any number of threads: each request has it for itself."""

    def __init__(self, conninfo: str, *, label: str, connect_timeout_s: float) -> None:
        self._conninfo, self._label = conninfo, label
        self._connect_timeout_s = connect_timeout_s
        self._lock = threading.Lock()
        self._connection: store.Connection | None = None

    @classmethod
    def of(cls, database: DatabaseSettings) -> RecordConnection:
        """Return the connection of a node's program."""
        return cls(
            database.conninfo,
            label=database.label,
            connect_timeout_s=database.connect_timeout_s,
        )

    def ask(self, request: Callable[[store.Connection], T]) -> T:
        """Make a request; after any error the connection is discarded.

        Errors: always a CoordError: callers do not know the driver's errors.
        """
        with self._lock:
            return self._asked(request)

    def ask_twice(self, request: Callable[[store.Connection], T]) -> T:
        """Make a request, and make it again over a new connection if nobody answered.

        Between two runs of a slow schedule a firewall or a failover may have closed the connection,
        which only its next use shows.
        Errors: as `ask`.
        """
        try:
            return self.ask(request)
        except DatabaseUnreachableError:
            return self.ask(request)

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        with self._lock:
            self._close()

    def _asked(self, request: Callable[[store.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = store.open_connection(self._conninfo, self._connect_timeout_s)
            return request(self._connection)
        except psycopg.Error as error:
            self._close()
            raise database_error(error, self._label) from error
        except CoordError:
            self._close()
            raise
        except Exception as error:
            self._close()
            what = f"{self._label}: unexpected error in the schedule's record"
            raise CoordError(f"{what}: {error_text(error)}") from error

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None
