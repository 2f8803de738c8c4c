"""Every planted bug of task groups is caught: within SEEDS_MAX seeds, or by a transcript."""

from __future__ import annotations

import pytest

from tests.simulation.group.planted import PLANTED_IN_GROUPS, planted_in_group
from tests.simulation.group.settings import GroupBias
from tests.simulation.group.transcripts import OF_PLANTED_IN_GROUPS
from tests.simulation.run import how_to_repeat, judged

SEEDS_MAX = 150
#: The unbroken code is judged in so many of the same worlds: it must break nothing there.
UNBROKEN_SEEDS = 10
SIMULATED = {name: bug.bias for name, bug in PLANTED_IN_GROUPS.items() if bug.bias is not None}


@pytest.mark.parametrize(("name", "bias"), SIMULATED.items(), ids=SIMULATED)
def test_the_simulation_catches(name: str, bias: GroupBias) -> None:
    with planted_in_group(name) as database:
        caught = next((seed for seed in range(SEEDS_MAX) if judged(seed, bias, database)), None)
    assert caught is not None, f"{PLANTED_IN_GROUPS[name].rule}: {SEEDS_MAX} seeds did not show it"

    print(f"{name}: caught by seed {caught}")
    for seed in {caught, *range(min(caught, UNBROKEN_SEEDS))}:
        told = judged(seed, bias)
        assert not told, f"the unbroken code: {told}; {how_to_repeat(seed, bias=name, of='tasks')}"


@pytest.mark.parametrize("name", sorted(set(PLANTED_IN_GROUPS) - set(SIMULATED)))
def test_a_transcript_catches(name: str) -> None:
    transcript = OF_PLANTED_IN_GROUPS[name]
    transcript()

    with planted_in_group(name), pytest.raises(AssertionError):
        transcript()
