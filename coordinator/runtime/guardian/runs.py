"""All runs of one guardian: the order in which they are forked, killed and reported."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Iterable

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian.events import Event
from coordinator.runtime.guardian.loop import Loop
from coordinator.runtime.guardian.run import RunProcess
from coordinator.runtime.isolation.deadlines import Deadlines
from coordinator.runtime.linux.capacity import programs_max
from coordinator.runtime.linux.processes import ProcessSnapshot

#: Seconds between two attempts to clear up.
_CLEAR_AGAIN_S = 0.01
#: Seconds for which a guardian that ends goes on killing programs; agent and spare go on after it.
_END_MAX_S = 5.0
#: Code of a refusal that is not the file's fault: another node may try, and this one later.
_NOT_NOW = 0


class RunProcesses:
    """All runs with processes, and those that wait to be forked.

    No run waits for another. One is forked in each turn of the loop, so that everything due is
    done in between. All runs to be killed in a turn share one snapshot of the processes. Only runs
    with news are checked.
    """

    def __init__(
        self,
        level: str,
        loop: Loop,
        feed: Callable[..., None],
        descriptors_max: int,
        deadlines: Deadlines,
    ) -> None:
        self._level, self._loop, self._feed = level, loop, feed
        self._deadlines = deadlines
        self._lives_max = programs_max(descriptors_max)
        self._waiting: dict[int, words.StartOrdered] = {}
        self._opened: dict[
            int, tuple[int, str, float]
        ] = {}  #: gates of runs that wait to be forked
        self._lives: dict[int, RunProcess] = {}
        self._by_root: dict[int, RunProcess] = {}
        self._condemned: dict[int, RunProcess] = {}  #: to be killed at the end of this turn
        self._changed: dict[int, RunProcess] = {}  #: runs that may have news
        self._busy: list[RunProcess] = []
        self._clear_at = math.inf

    def due(self) -> float:
        """Return the moment at which there is something to do."""
        return 0.0 if self._waiting or self._condemned else self._clear_at

    def turn(self, now: float) -> None:
        """Fork the run that has waited longest, and retry clearing up."""
        if self._waiting:
            self._fork(self._waiting.pop(next(iter(self._waiting))))
        if now >= self._clear_at:
            self._busy = [life for life in self._busy if not life.clear()]
            self._clear_at = now + _CLEAR_AGAIN_S if self._busy else math.inf

    # --- orders ---------------------------------------------------------------------------------

    def launch(self, order: words.StartOrdered) -> None:
        """Fork the run when its turn comes."""
        self._waiting[order.run] = order

    def get(self, run: int) -> RunProcess | None:
        """Return the processes of a run, if it has any."""
        return self._lives.get(run)

    def open_gate(self, run: int, term: int, session: str, trusted_until: float) -> None:
        """Open the gate of a run; one that waits to be forked opens it as soon as it has one."""
        life = self._lives.get(run)
        if life is None:
            if run in self._waiting:
                self._opened[run] = (term, session, trusted_until)
            return
        life.open_gate(term, session, trusted_until)
        self._tell((life,))

    def condemn(self, run: int) -> None:
        """Have every process of the run killed at the end of this turn."""
        self._opened.pop(run, None)
        if self._waiting.pop(run, None) is not None:
            self._feed(words.ProgramGone(run))
        elif (life := self._lives.get(run)) is not None:
            self._condemned[run] = life

    def kill_condemned(self) -> bool:
        """SIGKILL condemned runs once; `settle` reports the results; false when there were none."""
        condemned, self._condemned = self._condemned, {}
        look = ProcessSnapshot()
        survivors: list[Event] = []
        # Runs not killed before come first: no search for marks while others wait.
        for life in sorted(condemned.values(), key=lambda life: life.rounds):
            protected = life.kill(look)
            if protected:
                named = tuple((seen.pid, seen.name) for seen in protected)
                survivors.append(words.ProgramSurvives(life.run, named))
            if life.grew:
                survivors.append(words.ProgramGrows(life.run))
        self._changed |= condemned
        self._feed(*survivors)
        return bool(condemned)

    def end(self) -> None:
        """Clear up, waiting if necessary; SIGKILL what is left, which only a bug can cause."""
        until = time.monotonic() + _END_MAX_S
        left = list(self._lives.values())
        while left and time.monotonic() < until:
            look = ProcessSnapshot()
            for life in left:
                life.kill(look)
            select.poll().poll(_CLEAR_AGAIN_S * 1000)
            left = [life for life in left if not life.collected()]
        for life in self._busy:
            while not life.clear():
                select.poll().poll(_CLEAR_AGAIN_S * 1000)

    def _fork(self, order: words.StartOrdered) -> None:
        try:
            if len(self._lives) >= self._lives_max:
                raise OSError(f"{self._lives_max} have all descriptors")
            life = RunProcess(order, self._level, self._deadlines)
        except OSError as error:
            why = f"the program's process cannot be made: {error}"
            refused = words.ProgramRefused(order.run, why, _NOT_NOW)
            self._feed(refused, words.ProgramGone(order.run))
            return
        self._lives[order.run] = self._by_root[life.root] = life
        opened = self._opened.pop(order.run, None)
        if opened is not None:
            life.write_board(opened[2], 0.0)
            life.open_gate(*opened)
        for fd, mask in life.watched().items():
            self._loop.watch(fd, lambda: self._tell((life,)), mask)

    # --- what happened --------------------------------------------------------------------------

    def child_ended(self, pid: int, _code: int) -> bool:
        """Note that a child of the guardian was collected; false when it was no run's root."""
        life = self._by_root.pop(pid, None)
        if life is not None:
            life.root_ended()
            self._changed[life.run] = life
            return True
        # Maybe an orphan: the last process of a run whose keeper was killed.
        self._changed |= {run: life for run, life in self._lives.items() if not life.root_lives}
        return False

    def settle(self) -> None:
        """Report on the runs that were killed, or whose processes ended."""
        changed, self._changed = self._changed, {}
        self._tell(changed.values())

    def _tell(self, lives: Iterable[RunProcess]) -> None:
        """Find out which of the runs have ended, wholly or in part, and report it.

        All events are fed together: handling one may cause newer events of another run.
        """
        look = ProcessSnapshot()
        told: list[Event] = []
        for life in lives:
            events, gone = life.news(look)
            told += events
            for fd in life.silent():
                self._loop.unwatch(fd)
            if gone:
                self._forget(life)
        self._feed(*told)

    def _forget(self, life: RunProcess) -> None:
        del self._lives[life.run]
        self._changed.pop(life.run, None)
        self._condemned.pop(life.run, None)
        for fd in life.watched():
            self._loop.unwatch(fd)
        life.close()
        if not life.clear():
            self._busy.append(life)
            self._clear_at = 0.0
