"""The database in plain Python: fast, exact, and breakable on purpose.

Rows are frozen, so a snapshot copies a few small dicts. Every decision of the real SQL is a small
method of MemoryDatabase: a planted bug overrides one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from coordinator.protocol.requests import (
    Answer,
    Beat,
    Candidate,
    EndNamesake,
    Identity,
    Join,
    Leave,
    NodeFacts,
    NodeSeen,
    RaiseFloor,
    ReadRoster,
    Release,
    Request,
    Settle,
    Take,
    TokenSeen,
    View,
)
from tests.support.memory_rows import NEVER_HELD, NEVER_JOINED, HistoryRow, NodeRow, Snapshot

SILENT_INTERVALS_MAX = 2


class Listener(Protocol):
    """A connection, as the database sees it."""

    facts: NodeFacts
    open: bool
    notified: bool


@dataclass(eq=False)
class MemoryDatabase:
    """Tables, a server clock and an identity that tests may change at any time."""

    now: Callable[[], float] = lambda: 0.0
    identity: Identity = field(
        default=Identity(system_identifier=7_000_000_000_000_000_001, timeline=1, started_at=1)
    )
    available: bool = True  #: false: connect and ask find no database
    nodes: dict[tuple[str, str], NodeRow] = field(default_factory=dict)
    tokens: dict[str, TokenSeen] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    epochs: dict[tuple[int, int], bool] = field(default_factory=dict)
    history: dict[tuple[str, int], HistoryRow] = field(default_factory=dict)
    connections: list[Listener] = field(default_factory=list, repr=False)

    # --- decisions: a planted bug overrides one of these -----------------------------------------

    def beat_matches(self, row: NodeRow, seen_beat: int) -> bool:
        """One more beat and it lives."""
        return row.beat == seen_beat

    def session_lives(self, group: str, node: str | None, session: str | None) -> bool:
        row = None if node is None else self.nodes.get((group, node))
        return row is not None and row.session == session and not row.ended

    def may_end_seen(self, group: str, request: Take) -> bool:
        """Tell whether the holder that was seen is as silent as it was seen."""
        row = self.nodes.get((group, request.seen_node or ""))
        return (
            row is not None
            and row.session == request.seen_session
            and not row.ended
            and self.beat_matches(row, request.seen_beat or 0)
        )

    def is_settled(self) -> bool:
        return self.epochs.get(self.epoch_key(), False)

    def settled_at_creation(self) -> bool:
        """Only the first timeline of a database that knows no other can have granted nothing."""
        return self.identity.timeline == 1 and not self.epochs

    def timeline_matches(self, request: Take) -> bool:
        return request.timeline == self.identity.timeline

    def floor_of(self, token: TokenSeen) -> int:
        return token.term_floor

    def next_term(self, token: TokenSeen, request: Take) -> int:
        return max(request.next_term, self.floor_of(token) + 1, token.term + 1)

    def join_allowed(self, row: NodeRow, request: Join) -> bool:
        if row.session is None:
            return True
        if row.session == request.session:
            return not row.ended
        return row.ended or row.session == request.previous

    # --- state -----------------------------------------------------------------------------------

    def epoch_key(self) -> tuple[int, int]:
        return self.identity.system_identifier, self.identity.timeline

    def snapshot(self) -> Snapshot:
        """Return what is committed now; rows are shared, they never change."""
        return Snapshot(
            self.nodes.copy(),
            self.tokens.copy(),
            self.versions.copy(),
            self.epochs.copy(),
            self.history.copy(),
        )

    def restore(self, snapshot: Snapshot, timeline: int, *, keep_connections: bool = False) -> None:
        """Become an earlier state on `timeline`, as after a failover or a restore from backup.

        keep_connections: a pooler hides the change; only the identity in the answers tells.
        """
        self.nodes = snapshot.nodes.copy()
        self.tokens = snapshot.tokens.copy()
        self.versions = snapshot.versions.copy()
        self.epochs = snapshot.epochs.copy()
        self.history = snapshot.history.copy()
        self.identity = replace(
            self.identity, timeline=timeline, started_at=self.identity.started_at + 1
        )
        if not keep_connections:
            self.break_connections()

    def restart(self) -> None:
        """Restart the server: nothing is lost but the connections."""
        self.identity = replace(self.identity, started_at=self.identity.started_at + 1)
        self.break_connections()

    def break_connections(self) -> None:
        """Close every connection that is open."""
        for connection in self.connections:
            connection.open = False
        self.connections.clear()

    def prepare(self, facts: NodeFacts) -> None:
        """Make the rows that must exist beforehand, as every connect does."""
        self.ensure_epoch()
        self.nodes.setdefault((facts.group, facts.node), NEVER_JOINED)
        self.tokens.setdefault(facts.group, NEVER_HELD)
        self.versions.setdefault(facts.group, 1)

    def ensure_epoch(self) -> None:
        if self.epoch_key() not in self.epochs:
            self.epochs[self.epoch_key()] = self.settled_at_creation()

    # --- requests --------------------------------------------------------------------------------

    def carry_out(self, facts: NodeFacts, request: Request) -> Answer:
        """Carry out one request wholly, or not at all."""
        match request:
            case Beat():
                return self._beat(facts, request)
            case Join():
                return self._join(facts, request)
            case EndNamesake():
                return self._end_namesake(facts, request)
            case Take():
                return self._take(facts, request)
            case Release():
                done = self._give_back(facts, request.session, request.term, request.reason)
                return Answer(done=done, view=self.view(facts.group))
            case Leave():
                return self._leave(facts, request)
            case Settle():
                return self._settle(facts, request)
            case RaiseFloor():
                done = self._raise_floor(facts.group, request.term)
                return Answer(done=done, view=self.view(facts.group))
            case ReadRoster():
                return Answer(
                    done=True, view=self.view(facts.group), roster=self._roster(facts.group)
                )

    def view(self, group: str) -> View:
        """Return what the database shows now."""
        token = self.tokens.get(group, NEVER_HELD)
        row = None if token.node is None else self.nodes.get((group, token.node))
        settled = self.is_settled()
        return View(
            identity=self.identity,
            settled=settled,
            token=token,
            holder=None if row is None else self.seen(row),
            group_version=self.versions.get(group, 0),
            longest_liveness_s=0.0 if settled else self._longest_liveness_s(),
        )

    def seen(self, row: NodeRow) -> NodeSeen:
        facts = row.facts
        return NodeSeen(
            session=row.session,
            beat=row.beat,
            liveness_s=0.0 if facts is None else facts.liveness_s,
            ended=row.ended or row.session is None,
            age_s=0.0 if facts is None else max(0.0, self.now() - row.beat_at),
            heartbeat_s=0.0 if facts is None else facts.heartbeat_s,
            where=row.where,
        )

    def _longest_liveness_s(self) -> float:
        """The longest of all groups: an epoch is settled for all of them at once."""
        return max(
            (row.facts.liveness_s for row in self.nodes.values() if row.facts is not None),
            default=0.0,
        )

    def _beat(self, facts: NodeFacts, request: Beat) -> Answer:
        done = self._beat_row(facts, request.session)
        return Answer(done=done, view=self.view(facts.group))

    def _beat_row(self, facts: NodeFacts, session: str) -> bool:
        key = facts.group, facts.node
        row = self.nodes.get(key)
        if row is None or row.session != session or row.ended:
            return False
        self.nodes[key] = NodeRow(
            row.facts, session, row.beat + 1, self.now(), False, "", row.where
        )
        return True

    def _join(self, facts: NodeFacts, request: Join) -> Answer:
        self.prepare(facts)
        key = facts.group, facts.node
        row = self.nodes[key]
        if not self.join_allowed(row, request):
            return Answer(done=False, view=self.view(facts.group), namesake=self.seen(row))
        where = f"{facts.host}:{facts.pid}"
        self.nodes[key] = NodeRow(
            facts, request.session, row.beat + 1, self.now(), False, "", where
        )
        # As the SQL compares: a row without facts has the columns' default priority, 1.
        priority = 1 if row.facts is None else row.facts.priority
        if row.ended or row.session is None or priority != facts.priority:
            self.versions[facts.group] += 1
        return Answer(done=True, view=self.view(facts.group))

    def _end_namesake(self, facts: NodeFacts, request: EndNamesake) -> Answer:
        key = facts.group, facts.node
        row = self.nodes.get(key)
        if row is None:
            return Answer(done=False, view=self.view(facts.group))
        done = row.session == request.session and not row.ended and row.beat == request.beat
        if done:
            self.nodes[key] = replace(row, ended=True, end_reason="silent namesake")
        return Answer(done=done, view=self.view(facts.group))

    def _take(self, facts: NodeFacts, request: Take) -> Answer:
        group = facts.group
        # A row that a restore lost under an open connection cannot be taken.
        token = self.tokens.get(group, NEVER_HELD)
        ends_seen = request.seen_session is not None and request.seen_beat is not None
        allowed = (
            group in self.tokens
            and self.session_lives(group, facts.node, request.session)
            and (not ends_seen or self.may_end_seen(group, request))
            and token.term == request.seen_term
            and token.session == request.seen_session
            and (
                token.session is None
                or (ends_seen and token.node == request.seen_node)
                or not self.session_lives(group, token.node, token.session)
            )
            and self.timeline_matches(request)
            and self.is_settled()
        )
        if not allowed:
            return Answer(done=False, view=self.view(group))
        self._beat_row(facts, request.session)
        if ends_seen:
            key = group, request.seen_node or ""
            self.nodes[key] = replace(self.nodes[key], ended=True, end_reason=request.reason)
        term = self.next_term(token, request)
        self._close_history(
            group, token.term, "takeover" if ends_seen else "session ended", request.reason
        )
        self.tokens[group] = TokenSeen(
            term=term, node=facts.node, session=request.session, term_floor=token.term_floor
        )
        self.history[group, term] = HistoryRow(
            term=term,
            node=facts.node,
            session=request.session,
            how=request.how,
            reason=request.reason,
            from_node=request.seen_node,
        )
        self._notify(group)
        return Answer(done=True, view=self.view(group), term=term)

    def _give_back(self, facts: NodeFacts, session: str, term: int | None, reason: str) -> bool:
        token = self.tokens.get(facts.group, NEVER_HELD)
        if token.session != session or (term is not None and token.term != term):
            return False
        self.tokens[facts.group] = replace(token, session=None)
        self._close_history(facts.group, token.term, "release", reason)
        self._notify(facts.group)
        return True

    def _leave(self, facts: NodeFacts, request: Leave) -> Answer:
        done = self.session_lives(facts.group, facts.node, request.session)
        if done:
            key = facts.group, facts.node
            self.nodes[key] = replace(self.nodes[key], ended=True, end_reason=request.reason)
            self._give_back(facts, request.session, None, request.reason)
            self.versions[facts.group] += 1
            self._notify(facts.group)
        return Answer(done=done, view=self.view(facts.group))

    def _raise_floor(self, group: str, term: int) -> bool:
        token = self.tokens.get(group)
        if token is None:
            return False
        self.tokens[group] = replace(token, term_floor=max(token.term_floor, term))
        return True

    def _settle(self, facts: NodeFacts, request: Settle) -> Answer:
        self.ensure_epoch()
        done = self.epoch_key() == (request.system_identifier, request.timeline)
        if done:
            self.epochs[self.epoch_key()] = True
        return Answer(done=done, view=self.view(facts.group))

    def _roster(self, group: str) -> tuple[Candidate, ...]:
        now = self.now()
        return tuple(
            Candidate(node=node, priority=row.facts.priority)
            for (of, node), row in self.nodes.items()
            if of == group
            and row.facts is not None
            and not row.ended
            and now - row.beat_at < SILENT_INTERVALS_MAX * row.facts.liveness_s
        )

    def _close_history(self, group: str, term: int, how: str, reason: str) -> None:
        row = self.history.get((group, term))
        if row is not None and not row.ended:
            self.history[group, term] = replace(row, ended=True, end_how=how, end_reason=reason)

    def _notify(self, group: str) -> None:
        for connection in self.connections:
            if connection.facts.group == group:
                connection.notified = True
