"""Settings of one world of a task group: drawn from its seed, before anything happens in it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from coordinator.protocol.group.observer import ObserverPolicy
from coordinator.protocol.messages.group_record import OnDone, OnPartition, TaskDef, TasksPolicy
from coordinator.protocol.rules.timing import RATE_ERROR, Timing
from tests.simulation.world.settings import Net, NodeSettings, WorldSettings

#: livenessCheckInterval and heartbeatFrequency of a group; short, so that a world is soon over.
TIMINGS = ((3.0, 0.6), (3.0, 0.9), (3.0, 1.0), (4.0, 1.0))
#: The share of worlds in which all is judged once more after the last fault; half of a world's
#: time goes by until then, in which nothing goes wrong.
TO_CALM = 0.2
#: For so long things go wrong, in seconds; where the same stories are told over and over, longer.
SHORT_S = (9.0, 13.5)
LONG_S = (14.0, 22.0)
#: The spec of a task never matters here: what is run is simulated.
SPEC = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBias:
    """Settings that a world must have, because a planted bug, or a promise, shows itself there.

    stories: names of group_stories.STORIES that are told instead of drawn ones.
    plain:   tasks without any wish: no preferred node, no policy.
    faultless: nothing at all goes wrong, and nothing is lost on the way.
    to_calm:   all is judged once more at the end, in each world.
    deaf:      the database notifies some connections of nothing.
    until_s:   how long things may go wrong, with nothing lost on the way; 0.0: as drawn.
    """

    stories: tuple[str, ...] = ()
    extreme: bool = False
    plain: bool = False
    faultless: bool = False
    to_calm: bool = False
    deaf: bool = False
    until_s: float = 0.0
    nodes: int = 0
    tasks: int = 0
    timing: tuple[float, float] | None = None


NO_GROUP_BIAS = GroupBias()


def draw_group(seed: int, bias: GroupBias = NO_GROUP_BIAS) -> WorldSettings:
    """Return the world of a seed."""
    rng = random.Random(f"group/{seed}")
    intervals = rng.choice(TIMINGS) if bias.timing is None else bias.timing
    extreme = rng.random() < 0.5 or bias.extreme
    count = bias.nodes or rng.choice((3, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 7))
    nodes = tuple(_node(rng, number, intervals, extreme) for number in range(count))
    if bias.faultless or bias.until_s:
        nodes = tuple(replace(node, joins_at=None) for node in nodes)
    task_count = bias.tasks or rng.choice((5, 5, 5, 5, 5, 6, 6, 6, 8, 8, 10, 10, 12, 30))
    names = [node.name for node in nodes]
    tasks = tuple(
        TaskDef(name=f"t{number}") if bias.plain else draw_task(rng, f"t{number}", names)
        for number in range(task_count)
    )
    still = bias.faultless or bias.until_s > 0
    net = Net(
        lost=rng.choice((0.0, 0.0, 0.0, 0.01, 0.03, 0.1)),
        stalled=rng.choice((0.0, 0.0, 0.01, 0.03)),
        slow_s=rng.choice((0.002, 0.002, 0.005, 0.03)),
    )
    return WorldSettings(
        seed=seed,
        nodes=nodes,
        net=Net() if still else net,
        pooled=rng.random() < 0.15 and not still,
        slowest_kill=extreme,
        faults_until_s=bias.until_s or rng.uniform(*(LONG_S if bias.stories else SHORT_S)),
        tasks=tasks,
        observer_policy=ObserverPolicy(
            to_member_s=rng.choice((0.0, 0.3, 1.0)),
            late_max=rng.choice((2, 3)),
            late_within_s=rng.choice((5.0, 10.0)),
            grace_s=rng.choice((0.0, 0.3, 1.0)),
        ),
        push=rng.random() < 0.75 or bias.deaf,
        to_calm=rng.random() < TO_CALM or bias.to_calm,
        deaf=bias.deaf or (rng.random() < 0.1 and not still and not bias.plain),
    )


def _node(
    rng: random.Random, number: int, intervals: tuple[float, float], extreme: bool
) -> NodeSettings:
    liveness_s, heartbeat_s = intervals
    bounds = (1 - RATE_ERROR, 1 + RATE_ERROR)
    return NodeSettings(
        name=f"n{number}",
        label=f"n{number}",
        rate=rng.choice(bounds) if extreme else rng.uniform(*bounds),
        offset_s=rng.uniform(10.0, 1000.0),
        timing=Timing(liveness_s=liveness_s, heartbeat_s=heartbeat_s),
        priority=rng.choice((1, 1, 1, 1, 1, 1, 2, 0)) if number else 1,
        obeys_term=rng.random() < (0.4 if extreme else 0.7),
        leaves_children=rng.random() < 0.15,
        joins_at=rng.uniform(2.0, 10.0) if number > 1 and rng.random() < 0.15 else None,
    )


def draw_policy(rng: random.Random) -> TasksPolicy:
    """Return what an operator makes the group's policy: a part of it stays each node's own."""
    return TasksPolicy(
        to_member_s=rng.choice((None, 0.0, 0.5)),
        late_max=rng.choice((None, 0, 1, 4)),
        late_within_s=rng.choice((None, 3.0)),
        grace_s=rng.choice((None, 0.0, 0.5)),
    )


def draw_task(rng: random.Random, name: str, nodes: list[str]) -> TaskDef:
    """Return a task: most have no wish at all."""
    preferred = rng.choice(nodes) if rng.random() < 0.2 else None
    allowed = tuple(sorted(rng.sample(nodes, 2))) if rng.random() < 0.15 else ()
    repeatable = rng.random() < 0.15
    return TaskDef(
        name=name,
        enabled=rng.random() < 0.95,
        nodes=allowed,
        preferred=preferred,
        pinned=preferred is not None and rng.random() < 0.15,
        failover=rng.random() < 0.95,
        failback=rng.random() < 0.8,
        on_partition=OnPartition.CONTINUE if repeatable else OnPartition.STOP,
        on_done=rng.choice((OnDone.RESTART, OnDone.RESTART, OnDone.RELEASE, OnDone.FINISH)),
        progress_s=2.0 if rng.random() < 0.1 else 0.0,
        stop_timeout_s=0.05 if rng.random() < 0.1 else 0.0,
        spec=SPEC,
    )
