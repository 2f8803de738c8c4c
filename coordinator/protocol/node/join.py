"""The answer to a join: this node's new session, or the namesake that occupies its row."""

from __future__ import annotations

from dataclasses import replace

from coordinator.errors import ConfigError
from coordinator.protocol.messages.requests import Answer, Join
from coordinator.protocol.node import next_beat
from coordinator.protocol.node.events import Answered
from coordinator.protocol.node.state.node import Leaving, Node, session_name
from coordinator.protocol.rules.trust import trust_end
from coordinator.protocol.rules.watch import Sight, watched

#: This many heartbeats of a namesake prove that it lives; a single one may be a late statement.
NAMESAKE_MOVES_MAX = 2
NAME_TAKEN_CODE = 78
#: Number of its last sessions that a node knows by name. An older one, on a branch of the database
#: that is used again, is waited out like a namesake.
SESSIONS_KNOWN_MAX = 64


def joined(node: Node, event: Answered, request: Join) -> Node:
    """Apply the answer to a join: a session, or the namesake that blocks it."""
    answer, now = event.answer, event.now
    if node.session is not None:
        return node
    if answer.done:
        until = trust_end(event.sent_at, now, node.timing.lease_s)
        node = replace(
            node,
            session=request.session,
            joining=None,
            previous=None,
            unheard_since=None,
            ended=None,
            trusted_until=until,
            namesake=None,
            namesake_watch=None,
        )
        return next_beat.schedule(node, now)
    if answer.refused:
        leaving = Leaving("refused", ConfigError.exit_code, answer.refused)
        return replace(node, leaving=node.leaving or leaving, joining=None)
    if answer.namesake is not None and answer.namesake.session == request.session:
        # An earlier attempt did join unheard, and was ended since: its name is used up.
        return replace(node, joining=None, beat_at=now)
    row = answer.namesake
    if row is not None and row.session != request.previous and _own(node, row.session):
        # Another branch of the database knows an earlier session of this same process. Its programs
        # are dead (L3), so the next attempt may replace it.
        return replace(node, previous=row.session, namesake=None, namesake_watch=None, beat_at=now)
    return _note_namesake(node, answer, now)


def _own(node: Node, session: str | None) -> bool:
    """Say whether this process has used that session name."""
    last = node.session_count
    known = range(max(0, last - SESSIONS_KNOWN_MAX) + 1, last + 1)
    return any(session == session_name(node.policy, count) for count in known)


def _note_namesake(node: Node, answer: Answer, now: float) -> Node:
    """Watch the session that occupies this node's own row, as a standby watches a holder."""
    row = answer.namesake
    assert row is not None, "a join that was not done names the occupant"
    before = node.namesake_watch
    sight = Sight(answer.view.identity, 0, row.session, row.beat)
    watch = watched(before, sight, now, node.timing.gap_max_s)
    moved = (
        before is not None
        and before.sight.identity == sight.identity
        and before.sight.session == sight.session
        and before.sight.beat != sight.beat
    )
    moves = node.namesake_moves + 1 if moved else node.namesake_moves
    node = replace(
        node,
        namesake=row,
        namesake_watch=watch,
        namesake_moves=moves,
        beat_at=now + next_beat.jittered(node, node.timing.heartbeat_s),
    )
    if moves < NAMESAKE_MOVES_MAX or node.leaving is not None:
        return node
    trouble = (
        f"taskId: {node.policy.node!r} is live on {row.where or 'another machine'}"
        f" (beat {row.age_s:.1f} s ago); give this node another taskId"
    )
    return replace(node, leaving=Leaving("name taken", NAME_TAKEN_CODE, trouble))
