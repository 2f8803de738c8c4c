"""The promises hold in worlds with every kind of fault, and one seed is one world."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.simulation.checks.checkers import violations
from tests.simulation.plans import stories
from tests.simulation.plans.transcripts import FOUND, OF_PLANTED
from tests.simulation.run import how_to_repeat, judged, run_seed
from tests.simulation.world.settings import Bias, draw

#: `make simulate` tries more. In chunks, which spread over the workers of a parallel test run:
#: every change meets the first one, `make faults` all.
SEEDS = 500
CHUNK = 125
FIRSTS = [0, *(pytest.param(first, marks=pytest.mark.long) for first in range(CHUNK, SEEDS, CHUNK))]
#: Worlds whose programs have a state.
STATE_SEEDS = 60
#: Worlds whose standbys start their programs behind gates.
GATE_SEEDS = 60


@pytest.mark.parametrize("first", FIRSTS)
def test_no_promise_is_broken(first: int) -> None:
    """W4, W8: no overlap, rising terms, granted terms, and a holder after all has healed."""
    began = time.monotonic()
    broken = {seed: told for seed in range(first, first + CHUNK) if (told := judged(seed))}
    print(f"{60 * CHUNK / (time.monotonic() - began):.0f} seeds/min")

    told = [
        f"seed {seed}: {'; '.join(told)}\n  {how_to_repeat(seed)}" for seed, told in broken.items()
    ]
    assert not broken, "\n".join(told)


def test_a_state_goes_from_holder_to_holder_and_never_back() -> None:
    """Y1, Y4: saved under rising terms, and begun with by whoever comes next."""
    histories = [run_seed(seed, Bias(states=True)) for seed in range(STATE_SEEDS)]

    broken = {history.seed: told for history in histories if (told := violations(history))}
    assert not broken, broken
    traces = [line for history in histories for line in history.trace]
    begun = [line[4:] for line in traces if line[2:3] == ("begins",)]
    assert len({number for _, number in begun}) > STATE_SEEDS / 2


def test_a_program_behind_a_gate_keeps_every_promise() -> None:
    """Y5 to Y7: nothing acts before its gate is open, and then as any other program."""
    histories = [run_seed(seed, Bias(gates=True)) for seed in range(GATE_SEEDS)]

    broken = {history.seed: told for history in histories if (told := violations(history))}
    assert not broken, broken
    assert sum(len(history.runs) for history in histories) > 3 * len(histories)


def test_one_seed_is_one_world() -> None:
    for seed in range(12):
        assert run_seed(seed).digest() == run_seed(seed).digest()


def test_settings_of_a_seed_are_the_same_in_every_process() -> None:
    program = "from tests.simulation.world.settings import draw; print(draw(402))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout.strip() == repr(draw(402))


def test_every_kind_of_fault_is_there() -> None:
    planned = {fault.kind for seed in range(300) for fault in stories.plan(draw(seed))}
    kinds = (stories.NODE_KINDS, stories.PAIR_KINDS, stories.BASE_KINDS, ("hang",))
    assert planned == {kind for each in kinds for kind in each}
    worlds = [draw(seed) for seed in range(300)]
    assert any(world.hung.progress_s for world in worlds)
    assert any(world.hung.health for world in worlds)
    assert {len(world.nodes) for world in worlds} >= {2, 3, 5}
    assert any(world.pooled for world in worlds)
    assert any(len({node.timing for node in world.nodes}) > 1 for world in worlds)
    assert any(len({node.name for node in world.nodes}) < len(world.nodes) for world in worlds)


def test_programs_run_and_change_hands() -> None:
    histories = [run_seed(seed) for seed in range(40)]
    assert sum(len(history.runs) for history in histories) > 3 * len(histories)
    assert all(history.runs for history in histories)


@pytest.mark.parametrize("transcript", [*FOUND, *OF_PLANTED.values()], ids=lambda t: t.__name__)
def test_transcript(transcript: Callable[[], None]) -> None:
    transcript()
