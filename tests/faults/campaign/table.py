"""The table: on the terminal, and between two markers of a page."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from coordinator.store.embedded.binaries import find_binaries
from tests.faults.campaign.limits import (
    ASKED_PER_HEARTBEAT_MAX,
    HEARTBEAT_S,
    LEASE_S,
    LIVENESS_S,
    MACHINE_S,
    STEP_S,
    THAW_LINE_S,
    TOLD_LONG_S,
    TOLD_SHORT_S,
)
from tests.faults.campaign.runner import Outcome, Tally
from tests.faults.campaign.telling import CLOCKS_S

BEGIN, END = "<!-- campaign: begin -->", "<!-- campaign: end -->"
HEAD = (
    "fault",
    "injected",
    "overlaps",
    "repeated terms",
    "lost or double fenced units",
    "longest without a holder",
    "bound",
    "told gap off by",
)
#: Reason for which two may run.
UNPROMISED = {
    "both": "two primaries acknowledge",
    "forgotten": "without token and history nothing tells this group from a new one, whose token is"
    " free, until the holder's next heartbeat; terms and the fence hold all the same",
}


def rows(outcome: Outcome) -> list[tuple[str, ...]]:
    """Return the table's rows, and a sum of ours."""
    tallies = [tally for tally in outcome.tallies.values() if tally.injected]
    ours = [tally for tally in tallies if tally.fault.ours]
    promised = [tally for tally in ours if tally.fault.one_runner]
    total = (
        "**all of coord**",
        f"**{sum(tally.injected for tally in ours)}**",
        f"**{sum(tally.count('overlap') for tally in promised)}**",
        f"**{sum(tally.count('term') for tally in ours)}**",
        f"**{sum(tally.count('unit') for tally in ours)}**",
        f"{max((tally.longest_wait_s for tally in ours), default=0):.2f} s",
        "",
        off_by(*ours),
    )
    foils = [tally for tally in tallies if not tally.fault.ours]
    return [_row(tally) for tally in ours] + [total] + [_row(tally) for tally in foils]


def _row(tally: Tally) -> tuple[str, ...]:
    fault, overlaps = tally.fault, str(tally.count("overlap"))
    if tally.count("overlap"):
        overlaps += f" (longest {tally.longest('overlap'):.2f} s)"
    if fault.unpromised:
        overlaps += f" [^{fault.unpromised}]"
    if tally.count("thaw"):
        overlaps += f" + {tally.count('thaw')} at a thaw [^thaw]"
    return (
        fault.name,
        str(tally.injected),
        overlaps,
        str(tally.count("term")),
        str(tally.count("unit")),
        f"{tally.longest_wait_s:.2f} s",
        f"{fault.bound_s:.2f} s" if fault.ours else "none",
        off_by(tally),
    )


def off_by(*tallies: Tally) -> str:
    """Say how far the gaps that the history tells were off at most, longer and shorter."""
    if not sum(tally.compared for tally in tallies):
        return ""
    long_s = max(tally.told_long_s for tally in tallies)
    short_s = max(tally.told_short_s for tally in tallies)
    return f"+{long_s:.2f} / -{short_s:.2f} s"


def plain(outcome: Outcome) -> str:
    """Return the table in columns, as the terminal shows it."""
    lines = [HEAD, *rows(outcome)]
    widths = [max(len(row[column]) for row in lines) for column in range(len(HEAD))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in lines
    ]
    return "\n".join([*text, "", *notes(outcome)])


def markdown(outcome: Outcome, command: str) -> str:
    """Return the table as a page has it, with what it was measured by."""
    lines = [f"| {' | '.join(HEAD)} |", "|---" + "|--:" * (len(HEAD) - 1) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(outcome)]
    return "\n".join([f"`{command}`, {today()}, {machine()}.", "", *lines, "", *notes(outcome)])


def notes(outcome: Outcome) -> list[str]:
    """Say what else was counted, and what was forgiven."""
    told = [
        f"{outcome.injected} faults in {outcome.wall_s / 60:.1f} min (seed {outcome.seed});"
        f" {outcome.runs} runs of programs, {outcome.units} fenced units,"
        f" {outcome.group_s / 60:.0f} min of groups under fire.",
        f"livenessCheckInterval {LIVENESS_S:g} s, heartbeatFrequency {HEARTBEAT_S:g} s, lease"
        f" {LEASE_S:.2f} s; the bounds hold {MACHINE_S:g} s for the machine; a run's end is known"
        f" to {STEP_S * 1000:g} ms.",
    ]
    ours = [tally for tally in outcome.tallies.values() if tally.fault.ours]
    told += [
        f"{sum(tally.compared for tally in ours)} gaps that coord_history tells were compared with"
        f" the programs' own lines: {sum(tally.count('told') for tally in ours)} were off by more"
        f" than {TOLD_LONG_S + CLOCKS_S:.2f} s (too long) or {TOLD_SHORT_S + CLOCKS_S:.2f} s (too"
        " short, beyond what the machine and the fault were seen to keep waiting)."
    ]
    if busiest := max((tally.asked_per_heartbeat for tally in ours), default=0.0):
        told.append(
            f"Where rows were wrecked, the busiest node made {busiest:.1f} transactions for each of"
            f" its heartbeats ({ASKED_PER_HEARTBEAT_MAX} are allowed);"
            f" {sum(tally.count('busy') for tally in ours)} nodes made more."
        )
    if outcome.taken_back:
        told.append(
            f"{outcome.taken_back} units were acknowledged by primaries whose last commits an"
            " asynchronous failover then lost: the database's loss, counted apart."
        )
    told += [f"INCOMPLETE: {line}" for line in outcome.broken_off]
    told += [f"LEFT OUT: {line}" for line in outcome.left_out]
    if any(tally.count("thaw") for tally in outcome.tallies.values()):
        told.append(
            "\n[^thaw]: a wholly frozen node wrote once more between its thaw and its death;"
            f" coord's for at most {_longest_thaw_ms(outcome):.0f} ms (more than"
            f" {THAW_LINE_S * 1000:g} ms count as an overlap). Only the fence closes that gap."
        )
    told += [
        f"\n[^{why}]: not promised: {words}; left out of the sum."
        for why, words in UNPROMISED.items()
        if any(tally.fault.unpromised == why and tally.injected for tally in ours)
    ]
    return told


def _longest_thaw_ms(outcome: Outcome) -> float:
    ours = [tally for tally in outcome.tallies.values() if tally.fault.ours]
    return 1000 * max((tally.longest("thaw") for tally in ours), default=0.0)


def write_into(page: Path, text: str) -> None:
    """Put the table between the markers of a page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no markers {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def machine() -> str:
    """Describe the machine in a line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return (
        f"{os.cpu_count()} cores ({model}), Linux {platform.release()},"
        f" PostgreSQL {find_binaries().version}, Python {platform.python_version()}"
    )


def today() -> str:
    return datetime.now(UTC).date().isoformat()
