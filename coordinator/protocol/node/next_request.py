"""The next request to the database, and the time of the next decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from coordinator.protocol.messages.requests import (
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
    View,
)
from coordinator.protocol.node.gate.prepared import deference_s, prepare_at, tell_ready
from coordinator.protocol.node.planned import takes
from coordinator.protocol.node.planned.next_request import (
    looks,
    next_planned_request,
    planned_moments,
)
from coordinator.protocol.node.request_backoff import is_held
from coordinator.protocol.node.side_runs.hung import moments as hung_moments
from coordinator.protocol.node.state.node import (
    Node,
    clearing_up,
    holds,
    is_free,
    program_left,
    session_name,
    work_left,
)
from coordinator.protocol.node.tasks.next_request import next_task_request, task_moments
from coordinator.protocol.node.worker import moments as worker_moments
from coordinator.protocol.rules.epoch import Epoch, long_wait_at, may_act, settle_at
from coordinator.protocol.rules.ranking import head_start
from coordinator.protocol.rules.terms import next_term
from coordinator.protocol.rules.watch import kept, silent_at

Choice = tuple[Node, Request | None]


def next_request(node: Node, now: float) -> Choice:
    """Choose the one request that matters most now; None when nothing is due.

    A request that failed lately does not block the others.
    """
    if node.session is None:
        node, request = _without_session(node, now)
        held = request is not None and is_held(node, request, now)
        return node, None if held else request
    wanted = _wanted(node, node.session, now)
    return node, next((request for request in wanted if not is_held(node, request, now)), None)


def _wanted(node: Node, session: str, now: float) -> Iterator[Request]:
    """Yield the requests that are due, the most important first."""
    if node.leaving is not None and not work_left(node):
        yield _leave(node, session, node.leaving.reason, now)
        return
    if (release := _release(node, now)) is not None:
        yield release
    take = take_at(node)
    if take is not None and now >= take and _watch_kept(node, now):
        yield _take(node, now)
    planned = next_planned_request(node, now)
    if planned is not None:
        yield planned
    due = looks(node, now)
    if due or now >= node.beat_at:
        yield Beat(session=session, looks=due)
    more = next_task_request(node, now)
    if more is not None:
        yield more
    upkeep = _upkeep(node, now) or tell_ready(node, session)
    if upkeep is not None:
        yield upkeep


def patience_s(node: Node, now: float) -> float:
    """Return the seconds after which the pending request is given up and its connection closed.

    One attempt while a program or a heartbeat waits for it. Other requests may take longer: on a
    slow network a race takes two round trips and a new connection eight, and a node that always
    gave up after one attempt would never come back.
    """
    attempt_s = node.timing.attempt_s
    if program_left(node):
        return attempt_s
    if node.failures or node.session is None:
        # Not longer than a lease: an attempt swallowed by an outage must not outlast it for long,
        # and the node with the highest term must be back before an epoch is settled.
        return min(attempt_s * 2.0 ** min(node.failures, 10), node.timing.lease_s)
    if isinstance(node.pending, Beat):
        return attempt_s
    return max(attempt_s, node.trusted_until - now)


def _without_session(node: Node, now: float) -> Choice:
    """Bury, leave, watch a namesake, or join; only when the program is certainly dead."""
    if program_left(node):
        return node, None
    if node.bury is not None:
        return node, Leave(session=node.bury, reason="the node's agent died")
    if node.leaving is not None:
        if node.previous is None:
            return node, None
        return node, _leave(node, node.previous, node.leaving.reason, now)
    silent = _namesake_silent_at(node)
    if silent is not None and now >= silent:
        assert node.namesake_watch is not None
        sight = node.namesake_watch.sight
        assert sight.session is not None
        return node, EndNamesake(session=sight.session, beat=sight.beat)
    if now < node.beat_at:
        # Needs no session: a namesake's wait must not delay a node that remembers a higher term.
        return node, _raise_floor(node, now)
    if node.joining is None:
        # The same name is used until the answer is known, so that a lost answer does no harm.
        joining = session_name(node.policy, node.session_count + 1)
        node = replace(node, joining=joining, session_count=node.session_count + 1)
    assert node.joining is not None
    return node, _join(node, node.joining, now)


def _join(node: Node, session: str, now: float) -> Join:
    """Ask for a session, and report until when this node was active, for the history."""
    over = ""
    if node.unheard_since is not None:
        unheard_s = now - node.unheard_since
        over = f"no heartbeat of {node.policy.node} was acknowledged for {unheard_s:.2f} s"
    return Join(
        session=session,
        previous=node.previous,
        over=over,
        ended_term=0 if node.ended is None else node.ended.term,
        ended_s=0.0 if node.ended is None else now - node.ended.at,
    )


def _namesake_silent_at(node: Node) -> float | None:
    if node.namesake is None or node.namesake_watch is None:
        return None
    return silent_at(node.namesake_watch, node.namesake, node.timing.liveness_s)


def _leave(node: Node, session: str, reason: str, now: float) -> Leave:
    """End an own session, and report since when the last program is dead: maybe long ago."""
    ended = node.ended
    if ended is None:
        return Leave(session=session, reason=reason)
    return Leave(
        session=session, reason=reason, ended_term=ended.term, ended_s=max(0.0, now - ended.at)
    )


def _release(node: Node, now: float) -> Release | None:
    """Release a holding that was given up, once its program has ended (rule L1)."""
    view = node.view
    if view is None or clearing_up(node) or not holds(node) or node.session is None:
        return None
    if view.token.term > node.given_up:
        return None
    ended, term = node.ended, view.token.term
    ended_s = max(0.0, now - ended.at) if ended is not None and ended.term == term else 0.0
    reason = node.given_up_why if term == node.given_up else ""
    return Release(session=node.session, term=term, reason=reason or "given up", ended_s=ended_s)


def take_at(node: Node) -> float | None:
    """Return the moment at which this node may try to take the token; None while it may not."""
    view = node.view
    if view is None or node.session is None or clearing_up(node) or node.leaving is not None:
        return None
    if not takes.allowed(node, view) or not may_act(view) or holds(node):
        return None
    if node.epoch is not None and node.epoch.returned:
        return None  # the later branch, now gone, took its terms from the clock (rule N1)
    if is_free(view):
        start_s = takes.start_after_s(node, view)
        return max(node.cool_until, (node.free_since or 0.0) + start_s)
    if node.watch is None or (view.holder is not None and _suspended(node)):
        return None
    # Without the holder's row its interval is unknown: use the longest one that this node knows.
    unknown_s = node.epoch.longest_liveness_s if node.epoch else node.timing.liveness_s
    silent = silent_at(node.watch, view.holder, unknown_s)
    return max(node.cool_until, silent + head_start(node.place) + deference_s(node))


def _suspended(node: Node) -> bool:
    """Say whether ending sessions is suspended in the group, the observer's included (B6)."""
    record = None if node.task_state is None else node.task_state.record
    return record is not None and record.suspended


def _watch_kept(node: Node, now: float) -> bool:
    """Say whether the watch has no gap; a node that woke from a suspend must read first."""
    return node.watch is None or kept(node.watch, now, node.timing.gap_max_s)


def _take(node: Node, now: float) -> Take:
    view = node.view
    assert view is not None
    assert node.session is not None
    token, free = view.token, is_free(view)
    watched_s = 0.0 if free or node.watch is None else now - node.watch.since
    beat = None if free or view.holder is None else view.holder.beat
    return Take(
        session=node.session,
        seen_term=token.term,
        seen_node=token.node,
        seen_session=token.session,
        seen_beat=beat,
        next_term=next_term(token.term, node.remembered),
        branch=view.identity.branch,
        how=_how(view),
        reason="" if free else f"no heartbeat of {token.node} for {watched_s:.2f} s",
        detected_s=watched_s,
    )


def _how(view: View) -> str:
    if view.token.term == 0:
        return "first"
    return "release" if view.token.session is None else "takeover"


def _upkeep(node: Node, now: float) -> Request | None:
    """Choose among requests that are not urgent."""
    view = node.view
    if view is None or node.epoch is None:
        return None
    floor = _raise_floor(node, now)
    if floor is not None:
        return floor
    if now >= _settle_at(node.epoch, view):
        return Settle(
            identity=view.identity,
            waited_s=max(0.0, now - node.epoch.since),
            continues=not view.settled and node.epoch.continues,
        )
    if _roster_wanted(node, view) and now >= _roster_at(node):
        return ReadRoster()
    return None


def _settle_at(seen: Epoch, view: View) -> float:
    return long_wait_at(seen) if view.settled else settle_at(seen)


def _raise_floor(node: Node, now: float) -> RaiseFloor | None:
    view = node.view
    if view is None or now < node.floor_at:
        return None
    by_clock = view.copied or (node.epoch is not None and node.epoch.returned)
    if not by_clock and node.remembered <= max(view.token.term, view.token.term_floor):
        return None
    return RaiseFloor(term=node.remembered, by_clock=by_clock)


def _roster_wanted(node: Node, view: View) -> bool:
    """Say whether to read the roster; a node with tasks derives it from the group's record.

    The holder never reads it: it is not in its own succession, and the request would delay
    heartbeats.
    """
    if node.task_state is not None:
        return False
    return view.group_version != node.roster_version and not holds(node)


def _roster_at(node: Node) -> float:
    """Return the next read: a thousand nodes joining must not cause a thousand reads by each."""
    return node.roster_at + node.timing.heartbeat_s


def wake_moments(node: Node) -> Iterator[float]:
    """Yield every moment at which the state alone would lead to a command."""
    if node.finished:
        return
    if node.session is not None:
        yield node.trusted_until
    if node.leaving is not None and node.leaving.give_up_at is not None:
        yield node.leaving.give_up_at
    if node.policy.wait_until is not None and node.run is None and node.leaving is None:
        yield node.policy.wait_until
    if node.run is None and holds(node):
        yield node.restarts.start_at
    yield from task_moments(node)
    yield from hung_moments(node)
    yield from worker_moments(node)
    yield prepare_at(node)
    if node.pending is not None:
        return
    for moment in (*_asking_moments(node), *(held.until for held in node.held)):
        yield max(moment, node.retry_at)


def _asking_moments(node: Node) -> Iterator[float]:
    if node.session is None and program_left(node):
        return
    yield node.beat_at
    yield from planned_moments(node)
    silent = _namesake_silent_at(node)
    if node.session is None and silent is not None:
        yield silent
    take = take_at(node)
    if take is not None:
        yield take
    view = node.view
    if view is not None and node.epoch is not None and node.session is not None:
        yield _settle_at(node.epoch, view)
        if _roster_wanted(node, view):
            yield _roster_at(node)
