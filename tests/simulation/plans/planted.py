"""Bugs planted on purpose: each replaces one small rule, and the simulation must find it.

A simulation that finds nothing proves nothing until it has found these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from coordinator.protocol.guardian import gate as guardian_gate
from coordinator.protocol.guardian import run as guardian_run
from coordinator.protocol.guardian.gate_words import OpenOrdered
from coordinator.protocol.guardian.state import Guard
from coordinator.protocol.guardian.state import Run as GuardRun
from coordinator.protocol.messages.requests import (
    Beat,
    Identity,
    Join,
    Request,
    Take,
    TokenSeen,
    View,
)
from coordinator.protocol.node import (
    branches,
    intake,
    join,
    machine,
    next_request,
    program_end,
)
from coordinator.protocol.node.events import Command, ExtendTrust
from coordinator.protocol.node.side_runs import hooks, hung, one_offs
from coordinator.protocol.node.side_runs import runs as side_runs
from coordinator.protocol.node.state import guardian_watch
from coordinator.protocol.node.state import node as node_state
from coordinator.protocol.node.state.guardian_watch import GuardianWatch
from coordinator.protocol.node.state.last_seen import LastSeen
from coordinator.protocol.node.state.run import Run as NodeRun
from coordinator.protocol.node.state.side_runs import (
    HealthPolicy,
    HungPolicy,
    Kind,
    ProgramWatch,
    SideRun,
)
from coordinator.protocol.node.state.spare_watch import SpareWatch
from coordinator.protocol.rules import backstops, epoch, timing, watch
from coordinator.protocol.rules.saved_state import StateSeen, StateWanted
from coordinator.protocol.rules.terms import granted_term
from tests.simulation.world import states
from tests.simulation.world.settings import Bias
from tests.support.fakes.memory_rows import NEVER_SETTLED, NodeRow
from tests.support.fakes.memory_store import MemoryDatabase


class BeatUnseen(MemoryDatabase):
    """Ends the holder's session whatever its beat shows by now."""

    def beat_matches(self, row: NodeRow, seen_beat: int) -> bool:  # noqa: ARG002
        return True


class FloorIgnored(MemoryDatabase):
    """Gives out terms that a live node remembers."""

    def floor_of(self, token: TokenSeen) -> int:  # noqa: ARG002
        return 0


class NamesakeReplaced(MemoryDatabase):
    """Lets a node replace a live session of its own name."""

    def join_allowed(self, row: NodeRow, request: Join) -> bool:  # noqa: ARG002
        return True


class UnsettledTaken(MemoryDatabase):
    """Takes every history of the database for the whole history."""

    def settled_at_creation(self) -> bool:
        return True


class StateUnfenced(MemoryDatabase):
    """Saves the state of whoever asks, deposed or not."""

    def fence_passes(self, name: str, term: int, session: str) -> bool:  # noqa: ARG002
        return True


def _any_snapshot(_seen: StateSeen, _wanted: StateWanted) -> bool:
    """Take a state that was read before the take for the last one."""
    return True


_real_open = guardian_gate.open_gate


def _open_unchecked(guard: Guard, order: OpenOrdered, now: float, orders: list[Any]) -> Guard:
    """Open a gate whenever the order comes."""
    return _real_open(guard, order, 0.0, orders)


def _open_again(guard: Guard, order: OpenOrdered, now: float, orders: list[Any]) -> Guard:
    """Open a gate as often as it is ordered."""
    run = guard.run(order.run)
    again = guard if run is None else guard.changed(run._replace(gated=True))
    return _real_open(again, order, now, orders)


def _trust_from_answer(sent_at: float, answered_at: float, lease_s: float) -> float:
    return answered_at + lease_s


def _settle_at_once(seen: epoch.Epoch) -> float:
    return seen.since


def _act_on_anything(view: View) -> bool:
    return True


class TermsOfTimelines(MemoryDatabase):
    """Gives each number of a timeline terms of its own, as if no number came twice."""

    def clock_ms(self, group: str) -> int | None:  # noqa: ARG002
        return (self.identity.timeline - 1) * 10**9 + 1


class PlainTerms(MemoryDatabase):
    """Counts on from what the row shows."""

    def clock_ms(self, group: str) -> int | None:  # noqa: ARG002
        return None


class CountsOn(MemoryDatabase):
    """Counts on from a term that was the clock's, where a new database would count."""

    def next_term(self, group: str, token: TokenSeen, computed: int) -> int:
        return granted_term(computed, token.term, self.floor_of(token), self.clock_ms(group), 0)


class CopyUnseen(CountsOn):
    """Counts on as soon as nobody follows: terms were the clock's only while somebody did."""

    def is_copied(self, group: str) -> bool:  # noqa: ARG002
        return False


class SettledByTimeline(MemoryDatabase):
    """Trusts a row that says settled, whichever run of the server it was written for."""

    def is_settled(self, group: str) -> bool:
        here, settled = self.epoch(), self.settled.get(group, NEVER_SETTLED)
        runs = [row for row in self.epochs.values() if row.branch == here.branch]
        return settled.branch == here.branch or any(row.settled for row in runs)


def _plain_next_term(seen_term: int, remembered: int) -> int:
    return seen_term + 1


def _half_the_wait(seen: epoch.Epoch) -> float:
    return seen.since + seen.longest_liveness_s / 2


def _all_there(seen: epoch.Epoch, beat: int, *, all_there: bool) -> epoch.Epoch:
    """Take any restart for one in place."""
    return seen if seen.proof is None else replace(seen, proof=None, continues=True)


def _forget_later_branches(
    known: epoch.Epoch | None, shown: Identity, now: float
) -> epoch.Latest | None:
    return None


def _never_expired(trusted_until: float, now: float) -> bool:
    return False


_real_watched = watch.watched


def _always_fresh(trusted_until: float, now: float, lease_s: float, heartbeat_s: float) -> bool:
    return True


def _on_any_server(
    known: watch.Watch | None, sight: watch.Sight, now: float, gap_max_s: float
) -> watch.Watch:
    """Take the same beat for the same, whichever run of whichever server shows it."""
    if known is not None:
        sight = replace(sight, identity=known.sight.identity)
    return _real_watched(known, sight, now, gap_max_s)


_real_failed = intake._failed


def _failure_ends_the_watch(
    at: node_state.Node, now: float, request: Request | None, why: str
) -> tuple[node_state.Node, tuple[Command, ...]]:
    after, told = _real_failed(at, now, request, why)
    return replace(after, watch=None), told


_real_note_silence = branches.note_silence


def _no_beat_counts(at: node_state.Node, view: View, now: float) -> node_state.Node:
    """Watch on a branch whose answers are dropped, and take no beat there for a sign of life."""
    after = _real_note_silence(at, view, now)
    if at.watch is None or after.watch is None or at.watch.sight.identity != view.identity:
        return after
    return replace(after, watch=replace(after.watch, since=at.watch.since))


def _every_session_is_own(at: node_state.Node, session: str | None) -> bool:
    return True


def _lease_of_one_clock(liveness_s: float) -> float:
    """Forget that both clocks may be wrong."""
    return liveness_s - timing.KILL_BOUND_S


def _no_deadline(run: GuardRun) -> float:
    if run.phase in ("launching", "running"):
        return float("inf")
    return _real_due(run)


def _stop_without_deadline(run: GuardRun) -> float:
    """Let an ordinary stop take its time, whatever becomes of trust."""
    return run.kill_at if run.phase == "stopping" else _real_due(run)


def _nothing_is_late(_deadlines: dict[int, float], _now: float) -> set[int]:
    """Leave it to others to kill."""
    return set()


def _nothing_to_kill(_watch: GuardianWatch, _now: float) -> frozenset[int]:
    """Wait for the guardian, however late it is."""
    return frozenset()


def _nothing_for_the_spare(
    _watch: SpareWatch, _shown: Mapping[int, float], _now: float
) -> set[int]:
    """Wait for guardian and agent, however late they are."""
    return set()


def _never_frozen(_watch: GuardianWatch, _now: float) -> bool:
    """Wait for an echo for ever."""
    return False


_real_may_watch = LastSeen.may_watch


def _watch_over_a_pooler(seen: LastSeen) -> bool:
    """Rely on what was seen before, although another server may answer by now."""
    return _real_may_watch(replace(seen, lent=False))


_real_observe = epoch.observe


def _observe_and_forget(
    known: epoch.Epoch | None, view: View, now: float, own_liveness_s: float, beats: int = 0
) -> epoch.Epoch:
    """Go back to an earlier branch as if no later one had ever granted anything."""
    return replace(_real_observe(known, view, now, own_liveness_s, beats), returned=False)


_real_due = guardian_run.due


def _failed_is_done(
    at: node_state.Node, now: float, request: Request | None, why: str
) -> tuple[node_state.Node, tuple[Command, ...]]:
    """Take a renewal without an answer for one that was acknowledged."""
    after, told = _real_failed(at, now, request, why)
    if not isinstance(request, Beat | Take) or request.session != at.session:
        return after, told
    until = max(at.trusted_until, now - at.timing.attempt_s + at.timing.lease_s)
    after = replace(after, trusted_until=until)
    run = after.run
    if run is None or run.stopping:
        return after, told
    return after, (*told, ExtendTrust(run.number, until))


def _no_end_is_healthy(_side: SideRun) -> str:
    """Take a health check that hung for one that succeeded."""
    return ""


def _any_run(_watch: ProgramWatch, _run: int) -> bool:
    """Take a sign of life of any run for one of the present run."""
    return True


_real_look = hung._look


def _one_look(at: node_state.Node, watch: ProgramWatch, now: float) -> tuple[node_state.Node, str]:
    """Take an overdue report for a missing one at the first look."""
    after, why = _real_look(at, watch, now)
    late = after.program_watch is not None and after.program_watch.overdue_at == now
    return after, why or ("no progress" if late else "")


def _given_up_at_once(at: node_state.Node, run: NodeRun, why: str, _now: float) -> node_state.Node:
    """Take the token of a hung program back as soon as it is released."""
    return node_state.give_up(at, run.term, node_state.NEVER, why=why)


def _own_time_only(_node: node_state.Node, side: SideRun) -> float:
    """Give a side run its whole time, whatever becomes of trust."""
    return side.until


def _no_preparation(_node: node_state.Node, _term: int, _now: float) -> None:
    """Start the program at once, whatever it needs."""


def _nothing_to_clear_up(at: node_state.Node) -> bool:
    """Release the token as soon as the program is dead."""
    return at.run is not None


def _preparation_stays(at: node_state.Node) -> tuple[node_state.Node, tuple[Command, ...]]:
    """Prepare on, whoever holds the token."""
    return at, ()


def _no_side_run(_node: node_state.Node, _kind: Kind) -> None:
    """Start a side run beside another of its kind."""


def _nothing_of_one_offs(at: node_state.Node, *_: object) -> tuple[node_state.Node, tuple[()]]:
    """Leave a one-off alone."""
    return at, ()


def _any_holder(at: node_state.Node, _now: float) -> bool:
    """Start a one-off wherever a program runs, whatever becomes of trust."""
    return at.run is not None


def _starts_beside(at: node_state.Node, _now: float) -> bool:
    """Start the program beside a one-off of an earlier term."""
    return at.run is None and node_state.holds(at)


#: A program that only its health checks can be told from a living one.
CHECKED = HungPolicy(
    health=HealthPolicy(interval_s=0.5, timeout_s=0.3, failures_max=2, delay_s=0.5)
)
Patch = tuple[ModuleType | type, str, Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Planted:
    """One bug: what is replaced, and what kind of violation gives it away.

    first: the seed to begin with, where few worlds show the bug.
    """

    rule: str
    bias: Bias | None = None  #: worlds that show it; None: only a transcript shows it
    patches: tuple[Patch, ...] = ()
    database: type[MemoryDatabase] = MemoryDatabase
    first: int = 0


PLANTED: dict[str, Planted] = {
    "answer": Planted(
        "trust runs from the question",
        Bias(stories=("last answer late",), extreme=True),
        ((intake, "trust_end", _trust_from_answer),),
        first=44,
    ),
    "settle": Planted(
        "a new identity is waited out",
        Bias(stories=("takeover then failover", "pause spans failover")),
        ((next_request, "settle_at", _settle_at_once),),
        first=44,
    ),
    "unsettled-take": Planted(
        "nobody takes on an unsettled identity",
        Bias(stories=("takeover then failover", "pause spans failover")),
        database=UnsettledTaken,
        first=12,
    ),
    "unsettled-start": Planted(
        "nothing starts on an unsettled identity",
        patches=((node_state, "may_act", _act_on_anything),),
    ),
    "plain-term": Planted(
        "terms rise over timelines",
        Bias(stories=("failover twice", "handover then failover")),
        ((next_request, "next_term", _plain_next_term),),
        database=PlainTerms,
        first=32,
    ),
    "timeline-term": Planted(
        "terms come from what no branch that was thrown away can repeat",
        Bias(stories=("number given again",)),
        database=TermsOfTimelines,
    ),
    "settled-by-timeline": Planted(
        "what was settled on an earlier run is not",
        Bias(stories=("rolled back",)),
        database=SettledByTimeline,
        first=20,
    ),
    "any-restart": Planted(
        "a restart in place is proven",
        Bias(stories=("rolled back",)),
        ((epoch, "proven", _all_there),),
        first=20,
    ),
    "half-wait": Planted(
        "the whole longest interval is waited out",
        Bias(stories=("takeover then failover", "pause spans failover"), extreme=True),
        ((next_request, "settle_at", _half_the_wait),),
        first=168,
    ),
    "returned-term": Planted(
        "terms stay above those of a later branch that has gone away",
        Bias(stories=("mistake taken late",)),
        ((intake.epoch, "observe", _observe_and_forget),),
        first=38,
    ),
    "counts-on": Planted(
        "once a term was the clock's, all later ones are",
        Bias(stories=("mistake taken late",)),
        database=CountsOn,
        first=19,
    ),
    "copy-unseen": Planted(
        "terms come from the clock for good once a server is copied",
        Bias(stories=("mistake with memory",)),
        database=CopyUnseen,
    ),
    "mistaken-branch": Planted(
        "a later branch counts until its leases are over",
        Bias(stories=("mistaken promotion",), extreme=True),
        ((epoch, "left_behind", _forget_later_branches),),
        first=25,
    ),
    "dropped-sight": Planted(
        "who beats on a branch whose answers are dropped is alive",
        patches=((branches, "note_silence", _no_beat_counts),),
    ),
    "own-session": Planted(
        "only a session of this very process is no namesake",
        Bias(twin=True),
        ((join, "_own", _every_session_is_own),),
    ),
    "revive": Planted(
        "dead is dead",
        patches=((machine, "expired", _never_expired), (node_state, "expired", _never_expired)),
    ),
    "beat": Planted(
        "the seen beat must still stand",
        Bias(stories=("beat in the last moment",), extreme=True, timing=(6.0, 2.0)),
        database=BeatUnseen,
    ),
    "identity": Planted(
        "another run of the server starts the wait again",
        patches=((watch, "watched", _on_any_server),),
    ),
    "reconnect": Planted(
        "a lost connection does not start the wait again",
        patches=((intake, "_failed", _failure_ends_the_watch),),
    ),
    "stale-start": Planted(
        "T5: after two missed renewals nothing new is started",
        Bias(stories=("exits while answers are late",), timing=(6.0, 1.2)),
        ((node_state, "fresh", _always_fresh),),
        first=29,
    ),
    "lease": Planted(
        "the lease fits into the interval",
        Bias(stories=("last answer late",), extreme=True),
        ((timing, "lease_of", _lease_of_one_clock),),
    ),
    "unknown": Planted(
        "an unknown outcome is no success",
        Bias(stories=("beat in the last moment", "takeover then failover")),
        ((intake, "_failed", _failed_is_done),),
    ),
    "namesake": Planted(
        "a live namesake is left alone", Bias(twin=True), database=NamesakeReplaced
    ),
    "watch-over-pooler": Planted(
        "O6: behind a pooler every heartbeat looks at everything",
        Bias(stories=("takeover then failover",), pooled=True),
        ((LastSeen, "may_watch", _watch_over_a_pooler),),
        first=44,
    ),
    "third-belt": Planted(
        "G9: the spare kills what guardian and agent leave alive",
        Bias(stories=("only the spare is left",)),
        ((SpareWatch, "late", _nothing_for_the_spare),),
    ),
    "second-belt": Planted(
        "G7: the agent kills what the guardian is late with",
        Bias(stories=("guardian frozen in an outage",)),
        # The spare would do it in the agent's place (G9).
        (
            (guardian_watch, "late_runs", _nothing_to_kill),
            (SpareWatch, "late", _nothing_for_the_spare),
        ),
        first=51,
    ),
    "echo": Planted(
        "G7: the agent kills everything when the guardian is frozen",
        Bias(stories=("guardian frozen early",)),
        # A run would be late after that, and agent or spare would kill it.
        (
            (guardian_watch, "is_frozen", _never_frozen),
            (guardian_watch, "late_runs", _nothing_to_kill),
            (SpareWatch, "late", _nothing_for_the_spare),
        ),
    ),
    "state-unfenced": Planted(
        "Y1: a state is saved under the fence only",
        Bias(states=True),
        database=StateUnfenced,
    ),
    "state-early": Planted(
        "Y4: a state is read from a snapshot that shows the holding",
        Bias(states=True),
        ((states, "shows_holding", _any_snapshot),),
    ),
    "gate-unchecked": Planted(
        "S2, Y6: the guardian opens no gate once SIGTERM would be due",
        patches=((guardian_gate, "open_gate", _open_unchecked),),
    ),
    "gate-twice": Planted(
        "Y7: a gate is opened once",
        patches=((guardian_gate, "open_gate", _open_again),),
    ),
    "deadline": Planted(
        "the guardian keeps the deadline",
        Bias(stories=("agent frozen",)),
        # The spare would do it in the guardian's place (G9).
        ((guardian_run, "due", _no_deadline), (backstops, "late", _nothing_is_late)),
    ),
    "hung-check": Planted(
        "M3: a health check that hangs has failed",
        Bias(stories=("hangs",), hung=CHECKED),
        ((side_runs, "_no_end", _no_end_is_healthy),),
    ),
    "old-progress": Planted(
        "M2: the progress of an old run says nothing about a new one",
        patches=((hung, "_is_of", _any_run),),
    ),
    "one-look": Planted(
        "M1: what a program reported while its node stood still is read first",
        patches=((hung, "_look", _one_look),),
    ),
    "hung-again": Planted(
        "M4: the token of a hung program is left to other nodes first",
        patches=((program_end, "_given_up", _given_up_at_once),),
    ),
    "patient-check": Planted(
        "M5: a side run under the token ends with its trust",
        patches=((side_runs, "_deadline", _own_time_only),),
    ),
    "unprepared": Planted(
        "M9: the program waits for the hook before its start",
        patches=((hooks, "prepare", _no_preparation),),
    ),
    "uncleared": Planted(
        "M10: the token waits for the hook after the program's end",
        patches=((next_request, "clearing_up", _nothing_to_clear_up),),
    ),
    "prepared-for-another": Planted(
        "L2: a lost token ends the preparation of a start",
        patches=((hooks, "lost", _preparation_stays),),
    ),
    "changes-at-once": Planted(
        "M11: one change is told at a time",
        patches=((side_runs, "of_kind", _no_side_run),),
    ),
    "stale-one-off": Planted(
        "M12: a one-off begins on fresh trust, in a program that may go on",
        patches=((one_offs, "_is_active", _any_holder),),
    ),
    "orphaned-one-off": Planted(
        "M13: a one-off ends when its asker is gone",
        patches=((one_offs, "withdrawn", _nothing_of_one_offs),),
    ),
    "kept-one-off": Planted(
        "M13: a one-off is told to end when its term is given up",
        patches=((one_offs, "stop", _nothing_of_one_offs),),
    ),
    "lost-one-off": Planted(
        "L2: a one-off dies with its holding, though no program runs just then",
        patches=((one_offs, "lost", _nothing_of_one_offs),),
    ),
    "beside-one-off": Planted(
        "M5: the program of a later term waits for a one-off of an earlier one",
        patches=((machine, "may_start", _starts_beside),),
    ),
    "patient-stop": Planted(
        "an ordinary stop ends with trust",
        Bias(stories=("stop then cut",)),
        ((guardian_run, "due", _stop_without_deadline), (backstops, "late", _nothing_is_late)),
        first=39,
    ),
}


@contextmanager
def planted(name: str) -> Iterator[type[MemoryDatabase]]:
    """Break one rule for a while; gives the database class to simulate with."""
    bug = PLANTED[name]
    with patched(bug.patches):
        yield bug.database


@contextmanager
def patched(patches: tuple[Patch, ...]) -> Iterator[None]:
    """Replace rules for a while."""
    before = [(module, rule, getattr(module, rule)) for module, rule, _ in patches]
    try:
        for module, rule, broken in patches:
            setattr(module, rule, broken)
        yield
    finally:
        for module, rule, real in before:
            setattr(module, rule, real)
