"""Histories out of a seed: good ones, and the same with one thing in them made wrong.

Good ones have everything in them that real ones have: handovers, restarts of the program under one
term, frozen programs and nodes, outages, units refused, unknown, and taken back by the database.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from tests.faults.campaign.history import Grant, History, Injection, Outcome, Row, Run, Span, Unit

NODES = ("a", "b", "c")
BOUND_S = 2.0
#: A server's wall clock is no boottime.
WALL_S = 1_000_000.0
TIMELINE = 10**9


def good(seed: int) -> History:
    """Return a history in which every promise was kept."""
    rng = random.Random(seed)
    history = History()
    now, term, pid = rng.uniform(0, 100), 0, 100
    history.began_at = now
    for _ in range(rng.randint(3, 7)):
        since = now
        now = _pause(rng, history, now)
        if rng.random() < 0.1:  # given back before the program was started
            term = _next_term(rng, term)
            _grant(rng, history, term, now - 0.02)
        term, pid = _next_term(rng, term), pid + 1
        grant = _grant(rng, history, term, now - 0.01)
        history.injections.append(Injection(fault="fault", at=since, until=now, bound_s=BOUND_S))
        now = _hold(rng, history, grant, pid, now)
    history.ended_at = now
    _write_rows(rng, history)
    return history


def _grant(rng: random.Random, history: History, term: int, at: float) -> Grant:
    assert history.grants is not None
    grant = Grant(term=term, node=rng.choice(NODES), session=f"s-{term}", at=WALL_S + at)
    history.grants.append(grant)
    return grant


def _next_term(rng: random.Random, term: int) -> int:
    if rng.random() < 0.1:
        return (term // TIMELINE + 1) * TIMELINE + 1
    return term + rng.choice((1, 1, 1, 2))


def _pause(rng: random.Random, history: History, now: float) -> float:
    """Pass the time in which nobody holds: short, or longer with an outage in it."""
    usable_s = rng.uniform(0.001, BOUND_S * 0.95)
    if rng.random() < 0.3:
        outage_s = rng.uniform(0.1, 5.0)
        at = now + rng.uniform(0.0, usable_s)
        history.outages.append(Span(at, at + outage_s))
        return now + usable_s + outage_s
    return now + usable_s


def _hold(rng: random.Random, history: History, grant: Grant, pid: int, now: float) -> float:
    """Let the program run, perhaps twice under one term; perhaps its node freezes at the end."""
    start = now
    for again in range(rng.choice((1, 1, 1, 2))):
        end = start + rng.uniform(BOUND_S * 1.1, 6.0)
        run = _run(grant, 10 * pid + again, start, end)
        history.runs.append(run)
        if rng.random() < 0.3:
            stopped_at = rng.uniform(start, end)
            history.frozen.append(Span(stopped_at, rng.uniform(stopped_at, end), grant.node))
        _work(rng, history, run)
        start = end + rng.uniform(0.001, 0.3)
    if rng.random() < 0.2:
        history.frozen.append(Span(end + 0.001, end + rng.uniform(1.0, 9.0), grant.node, True))
    if rng.random() < 0.15:
        history.taken_back.append(Span(end - 0.5, end))
    return end


def _run(grant: Grant, pid: int, start: float, end: float) -> Run:
    return Run(
        node=grant.node, term=grant.term, session=grant.session, pid=pid, start=start, end=end
    )


def _work(rng: random.Random, history: History, run: Run) -> None:
    """Try some fenced units, one after the other; their numbers are given later."""
    at, attempt = run.start, 0
    while (at := at + rng.uniform(0.05, 1.0)) < run.end - 0.02:
        attempt += 1
        outcome: Outcome = rng.choices(("ok", "fail", "unknown"), (8, 1, 1))[0]
        end: float | None = at + rng.uniform(0.001, 0.02)
        if outcome == "unknown" and rng.random() < 0.5:
            end = None
        history.units.append(
            Unit(
                node=run.node,
                term=run.term,
                session=run.session,
                pid=run.pid,
                attempt=attempt,
                number=0,
                start=at,
                end=end,
                outcome=outcome,
            )
        )
        if end is None:
            return  # its connection is gone for good


def _write_rows(rng: random.Random, history: History) -> None:
    """Write what was acknowledged, and some of what nobody knows, under numbers without gaps."""
    number = place = 0
    for index, unit in enumerate(history.units):
        place += rng.choice((1, 1, 2))  # what was rolled back used up a place
        history.units[index] = unit = replace(unit, number=number + 1)
        back = any(
            span.since <= (unit.end or unit.start) <= span.until for span in history.taken_back
        )
        lost = unit.outcome == "fail" or (unit.outcome == "unknown" and rng.random() < 0.5)
        if lost or back:
            continue
        number += 1
        history.rows.append(row_of(unit, place))


def row_of(unit: Unit, place: int) -> Row:
    return Row(
        place=place,
        number=unit.number,
        node=unit.node,
        term=unit.term,
        session=unit.session,
        pid=unit.pid,
        attempt=unit.attempt,
    )


# --- one thing wrong ------------------------------------------------------------------------------

Mutate = Callable[[random.Random, History], bool]


def _late_end(rng: random.Random, history: History) -> bool:
    place = rng.randrange(len(history.runs) - 1)
    run, later = history.runs[place], history.runs[place + 1]
    if any(span.node == run.node and span.until > run.start for span in history.frozen):
        return False
    if any(
        span.node == later.node and span.since < later.start + 0.2 < span.until + 0.2
        for span in history.frozen
    ):
        return False
    history.runs[place] = replace(run, end=later.start + rng.uniform(0.001, 0.1))
    return True


def _early_start(rng: random.Random, history: History) -> bool:
    place = rng.randrange(1, len(history.runs))
    run, before = history.runs[place], history.runs[place - 1]
    if any(span.node in (run.node, before.node) for span in history.frozen):
        return False
    history.runs[place] = replace(run, start=before.end - rng.uniform(0.001, 1.0))
    return True


def _old_term(rng: random.Random, history: History) -> bool:
    place = rng.randrange(1, len(history.runs))
    first, run = history.runs[0], history.runs[place]
    if run.holding == first.holding:
        return False
    history.runs[place] = replace(run, term=first.term)
    return True


def _grant_gone(rng: random.Random, history: History) -> bool:
    assert history.grants is not None
    run = rng.choice(history.runs)
    history.grants = [grant for grant in history.grants if grant.holding != run.holding]
    return True


def _grant_twice(rng: random.Random, history: History) -> bool:
    assert history.grants is not None
    grant = rng.choice(history.grants)
    history.grants.append(replace(grant, session="another", at=grant.at + 0.001))
    return True


def _grants_swapped(rng: random.Random, history: History) -> bool:
    assert history.grants is not None
    place = rng.randrange(1, len(history.grants))
    one, other = history.grants[place - 1], history.grants[place]
    history.grants[place - 1] = replace(one, at=other.at)
    history.grants[place] = replace(other, at=one.at)
    return one.at != other.at


def _row_twice(rng: random.Random, history: History) -> bool:
    history.rows.append(replace(rng.choice(history.rows), place=history.rows[-1].place + 1))
    return True


def _row_lost(rng: random.Random, history: History) -> bool:
    row = rng.choice(history.rows)
    history.rows.remove(row)
    unit = next(
        unit
        for unit in history.units
        if (unit.session, unit.pid, unit.attempt) == (row.session, row.pid, row.attempt)
    )
    return unit.outcome == "ok" or row.number < history.rows[-1].number


def _row_refused(rng: random.Random, history: History) -> bool:
    refused = [unit for unit in history.units if unit.outcome == "fail"]
    if not refused:
        return False
    history.rows.append(row_of(rng.choice(refused), history.rows[-1].place + 1))
    return True


def _row_of_nobody(rng: random.Random, history: History) -> bool:
    place = rng.randrange(len(history.rows))
    history.rows[place] = replace(history.rows[place], attempt=999)
    return True


def _row_renumbered(rng: random.Random, history: History) -> bool:
    place = rng.randrange(len(history.rows))
    row = history.rows[place]
    history.rows[place] = replace(row, number=row.number + rng.choice((-1, 1, 5)))
    return True


def _row_too_late(rng: random.Random, history: History) -> bool:
    first, last = history.rows[0], history.rows[-1]
    history.rows[0] = replace(first, place=last.place + 1)
    return first.term < last.term


def _write_too_late(rng: random.Random, history: History) -> bool:
    done = [unit for unit in history.units if unit.outcome == "ok" and unit.end is not None]
    first, last = done[0], done[-1]
    if first.term == last.term:
        return False
    at = (last.end or 0.0) + rng.uniform(0.0, 1.0)
    history.units[history.units.index(first)] = replace(first, start=at, end=at + 0.001)
    return True


def _nobody_ran(rng: random.Random, history: History) -> bool:
    """Every run is longer than the bound; without one nobody ran for too long."""
    place = rng.randrange(1, len(history.runs))
    run = history.runs.pop(place)
    return not any(span.until > run.start and span.since < run.end for span in history.outages)


MUTATIONS: dict[Mutate, str] = {
    _late_end: "overlap",
    _early_start: "overlap",
    _old_term: "term",
    _grant_gone: "term",
    _grant_twice: "term",
    _grants_swapped: "term",
    _row_twice: "unit",
    _row_lost: "unit",
    _row_refused: "unit",
    _row_of_nobody: "unit",
    _row_renumbered: "unit",
    _row_too_late: "unit",
    _write_too_late: "unit",
    _nobody_ran: "wait",
}


def mutated(seed: int) -> tuple[History, str, str]:
    """Return a good history with one thing made wrong, what that was, and the kind to be found."""
    mutate, kind = list(MUTATIONS.items())[seed % len(MUTATIONS)]
    for again in range(1000):
        history = good(1000 * seed + again)
        enough = len(history.runs) > 2 and len(history.rows) > 2
        if enough and mutate(random.Random(seed), history):
            return history, mutate.__name__, kind
    raise AssertionError(f"{mutate.__name__} fits no history")
