"""One-offs never run beside another holding, whatever fails (rules M12, M13, L1, L2)."""

from __future__ import annotations

import pytest

from coordinator.protocol.node.side_runs import one_offs, runs
from coordinator.protocol.node.state import node as node_state
from coordinator.protocol.node.state.side_runs import Kind
from tests.simulation.checks.checkers import beside_another, violations
from tests.simulation.one_offs import askers
from tests.simulation.plans import faults
from tests.simulation.plans.stories import plan
from tests.simulation.world.history import History, Ran
from tests.simulation.world.settings import draw
from tests.simulation.world.world import World
from tests.support.fakes.memory_database import MemoryDatabase

SEEDS = 25
#: A broken rule shows in one of the first so many worlds.
PLANTED_SEEDS = 200


def run(seed: int) -> History:
    """Run one world in which one-offs are asked for."""
    settings = draw(seed)
    world = World(settings, MemoryDatabase)
    faults.schedule(world, plan(settings))
    askers.schedule(world)
    return world.run()


def test_one_offs_keep_every_promise() -> None:
    """M12, M13: dead before another holding acts; and programs start and end as without them."""
    histories = [run(seed) for seed in range(SEEDS)]

    broken = {history.seed: told for history in histories if (told := violations(history))}
    assert not broken, broken
    assert sum(len(history.one_offs) for history in histories) > 5 * SEEDS


def _no_deadline(_node: node_state.Node, _side: object) -> float:
    return float("inf")


def _none_is_left(node: node_state.Node) -> bool:
    """Forget the one-offs where a release, a join or a take asks for what is left."""
    return node.run is not None


def _only_programs(node: node_state.Node, reason: str) -> tuple[object, ...]:
    """Kill the other side runs only, where the token is lost."""
    return runs.checks_killed(node, reason)


@pytest.mark.parametrize(
    "patches",
    [
        pytest.param([(runs, "_deadline", _no_deadline)], id="without-a-deadline"),
        pytest.param(
            [
                (node_state, "own_program_left", _none_is_left),
                (node_state, "clearing_up", _none_is_left),
                (node_state, "awaited", lambda *_: False),
                (runs, "killed", _only_programs),
                (one_offs, "stop", lambda node: (node, ())),
                (one_offs, "lost", lambda node: (node, ())),
            ],
            id="outliving-its-holding",
        ),
    ],
)
def test_a_broken_rule_shows(patches, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, rule, broken in patches:
        monkeypatch.setattr(module, rule, broken)

    told = (
        beside_another(it.one_offs, it.runs, it.ended_at) for it in map(run, range(PLANTED_SEEDS))
    )

    assert any(told)


def test_the_judge_knows_whose_one_off_it_is() -> None:
    own = Ran("a", "s1", 1, 1, 0.0, 5.0)
    other = Ran("b", "s2", 2, 2, 5.0, 9.0)
    late = Ran("a", "s1", 1, 3, 4.0, 5.5, task=Kind.ONE_OFF)

    assert beside_another([Ran("a", "s1", 1, 3, 4.0, 5.0)], [own, other], 9.0) == []
    assert len(beside_another([late], [own, other], 9.0)) == 1
