"""Which history of the database a node is looking at, and whether it may act on it.

After a promotion that lost commits the new primary may call a token free that the old one had
granted. So on an identity that is not settled nobody takes a token and nobody starts a program,
until a node has itself waited out the longest lease that the lost part may have granted.
docs/protocol.md, rules E1 to E4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.protocol.messages.requests import Identity, View

#: What a node knows about a run of the server, and about long intervals, ages: after this it is
#: not relied on any more.
MEMORY_S = 600.0
#: A run that has been watched for so long is said to be: a new group need not wait on it, then.
LONG_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest branch that was seen to take writes.

    since:     when it was first seen.
    missed_at: when another one, earlier than it, answered in its place; None: it did not since.
    """

    identity: Identity
    since: float
    missed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """An earlier primary that is seen to take writes beside the one that is used."""

    identity: Identity
    since: float
    seen_at: float
    told: bool = False


@dataclass(frozen=True, slots=True)
class Epoch:
    """The identity that this node sees, and since when.

    proof:     beats that were acknowledged by the run before; None: nothing can be proven.
    continues: the node's own row is beyond them: the server was restarted in place.
    """

    identity: Identity
    settled: bool
    since: float  #: own clock, arrival of the first answer that showed it
    longest_liveness_s: float  #: the longest interval in the group that this node knows of
    longest_at: float = 0.0  #: when that was last seen
    waited_s: float = 0.0  #: how long somebody has watched this run of the server
    proof: int | None = None
    continues: bool = False
    answered_at: float = 0.0
    told: bool = False  #: others were told how long this run has been watched
    why: str = "start"  #: what has made this node wait on the identity, as `why` names it
    latest: Latest | None = None
    returned: bool = False  #: this branch is used again after a later one was seen (rule N1)


def observe(
    epoch: Epoch | None, view: View, now: float, own_liveness_s: float, beats: int = 0
) -> Epoch:
    """Return the epoch after an answer; a new identity starts the wait again.

    beats: how many of this node's own heartbeats the run before has acknowledged.
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
        told=epoch.told and not new,
        latest=latest,
        returned=epoch.returned or went_back,
    )


def changed(epoch: Epoch, view: View) -> bool:
    """Say whether the answer comes from another history than the last one did.

    An identity that was settled and is not any more is another one too.
    """
    return epoch.identity != view.identity or (epoch.settled and not view.settled)


def _proof(epoch: Epoch, view: View, now: float, beats: int) -> int | None:
    """Return the own heartbeats that a run of the same branch must know to be a later one."""
    before, after = epoch.identity, view.identity
    if not after.branch or replace(before, started_at=after.started_at) != after:
        return None
    if before == after or now - epoch.answered_at > MEMORY_S:
        return None
    if epoch.proof is not None:
        return epoch.proof
    return beats if beats and (epoch.settled or epoch.continues) else None


def judged(epoch: Epoch, beat: int, *, all_there: bool) -> Epoch:
    """Return the epoch once the own row's heartbeat on it is known; 0: it is not.

    all_there: no term is missing that this node remembers.
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
    """Say whether nobody may act yet, and nothing but time will change that."""
    if epoch.settled or epoch.continues or epoch.proof is not None:
        return False
    return settle_at(epoch) > epoch.since


def why(before: Identity, after: Identity) -> str:
    """Name what has made the node wait, for people."""
    if before.system_identifier != after.system_identifier:
        return "another"
    if before.timeline != after.timeline:
        return "failover"
    return "restart" if before.branch == after.branch else "another"


def long_wait_at(epoch: Epoch) -> float:
    """Return when others are told that the run has been watched for long; never if they were."""
    if not epoch.settled or epoch.told or epoch.waited_s >= LONG_WAIT_S:
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
    """Say whether `one` is a later branch, or run, of the same database than the other.

    Of two servers that were promoted to the same number, that counts which was started later: an
    order that is the same for everybody.
    """
    if one.system_identifier != other.system_identifier:
        return False
    return (one.timeline, one.started_at) > (other.timeline, other.started_at)


def sighted(epoch: Epoch, identity: Identity, now: float) -> Epoch:
    """Return the epoch after somebody showed a server that takes writes."""
    if epoch.latest is not None and later(epoch.latest.identity, identity):
        return epoch
    return replace(epoch, latest=_sighted(epoch.latest, identity, now))


def _sighted(latest: Latest | None, identity: Identity, now: float) -> Latest:
    if latest is None or latest.identity != identity:
        same = latest is not None and same_run(latest.identity, identity)
        return Latest(identity, latest.since if same and latest else now)
    return replace(latest, missed_at=None)


def same_run(one: Identity, other: Identity) -> bool:
    """Say whether both are one run of one server, as far as a look can tell."""
    return _run(one) == _run(other)


def _run(identity: Identity) -> tuple[int, int, int]:
    """Return what a look at a server tells; only a node's own connection tells the branch."""
    return identity.system_identifier, identity.timeline, identity.started_at


def missed(epoch: Epoch, identity: Identity, now: float) -> Epoch:
    """Return the epoch after an answer of a server that an earlier branch is on."""
    latest = epoch.latest
    if latest is None or latest.missed_at is not None or not later(latest.identity, identity):
        return epoch
    return replace(epoch, latest=replace(latest, missed_at=now))


def free_at(epoch: Epoch) -> float:
    """Return when what the latest branch has granted is over, if it is gone."""
    if epoch.latest is None or epoch.latest.missed_at is None:
        return float("inf")
    return epoch.latest.missed_at + epoch.longest_liveness_s


def left_behind(epoch: Epoch | None, identity: Identity, now: float) -> Latest | None:
    """Return the later branch that the one of an answer was left behind by; None: it was not.

    The later one may have been promoted by mistake, and be gone. It counts until an earlier one has
    answered in its place for the longest lease: what it granted is over by then.
    """
    latest = None if epoch is None else epoch.latest
    if epoch is None or latest is None or not later(latest.identity, identity):
        return None
    return latest if now < free_at(epoch) else None
