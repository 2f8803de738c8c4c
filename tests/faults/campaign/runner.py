"""Injects what was planned, group after group, several groups at a time, and has it judged."""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from tests.faults.campaign import telling
from tests.faults.campaign.checker import judge, waits
from tests.faults.campaign.finding import Finding, injection_at
from tests.faults.campaign.history import History
from tests.faults.campaign.limits import HEARTBEAT_S, THAW_LINE_S
from tests.faults.campaign.plan import FAULTS, GROUNDS, Fault, Shift
from tests.faults.campaign.stalls import Stalls

#: Groups at the same time on two cores: most of a fault is waiting.
LANES = 3


@dataclass
class Tally:
    """A fault's row of the table."""

    fault: Fault
    injected: int = 0
    found: list[Finding] = field(default_factory=list)
    longest_wait_s: float = 0.0
    compared: int = 0  #: gaps that the history tells and an observer saw
    told_long_s: float = 0.0
    told_short_s: float = 0.0
    asked_per_heartbeat: float = 0.0  #: of the busiest node, where it was counted

    def count(self, kind: str) -> int:
        return sum(finding.kind == kind for finding in self.found)

    def longest(self, kind: str) -> float:
        return max((each.length_s for each in self.found if each.kind == kind), default=0.0)


@dataclass
class Outcome:
    """Result of a campaign."""

    seed: int
    tallies: dict[str, Tally] = field(default_factory=dict)
    runs: int = 0
    units: int = 0
    taken_back: int = 0  #: units acknowledged by a primary whose commits were lost
    wall_s: float = 0.0
    group_s: float = 0.0  #: the lengths of all histories together
    broken_off: list[str] = field(default_factory=list)  #: groups that never were whole again
    left_out: list[str] = field(default_factory=list)  #: faults that this machine cannot do

    @property
    def injected(self) -> int:
        return sum(tally.injected for tally in self.tallies.values())

    def broken_promises(self) -> list[str]:
        """Return a line for each finding where zero is promised; waits beyond the bound too."""
        told = list(self.broken_off)
        for tally in self.tallies.values():
            for finding in tally.found if tally.fault.ours else ():
                if finding.kind == "thaw" or (
                    finding.kind == "overlap" and not tally.fault.one_runner
                ):
                    continue
                told.append(f"{tally.fault.name}: {finding.kind}: {finding.told}")
        return told


def campaign(shifts: Sequence[Shift], seed: int, lanes: int = LANES) -> Outcome:
    """Run all shifts and judge their histories."""
    outcome, began = Outcome(seed), time.monotonic()
    planned = {fault.name for shift in shifts for fault in shift.faults}
    outcome.tallies = {fault.name: Tally(fault) for fault in FAULTS if fault.name in planned}
    with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as pool:
        for worked in pool.map(run_shift, shifts):
            _add(outcome, worked.shift, worked.history)
            outcome.broken_off += filter(None, [worked.trouble])
            outcome.left_out += filter(None, [worked.missing])
    outcome.wall_s = time.monotonic() - began
    return outcome


@dataclass(frozen=True, slots=True)
class Worked:
    """Result of a shift."""

    shift: Shift
    history: History
    trouble: str  #: error that broke it off, if any
    missing: str  #: tool that the machine lacks for it, if any


def run_shift(shift: Shift) -> Worked:
    """Let one group meet its faults."""
    history, trouble, missing = History(), "", ""
    with contextlib.ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coord-campaign-")))
        made = GROUNDS[shift.ground](path, random.Random(shift.seed))
        current = "its start"
        try:
            with Stalls() as stalls, made as ground:
                try:
                    for number, fault in enumerate(shift.faults):
                        current = f"{fault.name} (fault {number} of {shift.seed})"
                        ground.inject(
                            fault.name,
                            fault.bound_s,
                            fault.inject,
                            news=fault.news,
                        )
                finally:
                    history = ground.close()
                    history.stalls = stalls.spans
        except pytest.skip.Exception as reason:
            missing = f"{shift.ground} ({len(shift.faults)} faults): {reason.msg}"
        except (AssertionError, OSError, psycopg.Error, pytest.fail.Exception) as error:
            # One group less must not end the campaign; the table says that it is incomplete.
            print(error, file=sys.stderr)  # the whole of it: what its nodes have said, too
            trouble = f"broken off at {current}: {str(error).splitlines()[0] if str(error) else ''}"
            print(trouble, file=sys.stderr)
            traceback.print_exc()
    done = len(history.injections)
    print(
        f"{shift.seed}: {done} faults, {history.ended_at - history.began_at:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return Worked(shift, history, trouble, missing)


def _add(outcome: Outcome, shift: Shift, history: History) -> None:
    """Judge a history, and give every finding to the fault under which it happened."""
    faults = {fault.name: fault for fault in shift.faults}
    ours = all(fault.ours for fault in shift.faults)
    if ours:
        outcome.runs += len(history.runs)
        outcome.group_s += max(0.0, history.ended_at - history.began_at)
        outcome.units += len(history.rows)
        outcome.taken_back += _taken_back(history)
    for injection in history.injections:
        outcome.tallies[injection.fault].injected += 1
    for finding in judge(history, thaw_line_s=THAW_LINE_S):
        under = injection_at(finding.at, history.injections)
        name = under.fault if under else shift.faults[0].name
        outcome.tallies[faults[name].name].found.append(finding)
        print(f"{shift.seed}: {name}: {finding.kind}: {finding.told}", file=sys.stderr)
    for wait in waits(history, THAW_LINE_S):
        if under := injection_at(wait.until, history.injections):
            tally = outcome.tallies[under.fault]
            tally.longest_wait_s = max(tally.longest_wait_s, wait.until - wait.since)
    _add_told(outcome, history)


def _add_told(outcome: Outcome, history: History) -> None:
    """Keep how far told gaps were off, and how often the busiest node asked."""
    for takeover, long_s, short_s in telling.unlike(history, THAW_LINE_S):
        if under := injection_at(takeover.acquired_at, history.injections):
            tally = outcome.tallies[under.fault]
            tally.compared += 1
            tally.told_long_s = max(tally.told_long_s, long_s)
            tally.told_short_s = max(tally.told_short_s, short_s)
    for asked in history.asked:
        if under := injection_at(asked.at, history.injections):
            tally = outcome.tallies[under.fault]
            share = asked.transactions * HEARTBEAT_S / (asked.until - asked.at)
            tally.asked_per_heartbeat = max(tally.asked_per_heartbeat, share)


def _taken_back(history: History) -> int:
    """Count the units that a lost primary had acknowledged."""
    written = {(row.session, row.pid, row.attempt) for row in history.rows}
    return sum(
        unit.outcome == "ok" and (unit.session, unit.pid, unit.attempt) not in written
        for unit in history.units
    )
