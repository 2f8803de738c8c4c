"""Faults and an operator's changes in a task group: a plan drawn from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.simulation.group.settings import NO_GROUP_BIAS, GroupBias
from tests.simulation.plans.stories import ANY, HOLDER, OTHER, Fault, marked
from tests.simulation.world.settings import WorldSettings

#: Of a task group the holder is the observer; a worker is any other node that runs something.
OBSERVER, WORKER = HOLDER, "worker"
#: Changes of an operator to the group's record.
RECORD_KINDS = (
    *("add", "change", "move", "disable", "enable", "delete", "suspend", "resume"),
    "policy",
)
#: Faults of nodes of a task group, beside those of every node.
GROUP_NODE_KINDS = ("leave", "hang", "freeze_at_start")
#: A failover that loses the next request of a kind, and what follows it.
LOSING = "lose_next"
#: The next question of a kind arrives late: by then its node has given up, and asked again.
STALLING = "stall_next"
LOST_REQUESTS = ("TakeTasks", "TakeTasks", "ReleaseTasks", "Decide", "Join", "CatchUp", "Take")
NODE_KINDS = (
    "crash",
    "crash",
    "crash_agent",
    "crash_guardian",
    "freeze",
    "freeze",
    "freeze_agent",
    "freeze_to_the_end",
    "freeze_guardian",
    "cut",
    "cut",
    "cut_answers",
    "late_answers",
    "exit",
    "exit",
    "hang",
    "stop",
    "leave",
    "freeze_at_start",
)
BASE_KINDS = ("outage", "restart", "failover", "restore", "restore_same", "rollback", "slow")


def plan_group(settings: WorldSettings, bias: GroupBias = NO_GROUP_BIAS) -> list[Fault]:
    """Draw what happens in a seed; a bias tells its own stories, over and over."""
    rng = random.Random(f"group faults/{settings.seed}")
    until_s = settings.faults_until_s
    liveness_s = settings.nodes[0].timing.liveness_s
    faults: list[Fault] = []
    if bias.faultless:
        return []
    if bias.stories == ("one dies",):
        return marked(_one_dies(rng, 0.0, liveness_s), until_s)
    if bias.stories:
        at = rng.uniform(4.0, 6.0)
        while at < until_s - liveness_s:
            faults += STORIES[rng.choice(bias.stories)](rng, at, liveness_s)
            at += rng.uniform(2.0, 3.5) * liveness_s
        return marked(faults, until_s)
    for _ in range(rng.randint(1, 4)):
        faults.append(_single(rng, rng.uniform(1.5, until_s - 1), liveness_s))
    for _ in range(rng.randint(0, 6)):
        faults.append(Fault(rng.uniform(1.0, until_s), rng.choice(RECORD_KINDS)))
    for _ in range(rng.choice((0, 1, 1, 2))):
        story = rng.choice(tuple(STORIES.values()))
        faults += story(rng, rng.uniform(4.0, until_s - 3.5), liveness_s)
    return marked(faults, until_s)


def _single(rng: random.Random, at: float, liveness_s: float) -> Fault:
    if rng.random() < 0.75:
        target = rng.choice((OBSERVER, OBSERVER, WORKER, WORKER, OTHER, ANY))
        return Fault(at, rng.choice(NODE_KINDS), target, _while_s(rng, liveness_s))
    return _base(rng, at, rng.choice(BASE_KINDS))


def _while_s(rng: random.Random, liveness_s: float) -> float:
    """Around the lease, around the interval, short, or long."""
    short, long = rng.uniform(0.1, 2.0), rng.uniform(1.0, 2.5) * liveness_s
    return rng.choice((short, rng.uniform(0.6, 1.3) * liveness_s, long))


def _base(rng: random.Random, at: float, kind: str, back_s: float | None = None) -> Fault:
    if back_s is None:
        back_s = rng.choice((0.0, 0.2, 1.0, 3.0, 8.0, 20.0)) * rng.random()
    down_s = rng.choice((0.05, 0.3, 1.0, 4.0)) * rng.random()
    return Fault(at, kind, for_s=down_s, back_s=back_s)


# --- stories: what belongs together -------------------------------------------------------------


def _worker_pauses(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A worker is away around its whole interval, while the record changes."""
    kind = rng.choice(("freeze", "cut", "cut", "freeze_agent", "cut_answers"))
    away_s = rng.uniform(0.7, 2.0) * liveness_s
    change_at = at + rng.uniform(0.0, 1.5) * liveness_s
    return [Fault(at, kind, WORKER, away_s), Fault(change_at, rng.choice(("move", "change")))]


def _worker_beats_last(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A worker comes back shortly before its lease ends, when the observer is about to end it."""
    gaps = (number + rng.random() for number in range(3))
    return [Fault(at + gap * liveness_s, "freeze_to_the_end", WORKER) for gap in gaps]


def _late_question(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A worker's last renewal before it is cut off is answered late."""
    cut_at = at + rng.uniform(0.4, 1.0) * liveness_s
    return [
        Fault(at, "late_answers", WORKER, cut_at - at + 0.5),
        Fault(cut_at, "cut", WORKER, rng.uniform(1.3, 2.5) * liveness_s),
    ]


def _observer_dies_with_a_worker(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """The observer, which has to end the worker's session, is gone as well."""
    lag_s = rng.uniform(-0.5, 1.0) * liveness_s
    kinds = ("crash", "freeze", "cut", "leave")
    return [
        Fault(at, rng.choice(kinds), WORKER, rng.uniform(1.0, 2.5) * liveness_s),
        Fault(at + lag_s, rng.choice(kinds), OBSERVER, rng.uniform(0.5, 2.0) * liveness_s),
    ]


def _observer_looks_away(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """The observer does not see for a while, and somebody is silent at its return."""
    away_s = rng.uniform(0.5, 1.5) * liveness_s
    return [
        Fault(at, rng.choice(("freeze", "freeze_agent", "cut")), OBSERVER, away_s),
        Fault(at + rng.uniform(0.3, 1.0) * away_s, "freeze_to_the_end", WORKER),
    ]


def _handover_then_failover(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """Handovers of tasks that are lost, and a change of the record after that."""
    failover_at = at + rng.uniform(0.1, 1.5)
    faults = [
        Fault(at, rng.choice(("move", "exit", "exit", "hang", "leave")), WORKER),
        _base(rng, failover_at, "failover", rng.uniform(0.0, failover_at - at + 0.3)),
    ]
    for _ in range(rng.randint(0, 2)):
        faults.append(
            Fault(failover_at + rng.uniform(0, 2) * liveness_s, rng.choice(("move", "change")))
        )
    if rng.random() < 0.5:
        faults.append(Fault(failover_at, "cut", WORKER, rng.uniform(0.5, 1.5) * liveness_s))
    return faults


def _lost_taking(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A failover loses the taking of what was just added or moved; then others are to have it."""
    later = at + rng.uniform(1.2, 2.4) * liveness_s
    return [
        Fault(at, LOSING, "TakeTasks", rng.uniform(0.02, 1.0)),
        Fault(at + 0.02, rng.choice(("add", "move"))),
        *(Fault(later + number * 0.3, "move") for number in range(rng.randint(1, 5))),
    ]


def _lost_release(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A failover loses that a node gave a task up, and perhaps that it took it again."""
    why = rng.choice(("freeze_to_the_end", "exit", "exit", "hang", "move"))
    return [
        Fault(at, LOSING, "ReleaseTasks", rng.uniform(0.1, 1.2) * liveness_s),
        Fault(at + 0.02, why, WORKER, liveness_s),
    ]


def _lost_request(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    return [
        Fault(at, LOSING, rng.choice(LOST_REQUESTS), rng.uniform(0.02, 1.5) * liveness_s),
        _single(rng, at + rng.uniform(0.0, 0.5), liveness_s),
    ]


def _late_statement(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A statement is carried out long after its node has given it up, and gone on without it."""
    kind = rng.choice(LOST_REQUESTS)
    change_at = at + rng.uniform(0.0, 0.1)
    return [
        Fault(at, STALLING, kind, rng.uniform(0.2, 1.5) * liveness_s),
        Fault(change_at, rng.choice(("add", "move", "change"))),
        _single(rng, change_at + rng.uniform(0.0, liveness_s), liveness_s),
    ]


def _late_taking(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    return [
        Fault(at, STALLING, "TakeTasks", rng.uniform(0.3, 1.2) * liveness_s),
        Fault(at + 0.01, "add"),
    ]


def _start_is_late(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A machine stops between the order to start a program and its start."""
    return [
        Fault(at, "freeze_at_start", ANY, rng.uniform(0.8, 2.0) * liveness_s),
        Fault(at, "freeze_at_start", ANY, rng.uniform(0.8, 2.0) * liveness_s),
        *(Fault(at + 0.02 + number * 0.2, rng.choice(("add", "move"))) for number in range(3)),
    ]


def _death_then_failover(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A session's end, and who got its tasks, are among what the failover loses."""
    away_s = rng.uniform(1.0, 3.0) * liveness_s
    failover_at = at + rng.uniform(1.0, 2.0) * liveness_s
    return [
        Fault(at, rng.choice(("freeze", "crash", "cut")), WORKER, away_s),
        _base(rng, failover_at, "failover", rng.uniform(0.0, 1.5) * liveness_s),
    ]


def _pause_spans_failover(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    paused_s = rng.uniform(0.5, 2.2) * liveness_s
    failover_at = at + rng.uniform(0.1, 1.0) * paused_s
    kind = rng.choice(("freeze", "cut", "freeze_agent"))
    return [
        Fault(at, kind, rng.choice((WORKER, OBSERVER)), paused_s),
        _base(rng, failover_at, "failover", rng.uniform(0.0, 2.0) * paused_s),
    ]


def _members_come_and_go(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    step_s = rng.uniform(0.2, 0.6) * liveness_s
    return [
        Fault(at + number * step_s, rng.choice(("leave", "stop", "crash")), ANY, rng.uniform(0, 4))
        for number in range(3)
    ]


def _record_in_motion(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """One change after the other, faster than everybody can follow."""
    return [
        Fault(at + rng.uniform(0, 0.5) * liveness_s, rng.choice(RECORD_KINDS[:6])) for _ in range(6)
    ]


def _suspended_observer_dies(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """Nobody may end its session until the observer is resumed (B6)."""
    return [
        Fault(at, "suspend"),
        Fault(at + 0.3 * liveness_s, "crash", OBSERVER, 3 * liveness_s),
        Fault(at + rng.uniform(2.0, 3.0) * liveness_s, "resume"),
    ]


def _late_again(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """Beats are late again and again, and no session is lost for it."""
    return [
        Fault(at + number * liveness_s, "freeze", WORKER, 0.57 * liveness_s) for number in range(4)
    ]


def _one_dies(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    return [Fault(9.0, "crash", rng.choice((WORKER, WORKER, OBSERVER)), 60.0)]


def _crash_loop(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    return [Fault(at + number * 0.4, "exit", WORKER) for number in range(8)]


Story = Callable[[random.Random, float, float], list[Fault]]
STORIES: dict[str, Story] = {
    "worker pauses": _worker_pauses,
    "worker beats last": _worker_beats_last,
    "late question": _late_question,
    "observer dies with a worker": _observer_dies_with_a_worker,
    "observer looks away": _observer_looks_away,
    "handover then failover": _handover_then_failover,
    "lost taking": _lost_taking,
    "lost release": _lost_release,
    "lost request": _lost_request,
    "late statement": _late_statement,
    "late taking": _late_taking,
    "start is late": _start_is_late,
    "death then failover": _death_then_failover,
    "pause spans failover": _pause_spans_failover,
    "members come and go": _members_come_and_go,
    "record in motion": _record_in_motion,
    "crash loop": _crash_loop,
    "suspended observer dies": _suspended_observer_dies,
    "late again": _late_again,
}
