"""Decisions about a group by the holder of the observer's token (docs/protocol.md, rules B).

The observer watches every session by its own clock, as a standby watches a holder (watch.py): any
change restarts the wait, and so does a gap in the watching. Every decision is carried out by
compare-and-set on what the observer saw, so an outdated observer, or two at once, do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from coordinator.errors import TimingError
from coordinator.protocol.messages.group_record import NO_POLICY, Standing, TasksPolicy
from coordinator.protocol.messages.requests import Identity
from coordinator.protocol.messages.task_requests import (
    ChangeStanding,
    Decision,
    EndSession,
    SessionSeen,
)
from coordinator.protocol.rules.watch import Sight, Watch, kept, watched

#: A beat is late after this many of its node's own intervals: two may be missed.
LATE_HEARTBEATS = 2.5
#: Stands in for a term in the observation of a session: its row belongs to no token.
NO_TERM = 0


#: Reason for making a node a Member at once.
NO_MEMBER = "the group has no live Member"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverPolicy:
    """The configurable times of an observer.

    to_member_s: seconds for which beats must be on time before a node becomes a Member.
    late_max:    late beats within late_within_s that send a Member to Rehab; 0: never.
    grace_s:     seconds for which a new observer only watches before it decides about standings;
                 a silent session has its own full wait.
    """

    to_member_s: float
    late_max: int = 3
    late_within_s: float = 60.0
    grace_s: float

    def __post_init__(self) -> None:
        if self.to_member_s < 0 or self.grace_s < 0:
            raise TimingError(
                f"to_member_s ({self.to_member_s:g} s) and grace_s ({self.grace_s:g} s)"
                " must not be below 0"
            )
        if self.late_max < 0 or self.late_within_s <= 0:
            raise TimingError(
                f"late_max ({self.late_max}) must not be below 0, and late_within_s"
                f" ({self.late_within_s:g} s) must be above 0"
            )


def agreed(own: ObserverPolicy, policy: TasksPolicy) -> ObserverPolicy:
    """Return the group's times; a node's own where the group's record sets none (B11)."""
    if policy == NO_POLICY:
        return own
    named = {name: value for name, value in asdict(policy).items() if value is not None}
    return replace(own, **named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One session: its latest state, since when that is unchanged, and its late beats.

    clean_since: since then no beat was late, and the standing was not changed.
    late:        the current silence has been counted as a late beat.
    late_at:     moments of the last `late_max` late beats; none from before the last change of
                 the standing (B10).
    """

    seen: SessionSeen
    watch: Watch
    clean_since: float
    late: bool = False
    late_at: tuple[float, ...] = ()

    @property
    def silent_at(self) -> float:
        """Moment at which the session counts as dead, by the interval in its own row."""
        return self.watch.since + self.seen.liveness_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """State of an observer; it knows nothing from before `began_at`, and last read at `looked_at`.

    gap_max_s: a longer time without a read is a gap in the watching.
    """

    began_at: float
    looked_at: float
    gap_max_s: float = 0.0
    sessions: tuple[Watched, ...] = ()


def begin(now: float) -> Observer:
    """Begin to watch: after taking the observer's token, and after any failed read."""
    return Observer(began_at=now, looked_at=now)


def noted(
    observer: Observer,
    sessions: Sequence[SessionSeen],
    identity: Identity,
    now: float,
    gap_max_s: float,
    policy: ObserverPolicy,
) -> Observer:
    """Return the observer after an answer to WatchSessions that arrived at `now`.

    Units: moments in seconds of the observer's own clock.
    Source: docs/protocol.md, rules B1 to B3.
    """
    before = {one.seen.node: one for one in observer.sessions}
    seen = tuple(
        _seen(before.get(session.node), session, identity, now, gap_max_s, policy)
        for session in sessions
    )
    return replace(observer, looked_at=now, gap_max_s=gap_max_s, sessions=seen)


def _seen(
    before: Watched | None,
    seen: SessionSeen,
    identity: Identity,
    now: float,
    gap_max_s: float,
    policy: ObserverPolicy,
) -> Watched:
    sight = Sight(identity, NO_TERM, seen.session, seen.beat)
    if before is None or before.seen.session != seen.session:
        return Watched(seen=seen, watch=Watch(sight, now, now), clean_since=now)
    watch = watched(before.watch, sight, now, gap_max_s)
    if not kept(before.watch, now, gap_max_s) or before.watch.sight.identity != identity:
        # Time that was not watched counts neither as late nor as on time.
        kept_at = () if decided_since(before.seen, seen) else before.late_at
        return replace(before, seen=seen, watch=watch, clean_since=now, late=False, late_at=kept_at)
    late = _silence_s(before, now) > LATE_HEARTBEATS * seen.heartbeat_s
    if decided_since(before.seen, seen):
        # A silence that began before the decision was counted then, and is not counted again.
        late = late and sight == before.watch.sight
        return replace(before, seen=seen, watch=watch, clean_since=now, late=late, late_at=())
    late_at = before.late_at
    if late and not before.late and policy.late_max:
        late_at = (*late_at, now)[-policy.late_max :]
    return Watched(
        seen=seen,
        watch=watch,
        clean_since=now if late else before.clean_since,
        late=late and sight == before.watch.sight,
        late_at=late_at,
    )


def decided_since(before: SessionSeen, seen: SessionSeen) -> bool:
    """Say whether the standing was changed between two reads, even if it was changed back."""
    return (before.standing, before.standing_version) != (seen.standing, seen.standing_version)


def _silence_s(before: Watched, now: float) -> float:
    """Return how long the last beat shown was certainly the newest.

    The time between two reads counts for one heartbeat at most: when an answer comes late, the
    node whose beat it shows may have been punctual.
    """
    known_until = min(now, before.watch.confirmed_at + before.seen.heartbeat_s)
    return known_until - before.watch.since


# --- deciding -----------------------------------------------------------------------------------


def decisions(
    observer: Observer, record_suspended: bool, now: float, policy: ObserverPolicy
) -> tuple[Decision, ...]:
    """Return the decisions due at this moment, sorted by node.

    Source: docs/protocol.md, rules B4 to B9.
    """
    if record_suspended or now > observer.looked_at + observer.gap_max_s:
        return ()
    silent = [one for one in observer.sessions if now >= one.silent_at]
    decided: list[Decision] = [_end(one, now) for one in silent]
    if now >= observer.began_at + policy.grace_s:
        living = [one for one in observer.sessions if now < one.silent_at]
        members = [one for one in living if one.seen.standing is Standing.MEMBER]
        decided += _to_rehab(members, now, policy)
        decided += _to_member(living, bool(members), now, policy)
    return tuple(sorted(decided, key=lambda decision: decision.node))


def next_at(observer: Observer, now: float, policy: ObserverPolicy) -> float:
    """Return the first moment at which a decision may be due without another read.

    Never before `now`; infinity when only another read can lead to a decision.
    """
    if decisions(observer, False, now, policy):
        return now
    moments = [observer.began_at + policy.grace_s]
    for one in observer.sessions:
        moments.append(one.silent_at)
        if one.seen.standing is not Standing.MEMBER:
            moments.append(one.clean_since + policy.to_member_s)
        moments += [late_at + policy.late_within_s for late_at in one.late_at]
    last = observer.looked_at + observer.gap_max_s
    return min((moment for moment in moments if now < moment <= last), default=float("inf"))


def _end(one: Watched, now: float) -> EndSession:
    seen = one.seen
    reason = (
        f"no heartbeat of {seen.node} for {now - one.watch.since:.2f} s"
        f" (livenessCheckInterval {seen.liveness_s:g})"
    )
    return EndSession(node=seen.node, session=seen.session, beat=seen.beat, reason=reason)


def _to_rehab(members: list[Watched], now: float, policy: ObserverPolicy) -> list[Decision]:
    """Send Members that are late again and again to Rehab, while a punctual Member remains.

    When all are late, the database or the network is slow, and no other node would do better.
    """
    if not policy.late_max:
        return []
    late = [one for one in members if _late_count(one, now, policy) >= policy.late_max]
    if len(late) == len(members):
        return []
    return [
        _change(
            one,
            Standing.REHAB,
            f"{policy.late_max} late beats of {one.seen.node} within {policy.late_within_s:g} s"
            f" (heartbeatFrequency {one.seen.heartbeat_s:g})",
        )
        for one in late
    ]


def _late_count(one: Watched, now: float, policy: ObserverPolicy) -> int:
    return sum(now < late_at + policy.late_within_s for late_at in one.late_at)


def _to_member(
    living: list[Watched], any_member: bool, now: float, policy: ObserverPolicy
) -> list[Decision]:
    """Make Members of nodes that are caught up and punctual; at once when there is no Member."""
    ready = [
        one
        for one in living
        if one.seen.standing is not Standing.MEMBER and one.seen.caught_up and not one.late
    ]
    if not any_member:
        return [
            _change(one, Standing.MEMBER, f"{NO_MEMBER}, and {one.seen.node} is caught up")
            for one in ready
        ]
    return [
        _change(
            one,
            Standing.MEMBER,
            f"beats of {one.seen.node} on time for {now - one.clean_since:.1f} s, and caught up",
        )
        for one in ready
        if now >= one.clean_since + policy.to_member_s
    ]


def _change(one: Watched, after: Standing, reason: str) -> ChangeStanding:
    seen = one.seen
    return ChangeStanding(
        node=seen.node, session=seen.session, before=seen.standing, after=after, reason=reason
    )
