"""The judge on what is told: gaps of `coord_history` beside the programs' own lines, transactions.

    told   the history tells a gap, or a moment of a takeover, that an outside observer did not see
    busy   a node asked the database more often than a multiple of its heartbeats allows

A gap is told from the moment until which the holding before was active: the end of its program
where its node could say it, else its last heartbeat. That lies up to one lease, and the time that
it takes to kill, before the end of a program that was cut off; and after it by what it takes to see
that a program is dead: a heartbeat, and what an outside observer has measured, which is how long
the machine kept waiting what was due, and when the fault let go of the node. A program that was
frozen ended at some moment between its last line and the moment at which it was woken.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.campaign.finding import Finding, bound_at, injection_at
from tests.faults.campaign.history import Asked, History, Run, Told
from tests.faults.campaign.limits import (
    ASKED_PER_HEARTBEAT_MAX,
    HEARTBEAT_S,
    TOLD_LONG_S,
    TOLD_SHORT_S,
)
from tests.faults.campaign.stalls import stalled_s

#: Error that is forgiven between two clocks of one machine, and to a line that is due.
CLOCKS_S = 0.05


def unlike(history: History, thaw_line_s: float) -> Iterator[tuple[Told, float, float]]:
    """Return each told takeover, and how much too long and too short its gap was (below 0: not).

    Takeovers after a holding whose program wrote nothing are left out: nobody has seen its end.
    """
    by_term: dict[int, list[Run]] = {}
    for run in history.runs:
        by_term.setdefault(run.term, []).append(run)
    for told in history.told:
        before = by_term.get(told.before_term, [])
        if before:
            active_until = told.acquired_at - told.gap_s
            first, last = ends(history, before, told.acquired_at, thaw_line_s)
            if under := injection_at(told.acquired_at, history.injections):
                last = max(last, under.news_until)
            late_s = stalled_s(history.stalls, last, active_until)
            yield told, first - active_until, active_until - last - late_s


def ends(
    history: History, runs: list[Run], before: float, thaw_line_s: float
) -> tuple[float, float]:
    """Return between which moments the last program of a holding ended, as far as it was seen."""
    run = max(runs, key=lambda run: run.end)
    first = last = run.end
    for span in history.frozen:
        asleep = span.node == run.node and run.start <= span.since <= before
        # A program that ran on after it was woken, before the takeover, did not end in its sleep.
        if asleep and span.until + thaw_line_s >= min(run.end, before):
            first, last = min(first, span.since), max(last, span.until)
    return first, last


def untrue_gaps(history: History, thaw_line_s: float) -> list[Finding]:
    """Name every gap of coord_history that is longer or shorter than the one that was seen."""
    found: list[Finding] = []
    for told, long_s, short_s in unlike(history, thaw_line_s):
        for off_s, most_s, how in ((long_s, TOLD_LONG_S, "long"), (short_s, TOLD_SHORT_S, "short")):
            if off_s > most_s + CLOCKS_S:
                words = f"the gap of term {told.term} is told {off_s:.2f} s too {how}"
                found.append(Finding(kind="told", at=told.acquired_at, told=words, length_s=off_s))
    return found


def untrue_takeovers(history: History) -> list[Finding]:
    """Name every takeover that is told after its program's first line, or long before it.

    A takeover whose answer was lost in an outage is found in the row later: it has no such bound.
    """
    first: dict[int, float] = {}
    for run in history.runs:
        first[run.term] = min(run.start, first.get(run.term, run.start))
    found: list[Finding] = []
    for told in history.told:
        ran_at = first.get(told.term, told.acquired_at)
        late_s = told.acquired_at - ran_at
        lost = any(
            span.since < ran_at and span.until > told.acquired_at for span in history.outages
        )
        early = not lost and -late_s > bound_at(told.acquired_at, history.injections)
        if late_s > CLOCKS_S or early:
            words = f"term {told.term} is told to be taken {late_s:.2f} s after its first line"
            found.append(Finding(kind="told", at=told.acquired_at, told=words))
    return found


def busy_nodes(history: History) -> list[Finding]:
    """Name every node that asked too often."""
    return [
        Finding(kind="busy", at=asked.at, told=words)
        for asked in history.asked
        if (words := too_busy(asked))
    ]


def too_busy(asked: Asked) -> str:
    """Say how often a node asked, if that was too often."""
    allowed = ASKED_PER_HEARTBEAT_MAX * (asked.until - asked.at) / HEARTBEAT_S
    if asked.transactions <= allowed:
        return ""
    return f"{asked.node} made {asked.transactions} transactions; {allowed:.0f} were allowed"
