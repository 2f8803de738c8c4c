"""Faults and their moments: a plan drawn from the seed, biased towards what finds rare holes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.world.settings import NO_BIAS, NOT_WATCHED, Bias, WorldSettings

#: A fault on one node chooses it when it happens, not when it is planned.
HOLDER, OTHER, ANY = "holder", "other", "any"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: at a moment, on whom, for how long; back_s: how much the database forgets."""

    at: float
    kind: str
    target: str = ANY
    for_s: float = 0.0
    back_s: float = 0.0
    mark: int = 0


def plan(settings: WorldSettings, bias: Bias = NO_BIAS) -> list[Fault]:
    """Draw the faults of a seed; a bias tells its own stories, over and over."""
    rng = random.Random(f"faults/{settings.seed}")
    until_s = settings.faults_until_s
    liveness_s = max(node.timing.liveness_s for node in settings.nodes)
    faults: list[Fault] = []
    if settings.hung != NOT_WATCHED and not bias.stories:
        hangs = random.Random(f"hangs/{settings.seed}")
        faults += [Fault(hangs.uniform(2.0, until_s - 1), "hang", HOLDER) for _ in range(2)]
    if bias.stories:
        at = rng.uniform(4.0, 6.0)
        while at < until_s - 2 * liveness_s:
            faults += (STORIES | WATCHED)[rng.choice(bias.stories)](rng, at, liveness_s)
            at += rng.uniform(3.5, 5.0) * liveness_s
        return marked(faults, until_s)
    for _ in range(rng.randint(1, 7)):
        faults.append(_single(rng, rng.uniform(1.5, until_s - 1), liveness_s))
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3))):
        story = rng.choice(tuple(STORIES.values()))
        faults += story(rng, rng.uniform(4.0, until_s - 6.0), liveness_s)
    return marked(faults, until_s)


def marked(faults: list[Fault], until_s: float) -> list[Fault]:
    """Sort the faults, drop those after the end, and give each loss of commits its own mark."""
    kept = sorted((f for f in faults if 0 < f.at < until_s), key=lambda f: f.at)
    return [
        Fault(f.at, f.kind, f.target, min(f.for_s, until_s - f.at), f.back_s, mark)
        for mark, f in enumerate(kept, start=1)
    ]


NODE_KINDS = (
    "crash",
    "crash_agent",
    "crash_guardian",
    "freeze",
    "freeze",
    "freeze_agent",
    "freeze_to_the_end",
    "freeze_guardian",
    "freeze_both",
    "freeze_guardian_crash_agent",
    "cut",
    "cut_answers",
    "late_answers",
    "exit",
    "stop",
    "resign",
)
#: Faults of guardian and agent at the same time: the spare alone is left.
PAIR_KINDS = ("freeze_both", "freeze_guardian_crash_agent", "crash_agent_freeze_guardian")
#: Faults of processes; at a time only one process of a node fails, or one such pair.
PROCESS_KINDS = (
    "crash_agent",
    "crash_guardian",
    "freeze_agent",
    "freeze_to_the_end",
    "freeze_guardian",
    *PAIR_KINDS,
)
BASE_KINDS = (
    "outage",
    "restart",
    "failover",
    "failover",
    "restore",
    "restore_same",
    "rollback",
    "mistake",
    "slow",
)


def _single(rng: random.Random, at: float, liveness_s: float) -> Fault:
    if rng.random() < 0.7:
        target = rng.choice((HOLDER, HOLDER, OTHER, ANY))
        return Fault(at, rng.choice(NODE_KINDS), target, _while_s(rng, liveness_s))
    return _base(rng, at, rng.choice(BASE_KINDS))


def _while_s(rng: random.Random, liveness_s: float) -> float:
    """Around the lease, around the interval, short, or long."""
    short, long = rng.uniform(0.1, 2.0), rng.uniform(1.0, 2.5) * liveness_s
    return rng.choice((short, rng.uniform(0.6, 1.3) * liveness_s, long))


def _base(rng: random.Random, at: float, kind: str, back_s: float | None = None) -> Fault:
    if back_s is None:
        back_s = rng.choice((0.0, 0.2, 1.0, 3.0, 8.0, 40.0)) * rng.random()
    down_s = rng.choice((0.05, 0.3, 1.0, 5.0)) * rng.random()
    return Fault(at, kind, for_s=down_s, back_s=back_s)


# --- stories: faults that belong together -------------------------------------------------------


def _pause_spans_failover(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    paused_s = rng.uniform(0.5, 2.2) * liveness_s
    kind = rng.choice(("freeze", "freeze", "cut", "freeze_agent"))
    failover_at = at + rng.uniform(0.1, 1.0) * paused_s
    return [
        Fault(at, kind, rng.choice((HOLDER, HOLDER, OTHER)), paused_s),
        _base(rng, failover_at, "failover", rng.uniform(0.0, 2.0) * paused_s),
    ]


def _takeover_then_failover(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """The takeover is among what the failover loses, and its winner may be cut off."""
    away_s = rng.uniform(1.0, 3.0) * liveness_s
    failover_at = at + rng.uniform(1.0, 1.8) * liveness_s
    faults = [
        Fault(at, rng.choice(("freeze", "crash", "cut")), HOLDER, away_s),
        _base(rng, failover_at, "failover", rng.uniform(0.0, 1.2) * liveness_s),
    ]
    if rng.random() < 0.6:
        lag_s = rng.uniform(-0.3, 0.1)
        faults.append(Fault(failover_at + lag_s, "cut", HOLDER, rng.uniform(0.5, 2) * liveness_s))
    return faults


def _handover_then_failover(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A release and a take that are lost, with answers lost around them: an unknown take."""
    failover_at = at + rng.uniform(0.05, 1.5)
    faults = [
        Fault(at, rng.choice(("resign", "stop", "crash_agent", "exit")), HOLDER),
        _base(rng, failover_at, "failover", rng.uniform(0.0, failover_at - at + 0.5)),
    ]
    if rng.random() < 0.7:
        faults.append(Fault(at + rng.uniform(-0.2, 0.3), "cut_answers", OTHER, rng.uniform(0.2, 2)))
    if rng.random() < 0.6:
        faults.append(Fault(failover_at, "cut", HOLDER, rng.uniform(0.5, 1.5) * liveness_s))
    return faults


def _join_in_lost_part(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    failover_at = at + rng.uniform(0.5, 2.5) * liveness_s
    return [
        Fault(at, rng.choice(("crash", "crash", "crash_agent")), ANY, rng.uniform(0.1, 1.0)),
        _base(rng, failover_at, "failover", failover_at - at + rng.uniform(-1.0, 2.0)),
    ]


def _failover_twice(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    gap_s = rng.uniform(0.2, 1.5) * liveness_s
    second = rng.choice(("failover", "restart", "restore", "restore_same"))
    return [
        _base(rng, at, "failover", rng.uniform(0.0, 6.0)),
        Fault(at + rng.uniform(0, gap_s), rng.choice(("freeze", "cut")), HOLDER, 2 * liveness_s),
        _base(rng, at + gap_s, second, rng.uniform(0.0, 8.0)),
    ]


def _mistake_with_memory(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A promotion by mistake beside the first branch, whose terms know nothing of its own."""
    anew_at = at + 4.5 * liveness_s
    return [
        Fault(at, "mistake", for_s=2.3 * liveness_s, back_s=0.1),
        Fault(at + 1.4 * liveness_s, rng.choice(("resign", "crash")), HOLDER, 0.5),
        *(Fault(anew_at, "crash", f"n{number}", 0.5) for number in range(5) if rng.random() < 0.8),
        Fault(anew_at + 1.5, rng.choice(("crash", "resign")), HOLDER, 0.5),
    ]


def _mistake_taken_late(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A promotion by mistake beside the first branch, whose last taking not every node has seen."""
    lasts_s = rng.uniform(2.2, 2.6) * liveness_s
    handover_at = at + lasts_s - rng.uniform(0.2, 1.5)
    return [
        Fault(at, "mistake", for_s=lasts_s, back_s=0.1),
        Fault(handover_at, rng.choice(("resign", "resign", "stop")), HOLDER),
    ]


def _number_given_again(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A failover, takings under its number, another failover from before it; nodes start anew."""
    second_at = at + rng.uniform(1.5, 3.0) * liveness_s
    anew = [
        Fault(second_at + rng.uniform(-0.5, 0.3), "crash", f"n{number}", rng.uniform(0.1, 0.8))
        for number in range(5)
        if rng.random() < 0.8
    ]
    return [
        _base(rng, at, "restore_same", 0.3),
        Fault(at + 1.3 * liveness_s, rng.choice(("resign", "crash", "exit")), HOLDER, 0.3),
        _base(rng, second_at, "restore_same", second_at - at + 0.5),
        *anew,
    ]


def _rolled_back(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """Copies of the files replace them; what the last seconds granted may still run."""
    away_s = rng.uniform(1.0, 2.0) * liveness_s
    back_at = at + rng.uniform(0.5, 1.6) * liveness_s
    faults = [
        Fault(at, rng.choice(("resign", "crash", "freeze", "stop")), HOLDER, away_s),
        _base(rng, back_at, "rollback", back_at - at + rng.uniform(0.2, 1.5)),
    ]
    if rng.random() < 0.8:
        faults.append(Fault(back_at - 0.1, "cut", HOLDER, rng.uniform(0.5, 1.5) * liveness_s))
    return faults


def _mistaken_promotion(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A standby is promoted beside the primary, somebody takes there, and it is thrown away."""
    mistake_at, lasts_s = at + 1.7 * liveness_s, rng.uniform(1.6, 2.4) * liveness_s
    handover = rng.choice(("crash", "resign", "resign", "stop"))
    faults = [
        _base(rng, at, "failover", 0.1),
        Fault(mistake_at, "mistake", for_s=lasts_s, back_s=rng.uniform(0.0, 2.0)),
        Fault(mistake_at + rng.uniform(1.1, 1.5) * liveness_s, handover, HOLDER, 0.5),
    ]
    if rng.random() < 0.8:
        cut_at = mistake_at + lasts_s - rng.uniform(0.0, 0.5)
        faults.append(Fault(cut_at, "cut", HOLDER, rng.uniform(0.5, 1.5) * liveness_s))
    return faults


def _restart_while_watching(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    return [
        Fault(at, rng.choice(("freeze", "cut", "crash")), HOLDER, rng.uniform(0.8, 2) * liveness_s),
        _base(rng, at + rng.uniform(0.3, 1.1) * liveness_s, rng.choice(("restart", "outage"))),
        Fault(at + rng.uniform(0.0, 1.0) * liveness_s, "cut", OTHER, rng.uniform(0.3, 2.0)),
    ]


def _guardian_frozen_in_outage(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    lag_s = rng.uniform(0.0, 0.9) * liveness_s
    return [
        Fault(at, "cut", HOLDER, rng.uniform(1.0, 2.0) * liveness_s),
        Fault(at + lag_s, rng.choice(("freeze_guardian", "freeze_agent")), HOLDER, liveness_s),
    ]


def _guardian_frozen_early(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """The guardian stands still long before trust ends, and nothing renews it."""
    cut_s = rng.uniform(1.5, 2.5) * liveness_s
    return [
        Fault(at, "freeze_guardian", HOLDER, cut_s),
        Fault(at + rng.uniform(0.0, 0.05) * liveness_s, "cut", HOLDER, cut_s),
    ]


def _last_answer_late(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """The last renewal before the holder is cut off is answered late."""
    away_s = rng.uniform(1.3, 2.5) * liveness_s
    cut_at = at + rng.uniform(0.4, 1.0) * liveness_s
    kind = rng.choice(("cut", "cut", "cut_answers", "freeze_agent"))
    return [
        Fault(at, "late_answers", HOLDER, cut_at - at + 0.5),
        Fault(cut_at, kind, HOLDER, away_s),
    ]


def _exits_while_answers_are_late(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """A program ends by itself when a renewal is overdue, and would be started again."""
    lasts_s = rng.uniform(1.0, 2.0) * liveness_s
    exits = [Fault(at + lasts_s * rng.random(), "exit", HOLDER) for _ in range(3)]
    return [Fault(at, "late_answers", HOLDER, lasts_s), *exits]


def _beat_in_last_moment(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """The holder comes back shortly before its lease ends, when a standby is about to take."""
    return [
        Fault(at + gap * liveness_s, "freeze_to_the_end", HOLDER)
        for gap in (rng.random(), 2 + rng.random())
    ]


def _agent_frozen(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    return [Fault(at, "freeze_agent", HOLDER, rng.uniform(1.0, 2.5) * liveness_s)]


def _stop_then_cut(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    """An ordinary stop, in the midst of which trust cannot be renewed any more."""
    kind = rng.choice(("cut", "freeze_agent", "freeze_agent"))
    return [
        Fault(at, rng.choice(("stop", "resign")), HOLDER),
        Fault(at + rng.uniform(0.05, 0.3) * liveness_s, kind, HOLDER, 2.5 * liveness_s),
    ]


def _only_the_spare_left(rng: random.Random, at: float, liveness_s: float) -> list[Fault]:
    return [Fault(at, rng.choice(PAIR_KINDS), HOLDER, rng.uniform(1.2, 2.5) * liveness_s)]


Story = Callable[[random.Random, float, float], list[Fault]]


def _hangs(_rng: random.Random, at: float, _liveness_s: float) -> list[Fault]:
    """The program of the holder lives on, and does nothing any more."""
    return [Fault(at, "hang", HOLDER)]


#: Stories of worlds whose program is watched.
WATCHED: dict[str, Story] = {"hangs": _hangs}
STORIES: dict[str, Story] = {
    "pause spans failover": _pause_spans_failover,
    "takeover then failover": _takeover_then_failover,
    "handover then failover": _handover_then_failover,
    "join in the lost part": _join_in_lost_part,
    "failover twice": _failover_twice,
    "mistake with memory": _mistake_with_memory,
    "mistake taken late": _mistake_taken_late,
    "number given again": _number_given_again,
    "rolled back": _rolled_back,
    "mistaken promotion": _mistaken_promotion,
    "last answer late": _last_answer_late,
    "exits while answers are late": _exits_while_answers_are_late,
    "beat in the last moment": _beat_in_last_moment,
    "restart while watching": _restart_while_watching,
    "agent frozen": _agent_frozen,
    "stop then cut": _stop_then_cut,
    "guardian frozen in an outage": _guardian_frozen_in_outage,
    "guardian frozen early": _guardian_frozen_early,
    "only the spare is left": _only_the_spare_left,
}
