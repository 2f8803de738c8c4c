"""`python -m bench all --out docs/benchmarks.md`; or one part: failover, idle, scale, spreading,
startup, tasks, tokens.

A part that is measured alone replaces its figures on the page and leaves the others; of the
failover matrix only those cells that were measured again. `report`
writes the page again from the figures that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import floor
from bench.measure import Figures, machine
from bench.page import report
from bench.parts import failover, idle
from bench.parts.scale import PIECES, scale
from bench.parts.spreading import merged as merged_spreading
from bench.parts.spreading import spreading
from bench.parts.startup import startup
from bench.parts.tasks import tasks
from bench.parts.tokens import tokens
from bench.peers.entries import ENTRIES
from tests.support.servers.postgres import Server

#: The quiet ones first: what follows 500 nodes meets a machine that has work left.
PARTS = ("startup", "tokens", "idle", "failover", "spreading", "tasks", "scale")


def main() -> None:
    """Measure, and write the page where one is asked for; else print the figures."""
    arguments = _arguments()
    page: Path | None = arguments.out
    chosen = PARTS if arguments.part == "all" else (arguments.part,)
    if arguments.part == "report" and page:
        report.write(report.read(page), page)
        return
    found: Figures = {}
    for part in chosen:
        print(f"bench: {part}", file=sys.stderr, flush=True)
        # A server of its own for each part: nothing is left in its caches from another.
        with floor.bench_server() as server:
            where = machine(server.binaries.version)
            measured = _measure(part, server, arguments)
        command = "python -m bench " + " ".join(sys.argv[1:])
        run = {"machine": where, "command": command, "quick": arguments.quick}
        # Read again: other parts, or other contestants, may have been measured meanwhile.
        found = report.read(page) if page else found
        found[part] = _with_rest(part, found.get(part, {}), measured)
        pieces = [words.replace(",", ", ") for words in (arguments.only, arguments.faults) if words]
        found["runs"] = _runs(found.get("runs", {}), part, pieces, run)
        if page:
            report.write(found, page)  # a long run that is broken off keeps what it has
    if not page:
        json.dump(found, sys.stdout, indent=1)
        print()


def _runs(before: Figures, part: str, pieces: list[str], run: Figures) -> Figures:
    """Note how a part was measured, or pieces of it; what is whole replaces its pieces."""
    key = ": ".join([part, *pieces])
    rest = {k: v for k, v in before.items() if not k.startswith(f"{key}: ")}
    return dict(sorted({**rest, key: run}.items()))


def _measure(part: str, server: Server, arguments: argparse.Namespace) -> Figures:
    quick: bool = arguments.quick
    match part:
        case "startup":
            return startup(server, runs=3 if quick else 10)
        case "tokens":
            return tokens(server, clients=4, seconds=3 if quick else 10, rounds=1 if quick else 3)
        case "idle":
            counts = tuple(int(word) for word in arguments.nodes.split(","))
            window_s, rounds = (6.0, 1) if quick else (20.0, 5)
            only = tuple(arguments.only.split(",")) if arguments.only else idle.PIECES
            return idle.idle(server, counts=counts, window_s=window_s, rounds=rounds, only=only)
        case "failover":
            runs = arguments.runs or (3 if quick else 30)
            peer_runs = arguments.peer_runs or (2 if quick else 10)
            entries = tuple(e for e in ENTRIES if _wanted(e.key, arguments.only))
            hurts = tuple(h for h in failover.HURTS if _wanted(h.key, arguments.faults))
            return failover.failover(server, entries, hurts, runs=runs, peer_runs=peer_runs)
        case "spreading":
            runs = arguments.peer_runs or (1 if quick else 5)
            only = tuple(arguments.only.split(",")) if arguments.only else None
            return spreading(server, runs=runs, quick=quick, only=only)
        case "tasks":
            sets, rounds, runs = (10, 3, 1) if quick else (100, 20, arguments.runs or 3)
            return tasks(server, sets=sets, rounds=rounds, runs=runs)
        case "scale":
            counts = (10, 50) if quick else (10, 100, 250, 500, 1000)
            only = tuple(arguments.only.split(",")) if arguments.only else PIECES
            return scale(server, counts=counts, window_s=5.0 if quick else 10.0, only=only)
        case _:
            raise AssertionError(f"nobody measures {part}")


def _with_rest(part: str, before: Figures, now: Figures) -> Figures:
    """Keep what was not measured this time, where a piece of a part can be measured alone."""
    match part:
        case "failover":
            return _merged(before, now)
        case "spreading":
            return merged_spreading(before, now)
        case "scale" | "idle":
            return before | now
        case _:
            return now


def _merged(before: Figures, now: Figures) -> Figures:
    """Keep the cells of the matrix that were not measured this time."""
    cells = dict(before.get("cells", {}))
    for key, entry in now["cells"].items():
        faults = {**cells.get(key, {}).get("faults", {}), **entry.get("faults", {})}
        cells[key] = entry | ({"faults": faults} if "faults" in entry else {})
    return now | {"cells": {entry.key: cells[entry.key] for entry in ENTRIES if entry.key in cells}}


def _wanted(key: str, words: str | None) -> bool:
    return words is None or key in words.split(",")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", choices=("all", *PARTS, "report"))
    parser.add_argument("--out", type=Path, help="the page to write; its plots stand beside it")
    parser.add_argument("--quick", action="store_true", help="few runs: to see that it works")
    parser.add_argument("--runs", type=int, help="losses of the holder for each fault; default 30")
    parser.add_argument(
        "--peer-runs", type=int, help="the same for each peer; default 10, and 5 for spreading"
    )
    parser.add_argument("--nodes", default="10,100,500", help="sizes of the swarm")
    parser.add_argument(
        "--only", help="of failover, spreading: contestants; of scale, idle: pieces"
    )
    parser.add_argument("--faults", help="failover: faults, separated by commas")
    arguments = parser.parse_args()
    if arguments.part == "report" and arguments.out is None:
        parser.error("report needs --out")
    return arguments


if __name__ == "__main__":
    main()
