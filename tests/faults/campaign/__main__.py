"""`python -m tests.faults.campaign`: inject faults into real groups, count, and print the table.

    --short            some of each cheap kind, about a minute (the default)
    --long             all kinds, more than 2,000 faults
    --only FAULT       faults whose name holds this text
    --at-most N        of each fault
    --seed N           which victims and moments; the same seed injects the same
    --out FILE         also write the table between the markers of a page
    --summary FILE     also write a few rows between the markers of a page (docs/safety.md)
    --lanes N          groups at the same time

Exit code 1 when something that is promised did not hold, or a group was never whole again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.faults.campaign import table
from tests.faults.campaign.plan import shifts
from tests.faults.campaign.runner import LANES, campaign
from tests.faults.campaign.summary import summary


def main() -> int:
    """Run the campaign; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--long", action="store_true")
    form.add_argument("--short", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--at-most", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--summary", type=Path)
    parser.add_argument("--lanes", type=int, default=LANES)
    chosen = parser.parse_args()
    planned = shifts(long=chosen.long, seed=chosen.seed, only=chosen.only, at_most=chosen.at_most)
    if not planned:
        parser.error(f"no fault's name holds {chosen.only!r}")
    outcome = campaign(planned, chosen.seed, chosen.lanes)
    print(table.plain(outcome))
    command = "python -m tests.faults.campaign " + " ".join(sys.argv[1:])
    if chosen.out:
        table.write_into(chosen.out, table.markdown(outcome, command))
    if chosen.summary:
        table.write_into(chosen.summary, summary(outcome, command))
    broken = outcome.broken_promises()
    print(*broken, sep="\n", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
