"""Run seeds: `python -m tests.simulation.run --seeds N [--of tasks] [--break NAME] …`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

from tests.simulation.checks.checkers import violations
from tests.simulation.group.checkers import group_violations
from tests.simulation.group.planted import PLANTED_IN_GROUPS, PlantedInGroup, planted_in_group
from tests.simulation.group.settings import NO_GROUP_BIAS, GroupBias, draw_group
from tests.simulation.group.stories import plan_group
from tests.simulation.planned import administrators
from tests.simulation.plans import faults
from tests.simulation.plans.planted import PLANTED, Planted, planted
from tests.simulation.plans.stories import plan
from tests.simulation.world.history import History
from tests.simulation.world.settings import NO_BIAS, Bias, draw
from tests.simulation.world.world import World
from tests.support.fakes.memory_store import MemoryDatabase

AnyBias = Bias | GroupBias
#: Groups with one program, and groups that spread tasks.
KINDS = ("programs", "tasks")
#: So many seeds go to a worker at once.
BATCH = 25


def run_seed(
    seed: int,
    bias: AnyBias = NO_BIAS,
    database: type[MemoryDatabase] = MemoryDatabase,
    asked: tuple[str, ...] | None = None,
) -> History:
    """Run the world of one seed to its end.

    asked: what administrators ask for beside the faults; empty: anything, None: nothing.
    """
    if isinstance(bias, GroupBias):
        settings = draw_group(seed, bias)
        planned = plan_group(settings, bias)
    else:
        settings = draw(seed, bias)
        planned = plan(settings, bias)
    settings = replace(settings, asked=asked is not None)
    world = World(settings, database)
    faults.schedule(world, planned)
    if asked is not None:
        administrators.schedule(world, administrators.acts(settings, asked))
    return world.run()


def judged(
    seed: int,
    bias: AnyBias = NO_BIAS,
    database: type[MemoryDatabase] = MemoryDatabase,
    asked: tuple[str, ...] | None = None,
) -> list[str]:
    """Run a seed and name what it broke; a broken assertion of the code counts as well."""
    try:
        history = run_seed(seed, bias, database, asked)
        return (group_violations if isinstance(bias, GroupBias) else violations)(history)
    except AssertionError as error:
        return [f"assertion: {type(error).__name__}: {error}"]


def how_to_repeat(seed: int, name: str = "", bias: str = "", *, of: str = "programs") -> str:
    """Return the command that runs one seed again and tells what happened in it."""
    broken = f" --break {name}" if name else ""
    biased = f" --bias {bias}" if bias else ""
    told = f"--first {seed} --seeds 1 --tell --of {of}{broken}{biased}"
    return f"python -m tests.simulation.run {told}"


def broken(name: str) -> AbstractContextManager[type[MemoryDatabase]]:
    """Break a rule of a node, or of a group, for a while."""
    return planted_in_group(name) if name in PLANTED_IN_GROUPS else planted(name)


def _batch(name: str, bias: AnyBias, seeds: range) -> list[tuple[int, list[str]]]:
    if not name:
        return [(seed, told) for seed in seeds if (told := judged(seed, bias))]
    with broken(name) as database:
        return [(seed, told) for seed in seeds if (told := judged(seed, bias, database))]


def _results(
    name: str, bias: AnyBias, seeds: range, jobs: int
) -> Iterator[list[tuple[int, list[str]]]]:
    batches = [seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)]
    work: Callable[[range], list[tuple[int, list[str]]]] = partial(_batch, name, bias)
    if jobs == 1:
        yield from map(work, batches)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, batches)


def _tell(seed: int, bias: AnyBias, database: type[MemoryDatabase] = MemoryDatabase) -> None:
    """Print everything that happens in one seed."""
    settings = draw_group(seed, bias) if isinstance(bias, GroupBias) else draw(seed, bias)
    print(f"net {settings.net}, pooled {settings.pooled}, slowest kill {settings.slowest_kill}")
    for one in (*settings.nodes, *settings.tasks, settings.observer_policy):
        print(one)
    history = run_seed(seed, bias, database)
    for line in history.trace:
        print(*line)
    for fault in history.faults:
        print("fault:", fault)
    for ran in history.runs:
        until = "end" if ran.end is None else f"{ran.end:.3f}"
        print(f"run: {ran.node} {ran.task} term {ran.term} {ran.start:.3f} to {until}")
    print("digest:", history.digest())


def _bias(of: str, name: str) -> AnyBias:
    """Return which worlds to run: of groups with one program, or of groups that spread tasks."""
    known: dict[str, Planted | PlantedInGroup] = {**PLANTED, **PLANTED_IN_GROUPS}
    biased = known[name].bias if name else None
    return biased or (NO_BIAS if of == "programs" else NO_GROUP_BIAS)


def _run(arguments: argparse.Namespace, of: str, seeds: range) -> int:
    """Run the seeds of one kind, and return how many broke something."""
    name, bias = arguments.broken, _bias(of, arguments.bias)
    if arguments.tell:
        with broken(name) if name else nullcontext(MemoryDatabase) as database:
            for seed in seeds:
                _tell(seed, bias, database)
    started_at, bad = time.monotonic(), 0
    for batch in _results(name, bias, seeds, arguments.jobs):
        for seed, told in batch:
            bad += 1
            print(f"seed {seed} of {of}: {'; '.join(told)}", flush=True)
            print(f"  again: {how_to_repeat(seed, name, arguments.bias, of=of)}", flush=True)
    took_s = max(1e-9, time.monotonic() - started_at)
    rate = f"{60 * len(seeds) / took_s:.0f} seeds/min"
    print(f"{of}: {len(seeds)} seeds, {bad} with violations, {rate}")
    return bad


def main(argv: list[str] | None = None) -> int:
    """Run the seeds and print what they broke; 1 when anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many of each kind (2000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    names = ("", *PLANTED, *PLANTED_IN_GROUPS)
    parser.add_argument("--break", dest="broken", default="", choices=names)
    parser.add_argument("--bias", default="", choices=names, help="worlds in which this bug shows")
    parser.add_argument("--of", default="", choices=("", *KINDS), help="only worlds of this kind")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--tell", action="store_true", help="tell all that happens in a seed")
    arguments = parser.parse_args(argv)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    bug = arguments.broken or arguments.bias
    of = arguments.of or (bug and ("tasks" if bug in PLANTED_IN_GROUPS else "programs"))
    bad = [_run(arguments, kind, seeds) for kind in ((of,) if of else KINDS)]
    return 1 if any(bad) else 0


if __name__ == "__main__":
    sys.exit(main())
