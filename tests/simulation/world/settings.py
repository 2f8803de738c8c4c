"""Settings of one world: drawn from its seed, before anything happens in it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from coordinator.protocol.group.observer import ObserverPolicy
from coordinator.protocol.messages.group_record import TaskDef
from coordinator.protocol.node.state.node import OnExit
from coordinator.protocol.node.state.side_runs import HealthPolicy, HookPolicy, HungPolicy
from coordinator.protocol.rules.timing import RATE_ERROR, Timing

GROUP = "G"

#: A program that nobody watches.
NOT_WATCHED = HungPolicy()
NO_HOOKS = HookPolicy()
HOOKS = HookPolicy(before_start_s=1.0, after_stop_s=1.0, on_change_s=1.0)
#: livenessCheckInterval and heartbeatFrequency that the nodes may be given.
TIMINGS = ((3.0, 0.6), (3.0, 1.0), (4.0, 1.0), (4.5, 0.9), (6.0, 1.2), (6.0, 2.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """One node: its clock, its intervals, and how its program behaves."""

    name: str
    label: str  #: its name, or another one for a second machine that was given the same name
    rate: float  #: local seconds per true second, within RATE_ERROR of one
    offset_s: float
    timing: Timing
    priority: int = 1
    on_exit: OnExit = OnExit.RESTART
    obeys_term: bool = True  #: the program ends on SIGTERM; else only on SIGKILL
    leaves_children: bool = False
    joins_at: float | None = None  #: None: with the others, within the first second


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """Quality of the path to the database while faults go on; afterwards the path is good."""

    lost: float = 0.0  #: the share of questions, and of answers, that never arrive
    stalled: float = 0.0  #: the share of questions that are carried out seconds later
    slow_s: float = 0.003  #: the typical time of one way


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSettings:
    """Everything of a world but its faults.

    pooled: connections go through a pooler, so that they, and statements under way, outlive a
            restart or a failover of the server behind it.
    slowest_kill: killing takes as long as it may, and every clock is as wrong as it may be.
    """

    seed: int
    nodes: tuple[NodeSettings, ...]
    net: Net
    pooled: bool = False
    slowest_kill: bool = False
    faults_until_s: float = 45.0
    tasks: tuple[TaskDef, ...] = ()
    observer_policy: ObserverPolicy | None = None  #: of a group that spreads tasks
    push: bool = True  #: the database's notifications arrive where no pooler stands between
    deaf: bool = False  #: some connections are told of nothing, and rely on being told
    hooks: HookPolicy = NO_HOOKS
    hung: HungPolicy = NOT_WATCHED  #: of the group's own program
    copied: bool = False  #: a standby has followed the first branch from the start
    saves_states: bool = False  #: programs save a state, and begin with that of the last one
    asked: bool = False  #: administrators ask for planned changes
    gates: bool = False  #: standbys start their programs behind gates
    to_calm: bool = True  #: it goes on after the last fault until all must have been put right

    @property
    def longest_liveness_s(self) -> float:
        """The longest livenessCheckInterval of any node, in true seconds of the slowest clock."""
        return max(node.timing.liveness_s for node in self.nodes) / (1 - RATE_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """Settings that a world is made to have, because a planted bug shows itself there.

    stories: names of stories.STORIES that are told instead of drawn ones.
    """

    stories: tuple[str, ...] = ()
    extreme: bool = False
    twin: bool = False
    pooled: bool = False
    hung: HungPolicy | None = None
    timing: tuple[float, float] | None = None
    states: bool = False
    gates: bool = False


NO_BIAS = Bias()


def draw(seed: int, bias: Bias = NO_BIAS) -> WorldSettings:
    """Return the world of a seed."""
    rng = random.Random(f"world/{seed}")
    count = rng.choice((3, 3, 3, 3, 3, 2, 2, 5))
    mixed = rng.random() < 0.2
    shared = rng.choice(TIMINGS)
    if bias.timing is not None:
        mixed, shared = False, bias.timing
    extreme = rng.random() < 0.5 or bias.extreme
    nodes = tuple(
        _node(rng, number, rng.choice(TIMINGS) if mixed else shared, extreme)
        for number in range(count)
    )
    if rng.random() < 0.04 or bias.twin:
        nodes = (*nodes, replace(nodes[0], label="twin", offset_s=5.0))
    net = Net(
        lost=rng.choice((0.0, 0.02, 0.08, 0.2)),
        stalled=rng.choice((0.0, 0.02, 0.08)),
        slow_s=rng.choice((0.002, 0.005, 0.03, 0.15)),
    )
    return WorldSettings(
        seed=seed,
        nodes=nodes,
        net=net,
        pooled=rng.random() < 0.15 or bias.pooled,
        slowest_kill=extreme,
        faults_until_s=rng.uniform(25.0, 45.0),
        deaf=rng.random() < 0.1,
        hung=_hung(seed) if bias.hung is None else bias.hung,
        hooks=HOOKS if seed % 7 == 0 and not bias.stories else NO_HOOKS,
        copied=seed % 2 == 1,
        saves_states=bias.states,
        gates=bias.gates,
    )


def _hung(seed: int) -> HungPolicy:
    """Have the program watched in a part of the worlds; the other draws stay as they are."""
    rng = random.Random(f"hung/{seed}")
    if rng.random() < 0.7:
        return NOT_WATCHED
    health = HealthPolicy(
        interval_s=rng.uniform(0.3, 1.0),
        timeout_s=rng.uniform(0.2, 0.8),
        failures_max=rng.randint(1, 3),
        delay_s=rng.uniform(0.0, 2.0),
    )
    progress_s = rng.choice((0.0, rng.uniform(1.0, 3.0)))
    return HungPolicy(progress_s=progress_s, health=health if rng.random() < 0.7 else None)


def _node(
    rng: random.Random, number: int, intervals: tuple[float, float], extreme: bool
) -> NodeSettings:
    liveness_s, heartbeat_s = intervals
    patient = random.Random(repr(rng.getstate()))  # the other draws of a seed stay as they are
    bounds = (1 - RATE_ERROR, 1 + RATE_ERROR)
    return NodeSettings(
        name=f"n{number}",
        label=f"n{number}",
        rate=rng.choice(bounds) if extreme else rng.uniform(*bounds),
        offset_s=rng.uniform(10.0, 1000.0),
        timing=Timing(
            liveness_s=liveness_s,
            heartbeat_s=heartbeat_s,
            stop_timeout_s=patient.uniform(0.5, 1.5) * liveness_s if patient.random() < 0.3 else -1,
        ),
        priority=rng.choice((1, 1, 1, 1, 1, 2)),
        on_exit=rng.choice((OnExit.RESTART, OnExit.RESTART, OnExit.RELEASE)),
        obeys_term=rng.random() < (0.4 if extreme else 0.7),
        leaves_children=rng.random() < 0.15,
    )
