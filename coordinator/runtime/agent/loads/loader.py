"""Thread that reads the states of tokens and writes their files, so that no heartbeat waits."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from coordinator.errors import CoordError, DatabaseUnreachableError
from coordinator.ports import Clock, StateReader
from coordinator.protocol.node.events import Event
from coordinator.protocol.rules.saved_state import StateWanted, shows_holding
from coordinator.runtime.agent.loads.files import StateFiles

#: Pause before the second reading, doubled each time up to the longest.
AGAIN_S, AGAIN_LONGEST_S = 0.1, 1.0
#: Answer of a refusal that is not this node's fault: another node may try, and this one later.
NOT_NOW = 0
#: Seconds for which the end of a node waits for a thread that hangs in the driver.
END_S = 0.2


@dataclass(frozen=True, slots=True)
class Loaded:
    """The state of a run is in the file of that path, or there is none and no file."""

    run: int
    path: str


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """The state of a run could not be read or written; code as in ProgramRefused."""

    run: int
    why: str
    code: int


Outcome = Loaded | NotLoaded


@dataclass(frozen=True, slots=True)
class _Load:
    """One state that is wanted, or only the place of its file, and since when (own clock)."""

    wanted: StateWanted | None
    since: float


class StateLoader:
    """Reads states one after the other, many in one reading; a source of events for the loop.

    A thread lives while there is something to read or to remove, and it alone touches files: a disk
    that hangs holds up no loop. What it finds is told in the loop's own thread, by `on_outcome`,
    which returns the node's events.
    """

    def __init__(
        self, reader: StateReader, files: StateFiles, clock: Clock, give_up_s: float
    ) -> None:
        self._reader, self._files, self._clock, self._give_up_s = reader, files, clock, give_up_s
        self.on_outcome: Callable[[Outcome], Iterable[Event]] = lambda _: ()
        self._lock = threading.Lock()
        self._loads: dict[int, _Load] = {}
        self._over: set[int] = set()  #: runs whose files are to be removed
        self._outcomes: deque[Outcome] = deque()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._closed = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    # --- called in the loop's thread --------------------------------------------------------------

    def begin(self, run: int, wanted: StateWanted | None) -> None:
        """Read the state of a run, or only find the place of its file; the outcome is an event."""
        with self._lock:
            self._loads[run] = _Load(wanted, self._clock.now())
            if not self._has_thread():
                del self._loads[run]
                self._tell(NotLoaded(run, "there is no thread to read its state", NOT_NOW))

    def forget(self, run: int) -> None:
        """Remove the file of a run that has ended, or stop reading its state."""
        with self._lock:
            self._loads.pop(run, None)
            self._over.add(run)
            self._has_thread()  # without one it is removed with the next, or with all others

    def _has_thread(self) -> bool:
        """Start the thread unless it runs; false when none is available at present."""
        if self._thread is None:
            thread = threading.Thread(target=self._live, name="coord-state", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def wake(self) -> None:
        """Wake the loop."""
        os.eventfd_write(self._wake, 1)

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is an outcome."""
        return self._wake

    def events(self) -> Iterable[Event]:
        """Tell the outcomes that have come; return the events of the node that they cause."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        with self._lock:
            outcomes = tuple(self._outcomes)
            self._outcomes.clear()
        return [event for outcome in outcomes for event in self.on_outcome(outcome)]

    def close(self) -> None:
        """Remove all files; a reading that hangs in the driver is left to end by itself."""
        self._stop.set()
        with self._lock:
            self._loads.clear()
            thread = self._thread
        if thread is not None:
            thread.join(END_S)
        self._files.close()
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._wake)

    # --- in the thread ----------------------------------------------------------------------------

    def _live(self) -> None:
        pause_s = AGAIN_S
        while True:
            with self._lock:
                loads, over = dict(self._loads), tuple(self._over)
                self._over.clear()
                if self._stop.is_set() or not (loads or over):
                    self._thread = None
                    return
            for run in over:
                self._files.remove(run)
            if not loads or self._read(loads):
                pause_s = AGAIN_S
                continue
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, AGAIN_LONGEST_S)

    def _read(self, loads: dict[int, _Load]) -> bool:
        """Read the states of runs once; say whether every one of them has its outcome."""
        why = "the database that answers does not show its holding"
        for run in [run for run, load in loads.items() if load.wanted is None]:
            self._write(run, loads.pop(run), None)
        try:
            wanted = [load.wanted for load in loads.values() if load.wanted is not None]
            seen = self._reader.read(wanted) if wanted else {}
        except DatabaseUnreachableError as error:
            why, seen = str(error), {}
        except CoordError as error:
            for run, load in loads.items():
                self._settle(run, load, NotLoaded(run, str(error), error.exit_code))
            return True
        left = False
        for run, load in loads.items():
            assert load.wanted is not None, "those without are settled"
            there = seen.get(load.wanted.token)
            if there is not None and shows_holding(there, load.wanted):
                self._write(run, load, there.content)
            elif self._clock.now() >= load.since + self._give_up_s:
                self._settle(run, load, NotLoaded(run, f"its state cannot be read: {why}", NOT_NOW))
            else:
                left = True
        return not left

    def _write(self, run: int, load: _Load, content: bytes | None) -> None:
        try:
            self._settle(run, load, Loaded(run, self._files.write(run, content)))
        except CoordError as error:
            self._settle(run, load, NotLoaded(run, str(error), error.exit_code))

    def _settle(self, run: int, load: _Load, outcome: Outcome) -> None:
        with self._lock:
            # A run that was forgotten meanwhile is among those whose files are to be removed; one
            # that is wanted anew is read once more.
            if self._loads.get(run) is load:
                del self._loads[run]
                self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        """Add an outcome and wake the loop; the lock is held."""
        self._outcomes.append(outcome)
        if not self._closed:
            os.eventfd_write(self._wake, 1)
