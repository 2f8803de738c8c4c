"""The table in a few rows, for docs/safety.md: one for each family of faults."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.faults.campaign.limits import LIVENESS_S, MACHINE_S, THAW_LINE_S
from tests.faults.campaign.plan import Fault
from tests.faults.campaign.runner import Outcome, Tally
from tests.faults.campaign.table import off_by, today

HEAD = (
    "faults",
    "injected",
    "overlaps",
    "repeated terms",
    "lost or double fenced units",
    "longest without a holder (bound)",
)

#: A fault belongs to the first family that says yes.
FAMILIES: tuple[tuple[str, Callable[[Fault], bool]], ...] = (
    (
        "two and three processes of a node at once; a log that takes nothing",
        lambda f: f.ground == "logged",
    ),
    ("hostile settings of role, database and server", lambda f: f.ground == "hostile"),
    ("rows deleted, tables truncated", lambda f: f.ground == "wrecked"),
    (
        "SIGSTOP of a whole node for three leases",
        lambda f: f.name.startswith("SIGSTOP of the whole"),
    ),
    (
        "database: sessions ended, crashes, outages, locks, no connections",
        lambda f: "database" in f.inject.__module__,
    ),
    ("kill -9 of node, guardian, agent, program", lambda f: f.name.startswith("kill -9")),
    ("SIGSTOP of guardian, agent, program, short and long", lambda f: f.name.startswith("SIGSTOP")),
    ("a node leaves, the holder resigns", lambda f: f.name.startswith(("SIGTERM", "SIGUSR1"))),
    (
        "clocks: steps of an hour, also under a schedule, rates 0.9 to 1.1",
        lambda f: "clock" in f.name,
    ),
    (
        "network: cut, one-way, half-open, flapping, stalled, slow, reset",
        lambda f: "network" in f.inject.__module__,
    ),
    ("failover, synchronous and asynchronous", lambda f: f.name.startswith("failover")),
)


def family(fault: Fault) -> str:
    """Return the row to which a fault belongs; the foil's have their own names."""
    if not fault.ours:
        return fault.name
    return next(title for title, belongs in FAMILIES if belongs(fault))


def summary(outcome: Outcome, command: str) -> str:
    """Return the summary of a campaign for docs/safety.md."""
    families: dict[str, list[Tally]] = {}
    for tally in sorted(outcome.tallies.values(), key=lambda tally: not tally.fault.ours):
        if tally.injected:
            families.setdefault(family(tally.fault), []).append(tally)
    ours = [tally for tally in outcome.tallies.values() if tally.fault.ours]
    rows = [_row(title, tallies) for title, tallies in families.items() if tallies[0].fault.ours]
    rows += [_total(ours)]
    rows += [_row(title, each) for title, each in families.items() if not each[0].fault.ours]
    injected = sum(tally.injected for tally in ours)
    thaw_ms = 1000 * max((tally.longest("thaw") for tally in ours), default=0.0)
    lines = [
        f"{injected:,} faults in {outcome.wall_s / 60:.0f} minutes on {os.cpu_count()} cores,"
        f" {today()}. `{command}`:",
        "",
        f"| {' | '.join(HEAD)} |",
        "|---" + "|--:" * (len(HEAD) - 1) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"`livenessCheckInterval` is {LIVENESS_S:g} s there; the bounds hold {MACHINE_S:g} s for"
        f" the machine. Gaps in `coord history` were off by {off_by(*ours)} at most (too long / too"
        " short).",
        "(1) A node that wakes from a whole freeze may write once more before it is killed, here"
        f" within {thaw_ms:.0f} ms (more than {THAW_LINE_S * 1000:g} ms count as an overlap); only"
        " the fence closes that gap. (2) Not counted where two primaries acknowledge, or where"
        " token and history were both deleted: nothing is promised there but terms and the fence.",
    ]
    return "\n".join(lines)


def _row(title: str, tallies: list[Tally]) -> tuple[str, ...]:
    promised = [tally for tally in tallies if tally.fault.one_runner or not tally.fault.ours]
    overlaps = str(sum(tally.count("overlap") for tally in promised))
    if thaws := sum(tally.count("thaw") for tally in tallies):
        overlaps += f", and {thaws} lines at a thaw (1)"
    if len(promised) < len(tallies):
        overlaps += " (2)"
    bound_s = max(tally.fault.bound_s for tally in tallies)
    waited = f"{max(tally.longest_wait_s for tally in tallies):.2f} s ({bound_s:.2f} s)"
    return (
        title,
        f"{sum(tally.injected for tally in tallies):,}",
        overlaps,
        str(sum(tally.count("term") for tally in tallies)),
        str(sum(tally.count("unit") for tally in tallies)),
        waited if tallies[0].fault.ours else "",
    )


def _total(ours: list[Tally]) -> tuple[str, ...]:
    cells = _row("all", ours)
    overlaps = sum(tally.count("overlap") for tally in ours if tally.fault.one_runner)
    return (*(f"**{cell}**" for cell in (*cells[:2], str(overlaps), *cells[3:5])), "")
