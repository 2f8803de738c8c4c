"""Thread of one token: waits for it, and runs the schedules under it while it is held.

The loop of a schedule is that of `[trigger]` (coordinator/runtime/schedule): each run is claimed
under the term before it begins, and its outcome is written under the term. What is different here:
a token can be lost while the process lives. Then the schedule is told to stop, the function is
waited for, because a thread cannot be killed, and the token is waited for again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from coordinator.app.api.schedules.definition import Definition
from coordinator.errors import CoordError, DatabaseUnreachableError
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.holders.holding import LOGGER, Holding
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.schedule.jobs import RunContext, RunStoppedError
from coordinator.runtime.schedule.ledger import Ledger
from coordinator.runtime.schedule.run import Ending
from coordinator.runtime.schedule.run_log import RunLog, error_text
from coordinator.runtime.schedule.runner import Schedule
from coordinator.runtime.schedule.stop_signal import StopSignal


class Tokens(Protocol):
    """Tokens of a coordinator, and the records of its schedules."""

    def hold(self, token: str, stop: StopSignal) -> AbstractContextManager[Holding]:
        """Wait for a token, hold it for a block, and give it back.

        Errors: RunStoppedError when `stop` is set before it is held; CoordError of the session.
        """
        ...

    def ledger(self, holding: Holding, definition: Definition, started_at: float) -> Ledger:
        """Return the group's record of a schedule, written under a holding.

        started_at: the start of the schedules of this process, on CLOCK_BOOTTIME; it asks again for
        a schedule that was ended by its error policy before.
        """
        ...

    def close(self) -> None:
        """Close what the ledgers have opened."""
        ...


#: Calls the function of a definition for one run under a holding; the signal tells it to end.
Call = Callable[[Definition, Holding, StopSignal, RunContext], None]


class HoldingTrust:
    """Trust in a holding of this process, as the loop of a schedule asks for it."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding

    def check(self) -> None:
        """Return while the token is held.

        Errors: TokenLostError.
        """
        self._holding.check()

    def remaining_s(self) -> float:
        """Return the seconds until trust is over at present; negative when it is."""
        return self._holding.seconds_left

    def fresh(self, lease_s: float, heartbeat_s: float) -> bool:
        """Say whether something new may be started: not after two missed renewals (rule T5)."""
        return self._holding.fresh(lease_s, heartbeat_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Everything that the threads of one start have in common."""

    tokens: Tokens
    call: Call
    timing: Timing
    stop: StopSignal
    started_at: float


class TokenThread:
    """Schedules of one token; the thread ends when none is left, or with a stop.

    terminated: why schedules were ended by their error policy. failure: why the thread gave up.
    """

    def __init__(
        self,
        work: Work,
        token: str,
        definitions: Sequence[Definition],
        ended: Callable[[], None],
    ) -> None:
        self._work, self._token, self._left = work, token, tuple(definitions)
        self._ended = ended
        self._holding: Holding | None = None
        self._told: StopSignal | None = None
        self._others: list[threading.Thread] = []
        self._resigned = False
        self._log = RunLog(group=token, node="", term=0, logger=LOGGER)
        self.terminated: list[str] = []
        self.failure: CoordError | None = None
        self.thread = threading.Thread(target=self._run, name=f"coord-jobs-{token}", daemon=True)

    def resign(self) -> None:
        """Give the token back, and leave it to others for one livenessCheckInterval."""
        told = self._told
        if told is not None:
            self._resigned = True
            told.set()

    def is_current(self) -> bool:
        """Say whether the caller is a run of this token's schedules."""
        return threading.current_thread() in (self.thread, *self._others)

    def describe(self) -> str:
        """Return what this thread does at present, for a person."""
        holding = self._holding
        state = "waits for its token" if holding is None else f"active, term {holding.term}"
        names = ", ".join(each.name for each in self._left) or "nothing is left"
        return f"{self._token} ({names}): {state}"

    def _run(self) -> None:
        """Hold the token again and again; the top of the thread."""
        try:
            while self._left and not self._work.stop.event.is_set():
                self._hold_once()
        except RunStoppedError:
            pass
        except CoordError as error:
            self.failure = error
            self._log.fail("schedule-failed", str(error))
        except Exception as error:  # noqa: BLE001 - top of the thread: nothing else would report it
            self.failure = CoordError(f"{self._token}: {error_text(error)}")
            self._log.fail("schedule-failed", str(self.failure), error)
        finally:
            self._ended()

    def _hold_once(self) -> None:
        work, pause_s = self._work, self._work.timing.heartbeat_s
        try:
            with work.tokens.hold(self._token, work.stop) as holding:
                self._serve(holding)
        except DatabaseUnreachableError as error:
            self._log.warn("schedule-waits", f"{error}; it is tried again")
        if self._resigned:
            self._resigned, pause_s = False, work.timing.liveness_s
        if self._left:
            work.stop.event.wait(pause_s)

    def _serve(self, holding: Holding) -> None:
        """Run all schedules that are left under one holding, each in a thread."""
        told = StopSignal()
        self._holding, self._told = holding, told
        holding.on_lost(lambda _reason: told.set())
        try:
            with self._work.stop.calling(told.set):
                kept = self._served(holding, told)
        finally:
            self._holding = self._told = None
        self._left = tuple(each for each, goes_on in zip(self._left, kept, strict=True) if goes_on)

    def _served(self, holding: Holding, told: StopSignal) -> list[bool]:
        """Run all schedules that are left; whatever happens, no run goes on afterwards."""
        kept = [True] * len(self._left)

        def serve(place: int, definition: Definition) -> None:
            kept[place] = self._goes_on(definition, holding, told)

        first, *others = enumerate(self._left)
        self._others = []
        try:
            for other in others:
                name = f"coord-job-{other[1].name}"
                thread = threading.Thread(target=serve, args=other, name=name, daemon=True)
                self._others.append(thread)
                self._start_last()
            serve(*first)
        except BaseException:
            told.set()
            raise
        finally:
            # The token is given back after this, which must not happen under a run.
            for thread in self._others:
                thread.join()
        return kept

    def _start_last(self) -> None:
        try:
            self._others[-1].start()
        except RuntimeError:
            del self._others[-1]  # it cannot be waited for
            raise

    def _goes_on(self, definition: Definition, holding: Holding, told: StopSignal) -> bool:
        """Run one schedule under a holding; say whether it goes on under the next one."""
        log = RunLog(
            group=f"{holding.group} ({definition.name})" if definition.group_token else self._token,
            node=holding.node,
            term=holding.term,
            logger=LOGGER,
        )
        try:
            ending = self._schedule(definition, holding, told, log).run()
        except CoordError as error:
            self.failure = error
            log.fail("schedule-failed", str(error))
            return False
        except Exception as error:  # noqa: BLE001 - may be the top of a thread
            self.failure = CoordError(f"{definition.name}: {error_text(error)}")
            log.fail("schedule-failed", str(self.failure), error)
            return False
        return self._told_of(ending, definition, log)

    def _schedule(
        self, definition: Definition, holding: Holding, told: StopSignal, log: RunLog
    ) -> Schedule:
        work = self._work
        context = RunContext(
            group=holding.group,
            node=holding.node,
            term=holding.term,
            session=holding.session,
            token=HoldingTrust(holding),
            stop_event=told.event,
        )
        return Schedule(
            trigger=definition.trigger,
            policy=definition.policy,
            job=lambda run: work.call(definition, holding, told, run),
            context=context,
            ledger=work.tokens.ledger(holding, definition, work.started_at),
            stop=told,
            clock=BoottimeClock(),
            lease_s=work.timing.lease_s,
            heartbeat_s=work.timing.heartbeat_s,
            stop_timeout_s=work.timing.stop_timeout_s,
            log=log,
        )

    def _told_of(self, ending: Ending, definition: Definition, log: RunLog) -> bool:
        """Log why a schedule has ended under this holding; say whether it goes on."""
        match ending.kind:
            case "exhausted":
                log.say("schedule-ended", f"the schedule has ended: {ending.reason}")
                return False
            case "terminated":
                self.terminated.append(f"{definition.name}: {ending.reason}")
                again = "a process that starts its schedules from now on runs it again"
                log.warn("schedule-terminated", f"terminated: {ending.reason}; {again}")
                return False
            case "lost":
                log.warn("token-lost", f"no further run under this term: {ending.reason}")
                return True
            case _:
                return True


__all__ = ["Call", "HoldingTrust", "TokenThread", "Tokens", "Work"]
