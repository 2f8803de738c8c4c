"""The history of the database that a node sees, and whether the node may act on it.

After a promotion that lost commits, the new primary may show a token as free although the old one
had granted it. So no node takes a token or starts a program on an identity that is not settled. A
node settles it after it has itself waited out the longest lease that the lost part may have
granted. docs/protocol.md, rules E1 to E4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.protocol.messages.requests import Identity, View

#: Seconds for which a node relies on what it knows about a run of the server and about long
#: intervals. Older knowledge is discarded.
MEMORY_S = 600.0
#: A run watched for this long is reported to the group, so that a new group need not wait for it.
LONG_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest branch that was seen to take writes.

    since:     moment at which it was first seen.
    missed_at: moment at which an earlier branch answered instead; None: not since it was last seen.
    """

    identity: Identity
    since: float
    missed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """An earlier primary that takes writes beside the one in use."""

    identity: Identity
    since: float
    seen_at: float
    reported: bool = False


@dataclass(frozen=True, slots=True)
class Epoch:
    """The identity that this node sees, and since when.

    proof:     own beats that the previous run acknowledged; None: nothing can be proven.
    continues: the node's own row has more beats than `proof`: the server was restarted in place.
    """

    identity: Identity
    settled: bool
    since: float  #: own clock, arrival of the first answer that showed it
    longest_liveness_s: float  #: the longest interval in the group that this node knows of
    longest_at: float = 0.0  #: own clock, when that interval was last seen
    waited_s: float = 0.0  #: seconds for which some node has watched this run of the server
    proof: int | None = None
    continues: bool = False
    answered_at: float = 0.0
    reported: bool = False  #: the group has been told how long this run has been watched
    why: str = "start"  #: reason for the wait on this identity, as `why` names it
    latest: Latest | None = None
    returned: bool = False  #: this branch is in use again after a later one was seen (rule N1)


def observe(
    epoch: Epoch | None, view: View, now: float, own_liveness_s: float, beats: int = 0
) -> Epoch:
    """Return the epoch after an answer; a new identity starts the wait again.

    beats: number of this node's own heartbeats that the previous run acknowledged.
    """
    seen_s = max(
        own_liveness_s, view.longest_liveness_s, view.holder.liveness_s if view.holder else 0.0
    )
    if epoch is None:
        latest = Latest(view.identity, now)
        return Epoch(
            identity=view.identity,
            settled=view.settled,
            since=now,
            longest_liveness_s=seen_s,
            longest_at=now,
            waited_s=view.waited_s,
            answered_at=now,
            latest=latest,
        )
    longest_s, longest_at = epoch.longest_liveness_s, epoch.longest_at
    if seen_s >= longest_s or now - longest_at > MEMORY_S:
        longest_s, longest_at = seen_s, now
    new = changed(epoch, view)
    latest = left_behind(epoch, view.identity, now) or _sighted(epoch.latest, view.identity, now)
    went_back = epoch.latest is not None and later(epoch.latest.identity, latest.identity)
    return Epoch(
        why=why(epoch.identity, view.identity) if new else epoch.why,
        identity=view.identity,
        settled=view.settled,
        since=now if new else epoch.since,
        longest_liveness_s=longest_s,
        longest_at=longest_at,
        waited_s=view.waited_s,
        proof=_proof(epoch, view, now, beats) if new else epoch.proof,
        continues=epoch.continues and not new,
        answered_at=now,
        reported=epoch.reported and not new,
        latest=latest,
        returned=epoch.returned or went_back,
    )


def changed(epoch: Epoch, view: View) -> bool:
    """Say whether the answer comes from another history than the last answer.

    An identity that was settled and no longer is counts as another history.
    """
    return epoch.identity != view.identity or (epoch.settled and not view.settled)


def _proof(epoch: Epoch, view: View, now: float, beats: int) -> int | None:
    """Return the own beats that a later run of the same branch must know to prove itself."""
    before, after = epoch.identity, view.identity
    if not after.branch or replace(before, started_at=after.started_at) != after:
        return None
    if before == after or now - epoch.answered_at > MEMORY_S:
        return None
    if epoch.proof is not None:
        return epoch.proof
    return beats if beats and (epoch.settled or epoch.continues) else None


def proven(epoch: Epoch, beat: int, *, all_there: bool) -> Epoch:
    """Return the epoch once the own row's heartbeat count on it is known; 0: unknown.

    all_there: the database shows every term that this node remembers.
    """
    if epoch.proof is None or not beat:
        return epoch
    return replace(epoch, proof=None, continues=all_there and beat > epoch.proof)


def settle_at(epoch: Epoch) -> float:
    """Return the moment from which this node may settle the identity for its group."""
    if epoch.continues or epoch.waited_s >= epoch.longest_liveness_s:
        return epoch.since
    return epoch.since + epoch.longest_liveness_s


def waits(epoch: Epoch) -> bool:
    """Say whether no node may act yet, and only time will change that."""
    if epoch.settled or epoch.continues or epoch.proof is not None:
        return False
    return settle_at(epoch) > epoch.since


def why(before: Identity, after: Identity) -> str:
    """Name the reason for the wait, for people."""
    if before.system_identifier != after.system_identifier:
        return "another"
    if before.timeline != after.timeline:
        return "failover"
    return "restart" if before.branch == after.branch else "another"


def long_wait_at(epoch: Epoch) -> float:
    """Return when to report that the run has been watched for long; infinity once reported."""
    if not epoch.settled or epoch.reported or epoch.waited_s >= LONG_WAIT_S:
        return float("inf")
    return epoch.since + max(LONG_WAIT_S, epoch.longest_liveness_s)


def postponed(epoch: Epoch, until: float) -> Epoch:
    """Return the epoch with its settling put off to `until`, never brought forward."""
    since = max(epoch.since, until - epoch.longest_liveness_s)
    return replace(epoch, since=since, continues=False, waited_s=0.0)


def may_act(view: View) -> bool:
    """Say whether tokens may be taken and programs started on what the view shows."""
    return view.settled


# --- branches that are left behind ----------------------------------------------------------------


def later(one: Identity, other: Identity) -> bool:
    """Say whether `one` is a later branch, or run, of the same database than `other`.

    Of two servers that were promoted to the same number, the one that was started later counts as
    later: every node derives the same order.
    """
    if one.system_identifier != other.system_identifier:
        return False
    return (one.timeline, one.started_at) > (other.timeline, other.started_at)


def sighted(epoch: Epoch, identity: Identity, now: float) -> Epoch:
    """Return the epoch after a check of the other hosts found a server that takes writes."""
    if epoch.latest is not None and later(epoch.latest.identity, identity):
        return epoch
    return replace(epoch, latest=_sighted(epoch.latest, identity, now))


def _sighted(latest: Latest | None, identity: Identity, now: float) -> Latest:
    if latest is None or latest.identity != identity:
        same = latest is not None and same_run(latest.identity, identity)
        return Latest(identity, latest.since if same and latest else now)
    return replace(latest, missed_at=None)


def same_run(one: Identity, other: Identity) -> bool:
    """Say whether both are one run of one server, as far as a check from outside can tell."""
    return _run(one) == _run(other)


def _run(identity: Identity) -> tuple[int, int, int]:
    """Return what a check from outside shows; only a node's own connection shows the branch."""
    return identity.system_identifier, identity.timeline, identity.started_at


def missed(epoch: Epoch, identity: Identity, now: float) -> Epoch:
    """Return the epoch after a server on an earlier branch has answered."""
    latest = epoch.latest
    if latest is None or latest.missed_at is not None or not later(latest.identity, identity):
        return epoch
    return replace(epoch, latest=replace(latest, missed_at=now))


def free_at(epoch: Epoch) -> float:
    """Return when the grants of the latest branch have expired, if that branch is gone."""
    if epoch.latest is None or epoch.latest.missed_at is None:
        return float("inf")
    return epoch.latest.missed_at + epoch.longest_liveness_s


def left_behind(epoch: Epoch | None, identity: Identity, now: float) -> Latest | None:
    """Return the later branch that makes an answer's branch obsolete; None if there is none.

    The later branch may have been promoted by mistake and be gone. It counts until an earlier one
    has answered in its place for the longest lease: its grants have expired by then.
    """
    latest = None if epoch is None else epoch.latest
    if epoch is None or latest is None or not later(latest.identity, identity):
        return None
    return latest if now < free_at(epoch) else None
