"""Intake of events: each event changes what the node believes, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.planned import EndPlanned, TellInterval
from coordinator.protocol.messages.requests import (
    Answer,
    Beat,
    EndNamesake,
    Join,
    Leave,
    RaiseFloor,
    ReadRoster,
    Release,
    Request,
    Settle,
    Take,
    TellReady,
    View,
)
from coordinator.protocol.messages.task_requests import TakeTasks
from coordinator.protocol.node import branches, next_beat, program_end, request_backoff, worker
from coordinator.protocol.node.events import (
    Answered,
    Command,
    Event,
    ExtendTrust,
    Failed,
    LogLine,
    Notified,
    OneOffAsked,
    OneOffWithdrawn,
    PrimarySeen,
    ProgramEnded,
    ProgramProgressed,
    ProgramRefused,
    ProgramStopping,
    ProgramWaits,
    Reconnect,
    ResignAsked,
    StopAsked,
    Ticked,
)
from coordinator.protocol.node.gate import prepared
from coordinator.protocol.node.join import joined
from coordinator.protocol.node.planned import give_way, interval
from coordinator.protocol.node.planned import intake as planned_intake
from coordinator.protocol.node.reported_failures import report_failure
from coordinator.protocol.node.side_runs import one_offs, runs
from coordinator.protocol.node.state.node import (
    NEVER,
    Leaving,
    Node,
    end_own_session,
    give_up,
    holds,
    is_free,
    work_left,
)
from coordinator.protocol.node.tasks import intake as task_intake
from coordinator.protocol.node.tasks import read_record
from coordinator.protocol.rules import epoch
from coordinator.protocol.rules.trust import trust_end
from coordinator.protocol.rules.watch import watched_holder

Step = tuple[Node, tuple[Command, ...]]

#: After this many connections in a row that broke while idle, with one heartbeat on each, an idle
#: limit below heartbeatFrequency is likely: connect for heartbeats only, and report it.
IDLE_BREAKS_MAX = 3
#: Seconds for which a leaving node waits for the database to confirm its release.
LEAVE_S = 2.0


def absorb(node: Node, event: Event) -> Step:
    """Apply one event to what the node believes."""
    match event:
        case Ticked():
            return node, ()
        case Notified(now):
            node = worker.notified(task_intake.notified(node), now)
            return replace(node, beat_at=min(node.beat_at, now)), ()
        case Answered():
            return _answered(node, event)
        case Failed(now, request, why):
            return _failed(node, now, request, why)
        case ProgramRefused() | ProgramStopping() | ProgramEnded() | ProgramProgressed():
            return _give_up_leaving(*program_end.on_program(node, event), event.now)
        case ProgramWaits():
            return prepared.on_event(node, event) or (node, ())
        case PrimarySeen(now, identity):
            return branches.primary_seen(node, now, identity)
        case StopAsked(now, reason, code):
            code = code or program_end.code_of_signal(node, reason)
            leaving = node.leaving or Leaving(reason, code)
            return _give_up_leaving(replace(node, leaving=leaving), (), now)
        case ResignAsked(now, reason):
            return give_way.resign(node, now, reason)
        case OneOffAsked():
            return one_offs.asked(node, event)
        case OneOffWithdrawn(_, ask):
            return one_offs.withdrawn(node, ask)


def _left_behind(node: Node, event: Answered, latest: epoch.Latest) -> Step:
    """Drop the answer of a primary that a promotion has left behind (rule E4).

    What it acknowledges will be lost, so it is worth nothing. A node that relied on it until now
    stops what it runs, and connects to the later primary.
    """
    now, known, shown = event.now, node.epoch, event.answer.view.identity
    assert known is not None, "a node that has seen a later branch has an epoch"
    fields = (("timeline", shown.timeline), ("later", latest.identity.timeline))
    wait_s = round(epoch.free_at(known) - now, 3)
    if known.identity == shown and node.session is not None:
        node, _ = _failed(node, now, event.request, "two primaries")
        node = replace(end_own_session(node), refused=shown)
        node, killed = program_end.lose(node, "a newer primary was seen", now)
        line = LogLine("two-primaries", fields)
        return node, (*killed, Reconnect("a newer primary was seen"), line)
    node = branches.note_silence(node, event.answer.view, now)
    first = (
        () if node.refused == shown else (LogLine("dead-branch", (*fields, ("wait_s", wait_s))),)
    )
    node, _ = _failed(replace(node, refused=shown), now, event.request, "dead branch")
    return node, (Reconnect("the database's timeline went back"), *first)


def _give_up_leaving(node: Node, commands: tuple[Command, ...], now: float) -> Step:
    """Set the moment at which a leaving node without a program stops waiting for answers."""
    leaving = node.leaving
    if leaving is not None and not work_left(node) and leaving.give_up_at is None:
        node = replace(node, leaving=replace(leaving, give_up_at=now + LEAVE_S))
    return node, commands


def _failed(node: Node, now: float, request: Request | None, why: str) -> Step:
    """Believe nothing: neither that the request was done, nor that it was not, nor what was seen.

    A watch stays: the next answer confirms it, or starts it anew (rule O3).
    """
    if request is not None and request is not node.pending:
        return node, ()
    node = task_intake.in_doubt(replace(node, view=None))
    if request is None and node.pending is None and node.session is not None:
        node = replace(node, idle_breaks=node.idle_breaks + 1, beats_since_break=0)
        if node.idle_breaks >= IDLE_BREAKS_MAX:
            # A lasting condition: reconnecting at once would query more often than heartbeats do.
            line = LogLine("idle-limit", (("breaks", node.idle_breaks),))
            return node, (line,) if node.idle_breaks == IDLE_BREAKS_MAX else ()
    failures = node.failures + 1
    if request is not None:
        node = request_backoff.hold(node, request, now)
    node = replace(
        node,
        # An idle connection that broke says nothing about a request that has since set out.
        pending=node.pending if request is None else None,
        failures=failures,
        retry_at=now + request_backoff.pause_s(node, failures),
        beat_at=now,
    )
    return report_failure(node, now, why)


def _answered(node: Node, event: Answered) -> Step:
    request, answer, now = event.request, event.answer, event.now
    if request is not node.pending:
        return node, ()  # an answer from an earlier life
    if node.epoch is not None:
        node = replace(node, epoch=epoch.missed(node.epoch, answer.view.identity, now))
    latest = epoch.left_behind(node.epoch, answer.view.identity, now)
    if latest is not None and event.sent_at >= latest.since:
        return _left_behind(node, event, latest)
    node = replace(node, pending=None)
    regained = (LogLine("database-back", ()),) if node.failures else ()
    node = replace(request_backoff.let_go(node, request), failures=0, retry_at=NEVER, refused=None)
    node, waits = _note_view(node, event, now)
    regained = (*regained, *waits)
    node, commands = _note_outcome(node, event, request, answer)
    node, lost = program_end.check_token(node, now)
    return node, (*regained, *commands, *lost)


def _note_view(node: Node, event: Answered, now: float) -> Step:
    before, view = node.epoch, event.answer.view
    moved = before is not None and epoch.changed(before, view)
    if moved:
        node = task_intake.moved(node)
    if node.view is not None and node.view.token != view.token:
        node = replace(node, refused_takes=0)
    node = branches.observed(node, event)
    node, planned = planned_intake.note(_note_sight(node, view, now), view, now)
    node, adopted = interval.adopt(node, event.request, event.answer, moved=moved)
    return node, (*branches.waiting(before, node.epoch), *planned, *adopted)


def _note_sight(node: Node, view: View, now: float) -> Node:
    if is_free(view) or holds(node):
        free_since = None if holds(node) else (node.free_since or now)
        return replace(node, watch=None, free_since=free_since)
    watch = watched_holder(node.watch, view, now, node.timing.gap_max_s)
    return replace(node, free_since=None, watch=watch)


def _note_outcome(node: Node, event: Answered, request: Request, answer: Answer) -> Step:
    now = event.now
    match request:
        case Join():
            return joined(node, event, request), ()
        case Beat(session=session) | Take(session=session) if session != node.session:
            return replace(node, view=None), ()  # the session ended while the request was pending
        case Beat() if not answer.done:
            return _session_ended(node, now)
        case Beat():
            return _renewed(_beaten(next_beat.schedule(node, now)), event)
        case Take() if answer.done:
            remembered = max(node.remembered, answer.term)
            node = replace(node, remembered=remembered, refused_takes=0, beats=node.beats + 1)
            node, renewed = _renewed(node, event)
            return node, (*renewed, *task_intake.succeeded(node, request))
        case Take():
            return _take_refused(node, now), ()
        case Release():
            return give_up(node, request.term), ()
        case Leave():
            return _left(node, request), ()
        case ReadRoster() | EndPlanned() | TellInterval():
            return planned_intake.answered(node, request, answer, now)
        case EndNamesake() | Settle() | RaiseFloor() | TellReady():
            return _note_upkeep(node, request, answer, now), ()
        case TakeTasks() if answer.done and request.session == node.session:
            node = replace(node, beats=node.beats + 1)  # a take counts as a heartbeat, too
            node, renewed = _renewed(node, event)
            node, taken = task_intake.answered(node, event, request)
            return node, (*renewed, *taken)
        case _:
            return task_intake.answered(node, event, request)


def _note_upkeep(
    node: Node, request: EndNamesake | Settle | RaiseFloor | TellReady, answer: Answer, now: float
) -> Node:
    match request:
        case TellReady():
            return prepared.told(node, request)
        case EndNamesake():
            return replace(node, namesake_watch=None, beat_at=now)
        case Settle() if answer.done and answer.view.settled:
            assert node.epoch is not None
            return replace(node, epoch=replace(node.epoch, reported=True))
        case RaiseFloor() if answer.done and not answer.view.copied:
            if request.by_clock and node.epoch is not None:
                return replace(node, epoch=replace(node.epoch, returned=False))
            return node
        case Settle():
            # The server counts the wait again by its own clock, and has not waited long enough.
            assert node.epoch is not None
            later = epoch.postponed(node.epoch, now + node.timing.heartbeat_s)
            return replace(node, epoch=later, beat_at=min(node.beat_at, now))
        case RaiseFloor():
            # Another server answered, or rows are deleted again and again (rule O7).
            return replace(node, floor_at=now + node.timing.heartbeat_s)


def _take_refused(node: Node, now: float) -> Node:
    """Read again soon, by a heartbeat: another node was faster, or the holder lives.

    While the same take is refused again, the pause grows to a whole heartbeat (rule O7).
    """
    pause_s = node.timing.heartbeat_s * min(1.0, 2.0**node.refused_takes / 4)
    return replace(
        node,
        refused_takes=node.refused_takes + 1,
        beat_at=min(node.beat_at, now + pause_s),
        cool_until=max(node.cool_until, now + pause_s),
    )


def _beaten(node: Node) -> Node:
    """Count the heartbeats of one connection: a second one shows that it survives a pause."""
    count = node.beats_since_break + 1
    return replace(node, beats_since_break=count, idle_breaks=0 if count > 1 else node.idle_breaks)


def _renewed(node: Node, event: Answered) -> Step:
    """Extend the session's trust, and the program's with it."""
    until = trust_end(event.sent_at, event.now, node.timing.lease_s)
    node = replace(node, trusted_until=max(node.trusted_until, until))
    assert node.view is not None
    run = node.run
    if node.task_state is not None:
        return node, (*read_record.renewed(node), *worker.extended(node))
    beside = (*runs.extended(node), *worker.extended(node))
    if run is None or run.over or not holds(node) or node.view.token.term != run.term:
        return node, beside
    return node, (ExtendTrust(run.number, node.trusted_until), *beside)


def _session_ended(node: Node, now: float) -> Step:
    """Lose every token of this session, which another node has ended."""
    line = LogLine("session-ended", (("session", node.session),))
    node = replace(end_own_session(node), beat_at=now)
    node, killed = program_end.lose(node, "the session was ended by another node", now)
    return node, (line, *killed)


def _left(node: Node, request: Leave) -> Node:
    if request.session == node.bury:
        return replace(node, bury=None, previous=request.session)
    return replace(end_own_session(node), previous=None)
