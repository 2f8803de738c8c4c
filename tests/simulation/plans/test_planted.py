"""Every planted bug is caught: by the simulation within SEEDS_MAX seeds, or by a transcript."""

from __future__ import annotations

import pytest

from coordinator.protocol.messages.requests import Join, RaiseFloor
from tests.conformance.worlds import facts_of, take_request
from tests.simulation.plans import transcripts
from tests.simulation.plans.planted import PLANTED, FloorIgnored, patched, planted
from tests.simulation.run import how_to_repeat, judged
from tests.simulation.world.settings import Bias
from tests.support.fakes.memory_database import MemoryDatabase

SEEDS_MAX = 2000
#: Of so many worlds in which a guardian freezes early, more than half show what `echo` breaks.
ENOUGH_SEEDS = 20
SIMULATED = {name: bug.bias for name, bug in PLANTED.items() if bug.bias is not None}


@pytest.mark.parametrize(("name", "bias"), SIMULATED.items(), ids=SIMULATED)
def test_the_simulation_catches(name: str, bias: Bias) -> None:
    caught, first = -1, PLANTED[name].first
    with planted(name) as database:
        for seed in range(first, first + SEEDS_MAX):
            if judged(seed, bias, database):
                caught = seed
                break
    assert caught >= 0, f"{PLANTED[name].rule}: broken, and {SEEDS_MAX} seeds did not show it"

    print(f"{name}: caught by seed {caught}")
    for seed in range(first, caught + 1):
        told = judged(seed, bias)
        assert not told, f"the unbroken code: {told}; {how_to_repeat(seed, bias=name)}"


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in SIMULATED if PLANTED[name].first])
def test_the_unbroken_code_keeps_its_promises_before_the_first_seed(name: str) -> None:
    """Judge the worlds of the same kind that the test above leaves out."""
    bug = PLANTED[name]
    assert bug.bias is not None
    for seed in range(bug.first):
        assert judged(seed, bug.bias) == [], how_to_repeat(seed, bias=name)


@pytest.mark.parametrize("name", sorted(set(PLANTED) - set(SIMULATED)))
def test_a_transcript_catches(name: str) -> None:
    transcript = transcripts.OF_PLANTED[name]
    transcript()

    with planted(name), pytest.raises(AssertionError):
        transcript()


def test_an_echo_that_fails_is_enough_where_nobody_looks_at_deadlines() -> None:
    """G7: of the three that `echo` breaks, the first alone keeps the promise."""
    bug = PLANTED["echo"]
    assert bug.bias is not None
    unbroken = tuple(patch for patch in bug.patches if patch[1] != "is_frozen")
    assert len(unbroken) == len(bug.patches) - 1
    with patched(unbroken):
        for seed in range(ENOUGH_SEEDS):
            assert judged(seed, bug.bias) == [], how_to_repeat(seed, bias="echo")


def test_the_rules_are_whole_again_afterwards() -> None:
    before = [getattr(module, rule) for bug in PLANTED.values() for module, rule, _ in bug.patches]
    for name in PLANTED:
        with planted(name):
            pass
    after = [getattr(module, rule) for bug in PLANTED.values() for module, rule, _ in bug.patches]
    assert before == after


def test_an_ignored_floor_gives_a_remembered_term_out_again() -> None:
    """N3: terms that are the clock's hide it in the simulation; on the first branch it decides."""
    assert _term_above_a_floor_of_41(MemoryDatabase()) == 42
    assert _term_above_a_floor_of_41(FloorIgnored()) <= 41


def _term_above_a_floor_of_41(database: MemoryDatabase) -> int:
    facts = facts_of("a")
    database.prepare(facts)
    assert database.carry_out(facts, Join(session="s", previous=None)).done
    assert database.carry_out(facts, RaiseFloor(term=41)).done
    request = take_request("s", database.view(facts), next_term=1)
    return database.carry_out(facts, request).term
