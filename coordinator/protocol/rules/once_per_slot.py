"""One start for each slot in the whole group, decided by each machine alone (rules M6 to M8).

Each machine's cron starts the same line at about the same time by its own clock. The database's
clock names the slot; the group's record says who has started it, and who is about to. One machine
reserves the slot, and only that one begins a node. What is read here is a hint: the claim under the
token (rule C2) decides.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from coordinator.protocol.messages.schedule_claims import RECORD_AHEAD_MAX_S

#: Seconds for which a holder of the token that has claimed nothing is waited for.
CLAIM_S = 10.0

#: Seconds for which a slot is reserved for the machine that begins a node for it: many times what a
#: node needs to start. At most half of what is left of the slot, so that another can follow.
RESERVED_S = 15.0
RESERVED_MIN_S = 1.0

#: Seconds over which the machines spread their takes, and share of the way to the next slot.
SPREAD_S, SPREAD_SHARE = 5.0, 0.2

Nearest = Literal["last", "next", "none"]
Fired = Literal["never", "earlier", "same", "later"]
#: run: reserve the slot, take the token and claim; wait: look again later; done: the slot is in
#: good hands, or over;
#: missed: nobody runs it any more; foreign: the group's token has another purpose; paused: this
#: machine may not take it.
Decision = Literal["run", "wait", "done", "missed", "foreign", "paused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSeen:
    """The record of a group and its token, as one read showed them; seconds by the server's clock.

    fired:       the last slot that was started, beside this one; "never" for an empty record.
    running:     the end of that run was not written.
    record_term: the term under which it was started.
    token_term:  the newest term of the token.
    lives:       the token is held by a session that beats.
    dead_for_s:  seconds since the end, or the silence, of the token's last holder.
    next_in_s:   seconds until the next slot.
    paused:      a pause, or a drain of this node, forbids to take the token.
    reserved:    another machine has reserved this slot, or a later one, and its time is not over.
    expected:    the token is held by the machine that made the last reservation.
    """

    fired: Fired
    running: bool
    record_term: int
    token_term: int
    lives: bool
    dead_for_s: float
    next_in_s: float
    paused: bool = False
    reserved: bool = False
    expected: bool = False


def reserved_for_s(next_in_s: float) -> float:
    """Return the seconds for which a slot is reserved, by what is left of it (M7)."""
    return max(RESERVED_MIN_S, min(RESERVED_S, next_in_s / 2))


def retry_left_s(seen: SlotSeen, retry_after_s: float | None) -> float | None:
    """Return the wait before a second start that is left when this machine begins its node (M8).

    A machine that saw the starter dead for so long has waited already. One that begins a node for a
    slot that nobody had started learns of a death only when it claims, and waits then.
    """
    return 0.0 if retry_after_s is not None and seen.fired == "same" else retry_after_s


def fired(behind_slot_s: float, ahead_s: float) -> Fired:
    """Say how the last slot that was started lies to this one.

    behind_slot_s: seconds from that slot to this one; below 0: it is a later one.
    ahead_s:       seconds by which it lies ahead of the database's clock. A record far ahead was
                   written by a clock that was wrong, and is begun anew (C4).
    """
    if behind_slot_s == 0:
        return "same"
    return "earlier" if behind_slot_s > 0 or ahead_s > RECORD_AHEAD_MAX_S else "later"


def nearest(since_last_s: float, until_next_s: float, early_s: float, late_s: float) -> Nearest:
    """Choose the slot that a machine was started for, by the database's clock (M6).

    A machine whose clock is fast comes early, and waits. One that comes too late runs nothing.
    """
    if until_next_s <= early_s and until_next_s <= since_last_s:
        return "next"
    return "last" if since_last_s <= late_s else "none"


def default_late_s(since_last_s: float, until_next_s: float, late_max_s: float) -> float:
    """Return the time for which a slot is not old: half of the way to the next, with a bound."""
    return min((since_last_s + until_next_s) / 2, late_max_s)


def spread_s(node: str, slot: str, next_in_s: float, most_s: float = SPREAD_S) -> float:
    """Return the seconds for which a machine holds back before it takes the token (M7).

    All cron daemons start at the same second. Most machines then see that the slot was claimed,
    and need no session. The order is another one for each slot.
    """
    digest = hashlib.blake2b(f"{node}/{slot}".encode(), digest_size=4).digest()
    share = int.from_bytes(digest) / 2**32
    return share * min(most_s, SPREAD_SHARE * max(0.0, next_in_s))


def decide(seen: SlotSeen, retry_after_s: float | None, waited_s: float) -> Decision:
    """Decide what a machine does about a slot (M7, M8).

    retry_after_s: a slot whose starter died is run again after so long; None: never.
    waited_s:      for how long this machine has seen the token under this term.
    """
    if seen.fired == "later":
        return "done"
    is_claimed = seen.lives and seen.running and seen.record_term == seen.token_term
    if seen.next_in_s <= 0:
        return "done" if seen.fired == "same" else "missed"
    if seen.fired == "same":
        if not seen.running or retry_after_s is None:
            return "done"
        if seen.lives or seen.dead_for_s < retry_after_s:
            return "wait"
        return _begin(seen)
    if not seen.lives:
        return _begin(seen)
    # The run of an earlier slot goes on, or somebody is about to claim this one.
    is_ours = is_claimed or seen.reserved or seen.expected
    return "wait" if is_ours or waited_s < CLAIM_S else "foreign"


def _begin(seen: SlotSeen) -> Decision:
    """Begin a node, unless that may not take the token, or another machine is about to."""
    if seen.paused:
        return "paused"
    return "wait" if seen.reserved else "run"
