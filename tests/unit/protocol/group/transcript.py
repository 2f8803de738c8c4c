"""An observer on a transcript: a test says what it was shown, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.protocol.group.observer import (
    Observer,
    ObserverPolicy,
    begin,
    decisions,
    next_at,
    noted,
)
from coordinator.protocol.messages.group_record import Standing
from coordinator.protocol.messages.requests import Identity
from coordinator.protocol.messages.task_requests import (
    ChangeStanding,
    Decision,
    EndSession,
    SessionSeen,
)

TIMES = ObserverPolicy(to_member_s=10.0, late_max=3, late_within_s=60.0, grace_s=5.0)


HERE = Identity(system_identifier=7, timeline=1, started_at=1)


#: Of a node with livenessCheckInterval 3.
GAP_MAX_S = 2.0


INFINITE = float("inf")


def seen(node: str, beat: int = 1, **changes: object) -> SessionSeen:
    made = SessionSeen(
        node=node,
        session=f"s-{node}",
        beat=beat,
        liveness_s=3.0,
        heartbeat_s=1.0,
        standing=Standing.MEMBER,
        caught_up=True,
        age_s=0.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def promotable(node: str, beat: int = 1, **changes: object) -> SessionSeen:
    return seen(node, beat, **{"standing": Standing.PROMOTABLE, **changes})


@dataclass
class Transcript:
    """An observer under test, its policy, and the identity that answers carry."""

    observer: Observer
    times: ObserverPolicy = TIMES
    identity: Identity = HERE
    gap_max_s: float = GAP_MAX_S

    def look(self, now: float, *sessions: SessionSeen) -> tuple[Decision, ...]:
        """Show this to the observer; return what it decides at once."""
        self.observer = noted(
            self.observer, sessions, self.identity, now, self.gap_max_s, self.times
        )
        return self.at(now)

    def at(self, now: float) -> tuple[Decision, ...]:
        return decisions(self.observer, False, now, self.times)

    def next_at(self, now: float) -> float:
        return next_at(self.observer, now, self.times)


def watching(now: float = 0.0, times: ObserverPolicy = TIMES) -> Transcript:
    return Transcript(begin(now), times)


def to(standing: Standing, decided: tuple[Decision, ...]) -> list[str]:
    return [
        one.node for one in decided if isinstance(one, ChangeStanding) and one.after is standing
    ]


def ended(decided: tuple[Decision, ...]) -> list[str]:
    return [one.node for one in decided if isinstance(one, EndSession)]
