"""Which history of the database a node is looking at, and whether it may act on it.

After a promotion that lost commits the new primary may call a token free that the old one had
granted. So on an identity that is not settled nobody takes a token and nobody starts a program,
until a node has itself waited out the longest lease that the lost part may have granted.
docs/protocol.md, rules E1 to E4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.protocol.requests import Identity, View


@dataclass(frozen=True, slots=True)
class Epoch:
    """The identity that this node sees, and since when."""

    identity: Identity
    settled: bool
    since: float  #: own clock, arrival of the first answer that showed it
    longest_liveness_s: float  #: the longest interval known to this node


def observe(epoch: Epoch | None, view: View, now: float, own_liveness_s: float) -> Epoch:
    """Return the epoch after an answer; a new identity starts the wait again."""
    seen = (view.longest_liveness_s, view.holder.liveness_s if view.holder else 0.0)
    longest_s = max(own_liveness_s, *seen, epoch.longest_liveness_s if epoch else 0.0)
    if epoch is None or changed(epoch, view):
        return Epoch(view.identity, view.settled, now, longest_s)
    return replace(epoch, settled=view.settled, longest_liveness_s=longest_s)


def changed(epoch: Epoch, view: View) -> bool:
    """Say whether the answer comes from another history than the last one did.

    An identity that was settled and is not any more is another one too: a backup was restored
    to the same timeline number.
    """
    return epoch.identity != view.identity or (epoch.settled and not view.settled)


def settle_at(epoch: Epoch) -> float:
    """Return the moment from which this node may settle the identity."""
    return epoch.since + epoch.longest_liveness_s


def postponed(epoch: Epoch, until: float) -> Epoch:
    """Return the epoch with its settling put off to `until`, never brought forward."""
    since = max(epoch.since, until - epoch.longest_liveness_s)
    return replace(epoch, since=since)


def may_act(view: View) -> bool:
    """Say whether tokens may be taken and programs started on what the view shows."""
    return view.settled


def left_behind(epoch: Epoch, identity: Identity) -> bool:
    """Say whether `identity` is a later branch of the same database than the one in use."""
    return (
        epoch.identity.system_identifier == identity.system_identifier
        and identity.timeline > epoch.identity.timeline
    )


def dead_branch(epoch: Epoch | None, view: View) -> bool:
    """Say whether the answer comes from a primary that has been left behind by a promotion."""
    return (
        epoch is not None
        and epoch.identity.system_identifier == view.identity.system_identifier
        and view.identity.timeline < epoch.identity.timeline
    )
