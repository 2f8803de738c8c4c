"""The judge: pure functions from a history to the promises that were broken. No I/O, no clock.

    overlap  two runs of the program at the same moment
    thaw     the same, by a wholly frozen node's last lines between its thaw and its death
    term     a term twice, terms that do not rise in real time, or a run that was never granted
    unit     a fenced unit lost, twice, left out, written by nobody or after a newer term's
    wait     nobody held the token for longer than the bound, while somebody could have
    told     coord_history tells another gap than was seen (telling.py)
    busy     a node asked more often than its heartbeats allow

Times in which a program was frozen are cut out of its runs. An operation whose outcome is unknown
may have happened or not; both are right.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.faults.campaign import telling
from tests.faults.campaign.finding import Finding, Kind, bound_at
from tests.faults.campaign.history import History, Holding, Row, Run, Span, Unit

#: Moments closer than this are one moment; lines carry microseconds.
SAME_MOMENT_S = 2e-6


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a run in which it really ran."""

    run: Run
    start: float
    end: float
    thawed: bool  #: it began when a wholly frozen node was woken


def judge(history: History, *, thaw_line_s: float) -> list[Finding]:
    """Return every broken promise, in the order in which they happened."""
    found = [
        *overlaps(history, thaw_line_s),
        *runs_out_of_order(history.runs),
        *repeated_terms(history),
        *grants_out_of_order(history),
        *never_granted(history),
        *misplaced_rows(history),
        *untrue_outcomes(history),
        *late_writes(history.units),
        *long_waits(history, thaw_line_s),
        *telling.untrue_gaps(history, thaw_line_s),
        *telling.untrue_takeovers(history),
        *telling.busy_nodes(history),
    ]
    return sorted(found, key=lambda finding: finding.at)


# --- runs -----------------------------------------------------------------------------------------


def pieces(history: History, run: Run, *, whole_only: bool = False) -> Iterator[Piece]:
    """Cut the times out of a run in which its node's program was frozen."""
    start, thawed = run.start, False
    for span in sorted(history.frozen, key=lambda span: span.since):
        if span.node != run.node or (whole_only and not span.whole):
            continue
        # A line from within the span shows that the signal had not arrived yet: it counts.
        if start <= span.since and run.end >= span.until:
            yield Piece(run, start, span.since, thawed)
            start, thawed = span.until, span.whole
    yield Piece(run, start, run.end, thawed)


def overlaps(history: History, thaw_line_s: float) -> list[Finding]:
    """Name every two runs that lived at the same moment, once for each two pieces."""
    found: list[Finding] = []
    alive: list[Piece] = []
    cut = [piece for run in history.runs for piece in pieces(history, run)]
    for piece in sorted(cut, key=lambda piece: piece.start):
        alive = [other for other in alive if other.end > piece.start + SAME_MOMENT_S]
        for other in alive:
            if other.run is piece.run:
                continue
            shared_s = min(piece.end, other.end) - piece.start
            if shared_s > SAME_MOMENT_S:
                found.append(_together(other, piece, shared_s, thaw_line_s))
        alive.append(piece)
    return found


def _together(one: Piece, other: Piece, shared_s: float, thaw_line_s: float) -> Finding:
    last_words = any(
        piece.thawed and piece.end - piece.start <= thaw_line_s for piece in (one, other)
    )
    told = (
        f"{other.run.node} (term {other.run.term}) ran while {one.run.node}"
        f" (term {one.run.term}) did, together {shared_s:.3f} s"
    )
    kind: Kind = "thaw" if last_words else "overlap"
    return Finding(kind=kind, at=other.start, told=told, length_s=shared_s)


# --- terms ----------------------------------------------------------------------------------------


def runs_out_of_order(runs: Iterable[Run]) -> list[Finding]:
    """Name every start of a run under a term that is below one that ran before."""
    found: list[Finding] = []
    highest = 0
    for run in sorted(runs, key=lambda run: run.start):
        if run.term < highest:
            told = f"{run.node} ran under term {run.term} after term {highest}"
            found.append(Finding(kind="term", at=run.start, told=told))
        highest = max(highest, run.term)
    return found


def repeated_terms(history: History) -> list[Finding]:
    """Name every term that two holdings had, whether granted, run or written under."""
    first: dict[int, Holding] = {}
    told: set[Holding] = set()
    found: list[Finding] = []
    seen = [(run.start, run.holding) for run in history.runs]
    seen += [(unit.start, unit.holding) for unit in history.units]
    ran_at = {holding: at for at, holding in sorted(seen, reverse=True)}
    # A grant that nobody ran under has no moment of ours; it is told with its term's run.
    for grant in history.grants or ():
        at = next((at for holding, at in ran_at.items() if holding[0] == grant.term), 0.0)
        ran_at.setdefault(grant.holding, at)
    for holding, at in sorted(ran_at.items(), key=lambda item: item[1]):
        other = first.setdefault(holding[0], holding)
        if other != holding and holding not in told:
            told.add(holding)
            words = f"term {holding[0]} is {other[1]}'s and {holding[1]}'s"
            found.append(Finding(kind="term", at=at, told=words))
    return found


def grants_out_of_order(history: History) -> list[Finding]:
    """Name every grant whose term is not above those that were granted before it."""
    ran_at = {run.holding: run.start for run in history.runs}
    distinct = {grant.holding: grant for grant in history.grants or ()}.values()
    return [
        Finding(
            kind="term",
            at=ran_at.get(later.holding, 0.0),
            told=f"term {later.term} was granted after term {earlier.term}",
        )
        for earlier, later in pairwise(sorted(distinct, key=lambda grant: grant.at))
        if later.term < earlier.term
    ]


def never_granted(history: History) -> list[Finding]:
    """Name every run and every written unit under a holding that the database never gave."""
    if history.grants is None:
        return []
    granted = {grant.holding for grant in history.grants}
    found = [
        Finding(kind="term", at=run.start, told=f"{run.node} was never granted term {run.term}")
        for run in history.runs
        if run.holding not in granted
    ]
    begun = {_try_of(unit): unit.start for unit in history.units}
    return found + [
        Finding(
            kind="unit",
            at=begun.get(_try_of(row), 0.0),
            told=f"unit {row.number} was written under term {row.term}, never granted",
        )
        for row in history.rows
        if row.holding not in granted
    ]


# --- fenced units ---------------------------------------------------------------------------------


def misplaced_rows(history: History) -> list[Finding]:
    """Name units that are in the table twice, out of order, or missing between others."""
    begun = {_try_of(unit): unit.start for unit in history.units}
    rows = sorted(history.rows, key=lambda row: row.place)

    def finding(row: Row, told: str) -> Finding:
        return Finding(kind="unit", at=begun.get(_try_of(row), 0.0), told=told)

    found = [
        finding(row, f"unit {row.number} was written by {row.node}, who never began it")
        for row in rows
        if _try_of(row) not in begun
    ]
    times = Counter(row.number for row in rows)
    last = {row.number: row for row in rows}
    found += [
        finding(last[number], f"unit {number} was written {count} times")
        for number, count in times.items()
        if count > 1
    ]
    numbers = sorted(times)
    found += [
        finding(last[later], f"units {earlier + 1} to {later - 1} are missing")
        for earlier, later in pairwise([0, *numbers])
        if later > earlier + 1
    ]
    found += [
        finding(later, f"unit {later.number} of term {later.term} came after {earlier.term}'s")
        for earlier, later in pairwise(rows)
        if later.term < earlier.term
    ]
    return found


def untrue_outcomes(history: History) -> list[Finding]:
    """Name units that were acknowledged and are not there, or refused and are."""
    written = {_try_of(row): row.number for row in history.rows}
    found: list[Finding] = []
    for unit in history.units:
        number, end = written.get(_try_of(unit)), unit.end or unit.start
        told = ""
        if number is not None and number != unit.number:
            told = f"unit {unit.number} was written as {number}"
        elif unit.outcome == "fail" and number is not None:
            told = f"unit {unit.number} of {unit.node} was refused, and is written"
        elif unit.outcome == "ok" and number is None and not _within(end, history.taken_back):
            told = f"unit {unit.number} of {unit.node} was acknowledged, and is lost"
        if told:
            found.append(Finding(kind="unit", at=unit.start, told=told))
    return found


def late_writes(units: Iterable[Unit]) -> list[Finding]:
    """Name acknowledged units that began when a newer term had already written one."""
    done = [unit for unit in units if unit.outcome == "ok" and unit.end is not None]
    by_end = sorted(done, key=lambda unit: unit.end or 0.0)
    ends = [unit.end or 0.0 for unit in by_end]
    highest: list[int] = []
    for unit in by_end:
        highest.append(max(unit.term, highest[-1] if highest else 0))
    found: list[Finding] = []
    for unit in done:
        before = bisect_right(ends, unit.start)
        if before and highest[before - 1] > unit.term:
            told = f"{unit.node} wrote under term {unit.term} after term {highest[before - 1]} had"
            found.append(Finding(kind="unit", at=unit.start, told=told))
    return found


def _try_of(unit: Unit | Row) -> tuple[str, int, str, int, int]:
    return (unit.node, unit.term, unit.session, unit.pid, unit.attempt)


def _within(moment: float, spans: Iterable[Span]) -> bool:
    return any(span.since <= moment <= span.until for span in spans)


# --- waits ----------------------------------------------------------------------------------------


def waits(history: History, thaw_line_s: float) -> list[Span]:
    """Return the times in which nobody ran and somebody could have; an outage starts them anew."""
    held = sorted(
        (piece.start, piece.end)
        for run in history.runs
        for piece in pieces(history, run, whole_only=True)
        if not (piece.thawed and piece.end - piece.start <= thaw_line_s)
    )
    idle: list[Span] = []
    until = history.began_at
    for start, end in [*held, (history.ended_at, history.ended_at)]:
        if start > until:
            idle += _usable(until, start, history.outages)
        until = max(until, end)
    return idle


def _usable(since: float, until: float, outages: Iterable[Span]) -> list[Span]:
    left: list[Span] = []
    for outage in sorted(outages, key=lambda span: span.since):
        if outage.until <= since or outage.since >= until:
            continue
        if outage.since > since:
            left.append(Span(since, outage.since))
        since = max(since, outage.until)
    if since < until:
        left.append(Span(since, until))
    return left


def long_waits(history: History, thaw_line_s: float) -> list[Finding]:
    """Name every wait beyond its bound."""
    found: list[Finding] = []
    for wait in waits(history, thaw_line_s):
        # A wait belongs to the fault during which it ends: its beginning may be older.
        bound_s = bound_at(wait.until, history.injections)
        length_s = wait.until - wait.since
        if length_s > bound_s:
            told = f"nobody ran for {length_s:.2f} s; the bound is {bound_s:.2f} s"
            found.append(Finding(kind="wait", at=wait.until, told=told, length_s=length_s))
    return found
