"""The thread that sends requests to the database, so that no driver call can stop a node.

The node's loop sends a request and goes on. When an answer does not come in time, the loop
dismisses the courier: its socket is shut under the blocked call, any later answer is dropped, and
the next request gets a new courier with a new connection. Nothing is ever cancelled: the driver's
cancel turns a wait for the synchronous standby into a false success, and takes seconds in a network
that swallows packets.
"""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Callable

from coordinator.errors import CoordError
from coordinator.ports import Clock, Store, StoreConnection
from coordinator.protocol.messages.requests import Request, sent_later
from coordinator.protocol.node.events import Answered, Event, Failed, Notified

#: Dismissed couriers that still hang in a driver call (a name look-up, for example). A node with
#: this many sends nothing until one of them has ended.
DISMISSED_MAX = 8


class Courier:
    """One thread with at most one connection; it carries one request at a time.

    Errors: RuntimeError or OSError when no thread or descriptor is available.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        post: Callable[[Event], None],
        connection: StoreConnection | None = None,
    ) -> None:
        self._store, self._clock = store, clock
        self._post_event = post
        self._connection = connection
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._dismissed = False
        self._job: tuple[Request, float] | None = None
        self._thread = threading.Thread(target=self._run, name="coord-courier", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            os.close(self._wake)
            raise

    def carry(self, request: Request, timeout_s: float) -> None:
        """Carry a request; the answer or the failure is posted as an event."""
        with self._lock:
            assert self._job is None, "one request at a time"
            self._job = (request, timeout_s)
            if not self._dismissed:  # otherwise the thread has ended, and the timeout ends the wait
                os.eventfd_write(self._wake, 1)

    def dismiss(self) -> None:
        """Close the connection under a running call, and post nothing any more."""
        with self._lock:
            self._dismissed = True
            if self._connection is not None:
                self._connection.abort()
            if self._thread.is_alive():
                os.eventfd_write(self._wake, 1)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; false when it still hangs in a call."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_alive(self) -> bool:
        """Say whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._dismissed:
                self._wait()
                with self._lock:
                    job, self._job = self._job, None
                if job is not None and not self._dismissed:
                    self._carry(*job)
        finally:
            self._drop_connection()
            with self._lock:
                self._dismissed = True
                os.close(self._wake)

    def _wait(self) -> None:
        """Wait for a request, or for a notification from the database."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            connection = self._connection
            if connection is not None:
                selector.register(connection.fileno(), selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select()}
        # Notifications first: a heartbeat to be sent must not rest on a view known to be old.
        if connection is not None and connection.fileno() in ready:
            self._listen(connection)
        if self._wake in ready:
            os.eventfd_read(self._wake)

    def _listen(self, connection: StoreConnection) -> None:
        try:
            if connection.heard():
                self._post(Notified(self._clock.now()))
        except Exception as error:  # noqa: BLE001 - see _why
            self._drop_connection()
            self._post(Failed(self._clock.now(), None, _why(error)))

    def _carry(self, request: Request, timeout_s: float) -> None:
        try:
            decided_at = self._clock.now()
            connection = self._connected(timeout_s)
            if self._dismissed:
                return  # dismissed while it connected: a request now would take effect unexpectedly
            sent_at = self._clock.now()
            answer = connection.ask(sent_later(request, sent_at - decided_at), timeout_s)
        except Exception as error:  # noqa: BLE001 - see _why
            # Final refusals, too: a node that has run once waits until the database is repaired.
            self._drop_connection()
            self._post(Failed(self._clock.now(), request, _why(error)))
        else:
            self._post(Answered(self._clock.now(), request, answer, sent_at))
            # Notifications that came with the answer are in memory, and wake no selector.
            self._listen(connection)

    def _connected(self, timeout_s: float) -> StoreConnection:
        """Return the connection; if connecting takes too long, the loop dismisses this courier."""
        if self._connection is not None:
            return self._connection
        connection = self._store.connect(timeout_s)
        with self._lock:
            # If dismissed meanwhile, the end of the thread closes the connection.
            self._connection = connection
        return connection

    def _drop_connection(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, event: Event) -> None:
        with self._lock:
            if not self._dismissed:
                self._post_event(event)


def _why(error: Exception) -> str:
    """Return an error as one line; an unexpected exception is named by its type.

    A courier that died of it would leave a node that sends nothing more and reports nothing.
    """
    if isinstance(error, CoordError):
        return str(error)
    told = str(error).strip().partition("\n")[0]
    return (
        f"unexpected {type(error).__name__}: {told}"
        if told
        else f"unexpected {type(error).__name__}"
    )


class Couriers:
    """The working courier, and the dismissed ones that have not ended."""

    def __init__(self, hire: Callable[[StoreConnection | None], Courier]) -> None:
        self._hire = hire
        self._at_work: Courier | None = None
        self._dismissed: list[Courier] = []

    def start_with(self, connection: StoreConnection | None) -> None:
        """Start the first courier with a connection that is already open, if one can be started.

        Otherwise the connection is closed; the next request tries to start a courier again.
        """
        if self._hired(connection) and connection is not None:
            connection.close()

    def carry(self, request: Request, timeout_s: float) -> str | None:
        """Carry a request; return the reason when no courier can."""
        self._dismissed = [courier for courier in self._dismissed if courier.is_alive()]
        if self._at_work is not None and not self._at_work.is_alive():
            self._at_work = None  # it had no descriptor to wait with
        if self._at_work is None:
            if len(self._dismissed) >= DISMISSED_MAX:
                return "the database driver hangs"
            why_not = self._hired(None)
            if why_not is not None:
                return why_not
        assert self._at_work is not None, "somebody was hired"
        self._at_work.carry(request, timeout_s)
        return None

    def _hired(self, connection: StoreConnection | None) -> str | None:
        """Start a courier; return the reason when this machine has no thread to spare."""
        try:
            self._at_work = self._hire(connection)
        except (RuntimeError, OSError) as error:
            return f"no thread can be made for the database: {error}"
        return None

    def dismiss(self) -> None:
        """Give up the request of the working courier."""
        if self._at_work is not None:
            self._at_work.dismiss()
            self._dismissed.append(self._at_work)
            self._at_work = None

    def end(self, timeout_s: float) -> None:
        """Dismiss the working courier and wait briefly for all threads."""
        self.dismiss()
        for courier in self._dismissed:
            courier.join(timeout_s)
