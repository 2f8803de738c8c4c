"""Run seeds: `python -m tests.simulation.run --seeds N [--first K] [--break NAME] [--jobs J]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial

from tests.simulation import faults
from tests.simulation.checkers import violations
from tests.simulation.history import History
from tests.simulation.planted import PLANTED, planted
from tests.simulation.settings import NO_BIAS, Bias, draw
from tests.simulation.stories import plan
from tests.simulation.world import World
from tests.support.memory_store import MemoryDatabase

#: So many seeds go to a worker at once.
BATCH = 25


def run_seed(
    seed: int, bias: Bias = NO_BIAS, database: type[MemoryDatabase] = MemoryDatabase
) -> History:
    """Run the world of one seed to its end."""
    settings = draw(seed, bias)
    world = World(settings, database)
    faults.schedule(world, plan(settings, bias))
    return world.run()


def judged(
    seed: int, bias: Bias = NO_BIAS, database: type[MemoryDatabase] = MemoryDatabase
) -> list[str]:
    """Run a seed and name what it broke; a broken assertion of the code counts as well."""
    try:
        return violations(run_seed(seed, bias, database))
    except AssertionError as error:
        return [f"assertion: {type(error).__name__}: {error}"]


def how_to_repeat(seed: int, name: str = "", bias: str = "") -> str:
    """Return the command that runs one seed again and tells what happened in it."""
    broken = f" --break {name}" if name else ""
    biased = f" --bias {bias}" if bias else ""
    return f"python -m tests.simulation.run --first {seed} --seeds 1 --tell{broken}{biased}"


def _batch(name: str, bias: Bias, seeds: range) -> list[tuple[int, list[str]]]:
    if not name:
        return [(seed, told) for seed in seeds if (told := judged(seed, bias))]
    with planted(name) as database:
        return [(seed, told) for seed in seeds if (told := judged(seed, bias, database))]


def _results(
    name: str, bias: Bias, seeds: range, jobs: int
) -> Iterator[list[tuple[int, list[str]]]]:
    batches = [seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)]
    work: Callable[[range], list[tuple[int, list[str]]]] = partial(_batch, name, bias)
    if jobs == 1:
        yield from map(work, batches)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, batches)


def _tell(seed: int, bias: Bias, database: type[MemoryDatabase] = MemoryDatabase) -> None:
    """Print everything that happens in one seed."""
    settings = draw(seed, bias)
    print(f"net {settings.net}, pooled {settings.pooled}, slowest kill {settings.slowest_kill}")
    for node in settings.nodes:
        print(node)
    history = run_seed(seed, bias, database)
    for line in history.trace:
        print(*line)
    for fault in history.faults:
        print("fault:", fault)
    for ran in history.runs:
        until = "end" if ran.end is None else f"{ran.end:.3f}"
        print(f"run: {ran.node} term {ran.term} {ran.start:.3f} to {until}")
    print("digest:", history.digest())


def main(argv: list[str] | None = None) -> int:
    """Run the seeds and print what they broke; 1 when anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many (2000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--break", dest="broken", default="", choices=("", *PLANTED))
    parser.add_argument(
        "--bias", default="", choices=("", *PLANTED), help="worlds in which this bug shows"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--tell", action="store_true", help="tell all that happens in a seed")
    arguments = parser.parse_args(argv)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    bias = (PLANTED[arguments.bias].bias if arguments.bias else None) or NO_BIAS
    if arguments.tell:
        with planted(arguments.broken) if arguments.broken else nullcontext(MemoryDatabase) as base:
            for seed in seeds:
                _tell(seed, bias, base)
    started_at, bad = time.monotonic(), 0
    for batch in _results(arguments.broken, bias, seeds, arguments.jobs):
        for seed, told in batch:
            bad += 1
            print(f"seed {seed}: {'; '.join(told)}", flush=True)
            print(f"  again: {how_to_repeat(seed, arguments.broken, arguments.bias)}", flush=True)
    took_s = max(1e-9, time.monotonic() - started_at)
    print(f"{len(seeds)} seeds, {bad} with violations, {60 * len(seeds) / took_s:.0f} seeds/min")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
