"""The promises about tasks hold in groups in which everything goes wrong; quiet ones rest."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from coordinator.protocol.rules.timing import RATE_ERROR
from tests.simulation.group import stories
from tests.simulation.group.checkers import alone_s
from tests.simulation.group.settings import NO_GROUP_BIAS, GroupBias, draw_group
from tests.simulation.group.transcripts import FOUND_IN_GROUPS, OF_PLANTED_IN_GROUPS
from tests.simulation.run import how_to_repeat, judged, run_seed

#: `make simulate` tries more. In chunks, which spread over the workers of a parallel test run:
#: every change meets the first one, `make faults` all.
SEEDS = 500
CHUNK = 100
FIRSTS = [0, *(pytest.param(first, marks=pytest.mark.long) for first in range(CHUNK, SEEDS, CHUNK))]
#: Worlds of one kind, for one promise each.
QUIET_SEEDS = 25
DEATHS_SEEDS = 40
#: After this every node of a faultless group has joined and become a Member.
WARM_S = 8.0
#: From the decision to the first line of the successor's program: two ways to the database, a
#: look at the record not sooner than 0.1 s after the last one, and the start.
TAKEN_WITHIN_S = 0.5
FAULTLESS = GroupBias(faultless=True)
ONE_DIES = GroupBias(stories=("one dies",), plain=True, until_s=22.0, to_calm=True)


@pytest.mark.parametrize("first", FIRSTS)
def test_no_promise_about_tasks_is_broken(first: int) -> None:
    """K2, K5, H1, H3, H5, H9, H10: whatever happens, and agreement after it."""
    began = time.monotonic()
    seeds = range(first, first + CHUNK)
    broken = {seed: told for seed in seeds if (told := judged(seed, NO_GROUP_BIAS))}
    print(f"{60 * CHUNK / (time.monotonic() - began):.0f} seeds/min")

    told = [
        f"seed {seed}: {'; '.join(told)}\n  {how_to_repeat(seed, of='tasks')}"
        for seed, told in broken.items()
    ]
    assert not broken, "\n".join(told)


@pytest.mark.parametrize("seed", range(QUIET_SEEDS))
def test_nothing_changes_hands_in_a_quiet_group(seed: int) -> None:
    """K4: the same node keeps its task while it lives."""
    history = run_seed(seed, FAULTLESS)

    late = [grant for grant in history.grants if grant.at > WARM_S]
    ends = [run for run in history.runs if run.end is not None and run.end > WARM_S]
    assert history.runs
    assert not late
    assert not ends


def test_tasks_of_a_dead_node_run_again_in_time() -> None:
    """K5: the observer's wait, one look of it, one beat of the successor, and a start."""
    waits: list[float] = []
    for seed in range(DEATHS_SEEDS):
        settings = draw_group(seed, ONE_DIES)
        history = run_seed(seed, ONE_DIES)
        timing = settings.nodes[0].timing
        slowest = 1 / (1 - RATE_ERROR)
        bound_s = (timing.liveness_s + 2 * timing.heartbeat_s) * slowest + TAKEN_WITHIN_S
        died = [entry for entry in history.trace if entry[1] == "fault" and entry[4]]
        assert len(died) == 1
        at, node = float(str(died[0][0])), str(died[0][3])

        found = alone_s(history, node, at)

        waits += found.values()
        late = {task: waited_s for task, waited_s in found.items() if waited_s > bound_s}
        assert not late, f"seed {seed}: {late}, bound {bound_s:.2f} s"
    assert len(waits) > DEATHS_SEEDS


def test_one_seed_is_one_group() -> None:
    for seed in range(6):
        first = run_seed(seed, NO_GROUP_BIAS).digest()
        assert first == run_seed(seed, NO_GROUP_BIAS).digest()


def test_every_kind_of_trouble_is_there() -> None:
    worlds = [draw_group(seed) for seed in range(400)]
    planned = {fault.kind for world in worlds for fault in stories.plan_group(world)}

    kinds = {
        *stories.NODE_KINDS,
        *stories.BASE_KINDS,
        *stories.RECORD_KINDS,
        stories.LOSING,
        stories.STALLING,
    }
    assert planned == kinds
    assert {len(world.nodes) for world in worlds} == {3, 4, 5, 7}
    assert {len(world.tasks) for world in worlds} >= {5, 30}
    assert any(world.pooled for world in worlds)
    assert any(not world.push for world in worlds)
    assert any(node.joins_at for world in worlds for node in world.nodes)


def test_tasks_run_and_change_hands() -> None:
    histories = [run_seed(seed, NO_GROUP_BIAS) for seed in range(30)]

    assert sum(len(history.runs) for history in histories) > 8 * len(histories)
    assert sum(history.outcome is not None for history in histories) > 5


@pytest.mark.parametrize(
    "transcript", [*FOUND_IN_GROUPS, *OF_PLANTED_IN_GROUPS.values()], ids=lambda t: t.__name__
)
def test_transcript(transcript: Callable[[], None]) -> None:
    transcript()
