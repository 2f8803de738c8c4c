"""The database in plain Python: fast, exact, and breakable on purpose.

Rows are frozen, so a snapshot copies a few small dicts. Every decision of the real SQL is a small
method of MemoryDatabase: a planted bug overrides one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from coordinator.protocol.messages.group_record import OBSERVER, Standing, TasksPolicy
from coordinator.protocol.messages.holder_requests import Exchange
from coordinator.protocol.messages.planned import PAUSES, EndPlanned, PlannedKind, TellInterval
from coordinator.protocol.messages.requests import (
    Answer,
    Beat,
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
    TellReady,
    TokenSeen,
    View,
)
from coordinator.protocol.messages.task_requests import Decide, Decision, TakeTasks
from coordinator.protocol.rules.terms import granted_term
from tests.support.fakes import (
    memory_planned,
    memory_sessions,
    memory_tasks,
    memory_token,
)
from tests.support.fakes.memory_rows import (
    NEVER_HELD,
    NEVER_JOINED,
    NEVER_SETTLED,
    BaseRow,
    DecisionRow,
    EpochKey,
    EpochRow,
    HistoryRow,
    NodeRow,
    PlannedRow,
    SettledRow,
    Snapshot,
    StateRow,
    TaskNodeRow,
    TaskRow,
)
from tests.support.holders import memory as holders

#: The server's clock at 0 of the memory's own, in milliseconds since 1970.
CLOCK_BEGAN_MS = 1_700_000_000_000
#: A session whose last heartbeat is older than the group's by more than this is of long ago.
LATELY_S = 600.0


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
    epochs: dict[EpochKey, EpochRow] = field(default_factory=dict)
    settled: dict[str, SettledRow] = field(default_factory=dict)
    history: dict[tuple[str, int], HistoryRow] = field(default_factory=dict)
    tasks: dict[tuple[str, str], TaskRow] = field(default_factory=dict)
    task_nodes: dict[tuple[str, str, str], TaskNodeRow] = field(default_factory=dict)
    suspended: dict[str, bool] = field(default_factory=dict)
    decisions: tuple[DecisionRow, ...] = ()
    bases: dict[str, BaseRow] = field(default_factory=dict)
    spreads: dict[str, int] = field(default_factory=dict)
    policies: dict[str, TasksPolicy] = field(default_factory=dict)
    made_anew: dict[str, float] = field(default_factory=dict)  #: tokens without a history, and when
    states: dict[str, tuple[StateRow, ...]] = field(default_factory=dict)  #: of tokens, newest last
    planned: dict[int, PlannedRow] = field(default_factory=dict)
    notices: int = 0  #: number of transactions that have notified their group
    copied: bool = False  #: a standby follows the server
    branches: int = 0  #: number of branches that were named, on this server and on its copies
    starts: int = 1  #: of servers
    connections: list[Listener] = field(default_factory=list, repr=False)

    # --- decisions: a planted bug overrides one of these -----------------------------------------

    def beat_matches(self, row: NodeRow, seen_beat: int) -> bool:
        """One more beat and it lives."""
        return row.beat == seen_beat

    def session_lives(self, group: str, node: str | None, session: str | None) -> bool:
        row = None if node is None else self.nodes.get((group, node))
        return row is not None and row.session == session and not row.ended

    def fence_passes(self, name: str, term: int, session: str) -> bool:
        """Tell whether (term, session) is the current holding of a token, and lives."""
        token = self.tokens.get(name, NEVER_HELD)
        if (token.term, token.session) != (term, session):
            return False
        group = name.rpartition("/")[0]
        return any(self.session_lives(home, token.node, session) for home in (name, group))

    def is_suspended(self, group: str) -> bool:
        """Tell whether nobody of the group decides about others."""
        return self.suspended.get(group, False)

    def may_end_seen(self, group: str, request: Take) -> bool:
        """Tell whether the holder that was seen is as silent as it was seen."""
        row = self.nodes.get((group, request.seen_node or ""))
        return (
            row is not None
            and row.session == request.seen_session
            and not row.ended
            and self.beat_matches(row, request.seen_beat or 0)
        )

    def is_settled(self, group: str) -> bool:
        """Tell whether the identity is settled on this very run of the server."""
        epoch, settled = self.epoch(), self.settled.get(group, NEVER_SETTLED)
        here = settled.branch, settled.started_at
        return epoch.settled or here == (epoch.branch, self.identity.started_at)

    def settled_at_creation(self) -> bool:
        """Tell whether nothing can have been granted: the first timeline, and no other is known."""
        unknown = not self.epochs and not self.history
        unknown = unknown and all(token.term == 0 for token in self.tokens.values())
        return self.identity.timeline == 1 and unknown

    def branch_of(self, earlier: EpochRow | None) -> str:
        """A branch keeps its name through restarts; another of the same number gets another."""
        if earlier is not None:
            return earlier.branch
        self.branches += 1
        return f"branch-{self.branches}"

    def branch_matches(self, request: Take | TakeTasks) -> bool:
        return request.branch == self.epoch().branch

    def clock_ms(self, group: str) -> int | None:
        """Return what terms are never below; None on a database's first branch without a copy."""
        if self.counts_terms(group) and not self.copied:
            return None
        return self.now_ms()

    def now_ms(self) -> int:
        """Return the server's clock."""
        return int(CLOCK_BEGAN_MS + 1000 * self.now())

    def counts_terms(self, group: str) -> bool:
        """Tell whether the group's terms still begin with 1."""
        by_clock = self.settled.get(group, NEVER_SETTLED).by_clock
        return self.epoch().first_branch and not by_clock

    def is_copied(self, group: str) -> bool:
        """Tell a node that terms must not begin with 1 any more."""
        return self.copied and self.counts_terms(group)

    def floor_of(self, token: TokenSeen) -> int:
        return token.term_floor

    def next_term(self, group: str, token: TokenSeen, computed: int) -> int:
        floor, clock_ms = self.floor_of(token), self.clock_ms(group)
        return granted_term(computed, token.term, floor, clock_ms, self.now_ms())

    def seen_term_matches(self, token: TokenSeen, seen_term: int) -> bool:
        """Tell whether the token is as it was seen: nothing that was taken since is taken again."""
        return token.term == seen_term

    def may_run_tasks(self, row: NodeRow) -> bool:
        return row.standing is Standing.MEMBER

    def is_free(self, group: str, token: TokenSeen) -> bool:
        """Tell whether it is released, never held, or of an ended session, which never revives."""
        return token.session is None or not self.session_lives(group, token.node, token.session)

    def free_to_take(self, group: str, token: TokenSeen) -> bool:
        """Tell whether it is free now, and not only when it was seen."""
        return self.is_free(group, token)

    def decided_on(self, group: str, request: Decide | TakeTasks) -> bool:
        """Tell whether the version is still the one decided on: of two deciders one is too late."""
        return request.version == self.versions.get(group)

    def raises_version(self, what: str) -> bool:  # noqa: ARG002
        """Tell whether everybody has to look again after this change of the record."""
        return True

    def may_take_now(self, facts: NodeFacts) -> bool:
        """Tell whether no planned change takes a node the right to take the token (rules A)."""
        now, of_tasks = self.now(), facts.hosts_tasks
        standing = [
            row
            for row in memory_planned.open_rows(self, facts.group)
            if row.until_at is None or row.until_at > now
        ]
        return not any(
            (row.kind in PAUSES and not of_tasks)
            or (row.kind is PlannedKind.DRAIN and row.node == facts.node)
            for row in standing
        )

    def join_allowed(self, row: NodeRow, request: Join) -> bool:
        if row.session is None:
            return True
        if row.session == request.session:
            return not row.ended
        return row.ended or row.session == request.previous

    # --- state -----------------------------------------------------------------------------------

    def epoch_key(self) -> EpochKey:
        server = self.identity
        return server.system_identifier, server.timeline, server.started_at

    def epoch(self) -> EpochRow:
        """Return the row of the server's run; a node that connects makes it."""
        self.ensure_epoch()
        return self.epochs[self.epoch_key()]

    def snapshot(self) -> Snapshot:
        """Return what is committed now; rows are shared, they never change."""
        return Snapshot(
            self.nodes.copy(),
            self.tokens.copy(),
            self.versions.copy(),
            self.epochs.copy(),
            self.settled.copy(),
            self.history.copy(),
            self.tasks.copy(),
            self.task_nodes.copy(),
            self.suspended.copy(),
            self.decisions,
            self.bases.copy(),
            self.spreads.copy(),
            self.policies.copy(),
            self.made_anew.copy(),
            self.states.copy(),
            self.planned.copy(),
        )

    def restore(self, snapshot: Snapshot, timeline: int, *, keep_connections: bool = False) -> None:
        """Become an earlier state on `timeline`, as after a failover or a restore from backup.

        keep_connections: a pooler hides the change; only the identity in the answers tells.
        """
        self.nodes = snapshot.nodes.copy()
        self.tokens = snapshot.tokens.copy()
        self.versions = snapshot.versions.copy()
        self.epochs = snapshot.epochs.copy()
        self.settled = snapshot.settled.copy()
        self.history = snapshot.history.copy()
        self.tasks = snapshot.tasks.copy()
        self.task_nodes = snapshot.task_nodes.copy()
        self.suspended = snapshot.suspended.copy()
        self.decisions = snapshot.decisions
        self.bases = snapshot.bases.copy()
        self.spreads = snapshot.spreads.copy()
        self.policies = snapshot.policies.copy()
        self.made_anew = snapshot.made_anew.copy()
        self.states = snapshot.states.copy()
        self.planned = snapshot.planned.copy()
        self.starts += 1
        self.identity = replace(self.identity, timeline=timeline, started_at=self.starts)
        if not keep_connections:
            self.break_connections()

    def restart(self) -> None:
        """Restart the server: nothing is lost but the connections."""
        self.starts += 1
        self.identity = replace(self.identity, started_at=self.starts)
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
        self.ensure_token(facts.token)
        self.versions.setdefault(facts.group, 1)

    def ensure_token(self, name: str) -> None:
        """Make a token's row; a deleted one comes back as its history knows it."""
        if name in self.tokens:
            return
        held = [row for (of, _), row in self.history.items() if of == name]
        last = max(held, key=lambda row: row.term, default=None)
        self.tokens[name] = (
            self._without_history(name)
            if last is None
            else TokenSeen(
                term=last.term,
                node=last.node,
                session=None if last.ended else last.session,
                term_floor=0,
            )
        )

    def _without_history(self, name: str) -> TokenSeen:
        """A group that nodes have joined is not new: terms go on from the clock, after a wait."""
        group = name.removesuffix(f"/{OBSERVER}")
        joined = [
            row
            for (of, _), row in self.nodes.items()
            if of == group and row.session and row.facts and row.facts.hosts_tasks == (of != name)
        ]
        if not joined:
            return NEVER_HELD
        if not all(row.ended for row in joined):
            self.made_anew[name] = self.now()
        return replace(NEVER_HELD, term_floor=int(CLOCK_BEGAN_MS + 1000 * self.now()))

    def waited_out(self, group: str, name: str) -> bool:
        """Tell whether a holder that nobody knows is over: the longest interval of the living."""
        if self.tokens[name].node is not None or name not in self.made_anew:
            return True
        longest_s = max(
            (
                row.facts.liveness_s
                for (of, _), row in self.nodes.items()
                if of == group and row.facts is not None and row.session and not row.ended
            ),
            default=0.0,
        )
        return self.now() >= self.made_anew[name] + longest_s

    def ensure_epoch(self) -> None:
        key = self.epoch_key()
        if key in self.epochs:
            return
        runs = [known for known in self.epochs if known[:2] == key[:2]]
        earlier = self.epochs[max(runs)] if runs else None
        new = self.settled_at_creation()
        first = new if earlier is None else earlier.first_branch
        self.epochs[key] = EpochRow(self.branch_of(earlier), first, settled=new)

    # --- requests --------------------------------------------------------------------------------

    def carry_out(self, facts: NodeFacts, request: Request) -> Answer:
        """Carry out one request wholly, or not at all; then make rows anew that it missed."""
        if isinstance(request, Exchange):
            answer = holders.exchange(self, facts, request)
        else:
            answer = self._carry_out(facts, request)
        if answer.view.lacks_rows:
            self.prepare(facts)
        return answer

    def _carry_out(self, facts: NodeFacts, request: Request) -> Answer:
        match request:
            case Beat():
                done = memory_sessions.beat(self, facts, request.session)
                beat = self.nodes[facts.group, facts.node].beat if done else 0
                return Answer(done=done, view=self.view(facts), beat=beat)
            case Join():
                return memory_sessions.join(self, facts, request)
            case EndNamesake():
                return self.told(facts, memory_sessions.end_namesake(self, facts, request))
            case Leave() | TellReady():
                return self.told(facts, memory_sessions.leave_or_tell(self, facts, request))
            case ReadRoster():
                roster = memory_sessions.roster(self, facts.group)
                return Answer(done=True, view=self.view(facts), roster=roster)
            case Take():
                return memory_token.take(self, facts, request)
            case Release():
                return self.told(facts, memory_token.release(self, facts, request))
            case RaiseFloor():
                done = memory_token.raise_floor(self, facts.token, request.term)
                if request.by_clock:
                    known = self.settled.get(facts.group, NEVER_SETTLED)
                    self.settled[facts.group] = replace(known, by_clock=True)
                return self.told(facts, done)
            case EndPlanned() | TellInterval():
                return self.told(facts, memory_planned.carry_out(self, facts, request))
            case Settle():
                return self.told(facts, self._settle(facts.group, request))
            case _:
                return memory_tasks.carry_out(self, facts, request)

    def view(self, facts: NodeFacts) -> View:
        """Return what the database shows a node now."""
        token = self.tokens.get(facts.token, NEVER_HELD)
        row = self.holder_of(facts.group, facts.token, token)
        settled, epoch = self.is_settled(facts.group), self.epoch()
        return View(
            identity=replace(self.identity, branch=epoch.branch),
            settled=settled,
            token=token,
            holder=None if row is None else replace(self.seen(row), address=row.address),
            group_version=self.versions.get(facts.group, 0),
            longest_liveness_s=0.0 if settled else self._longest_liveness_s(facts.group),
            waited_s=float("inf") if epoch.settled else epoch.waited_s,
            copied=self.is_copied(facts.group),
            planned=memory_planned.planned(self, facts.group),
            lacks_rows=facts.token not in self.tokens or facts.group not in self.versions,
        )

    def holder_of(self, group: str, name: str, token: TokenSeen) -> NodeRow | None:
        """Return the row of a token's holder: of the group, or of the one above or below it."""
        homes = dict.fromkeys((group, name, name.rpartition("/")[0] or name))
        known = (self.nodes.get((home, token.node or "")) for home in homes)
        rows = [row for row in known if row is not None]
        return next((row for row in rows if row.session == token.session), next(iter(rows), None))

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

    def told(self, facts: NodeFacts, done: bool) -> Answer:
        """Return an answer that has nothing to say but whether it happened."""
        return Answer(done=done, view=self.view(facts))

    def _longest_liveness_s(self, group: str) -> float:
        """The longest of the sessions that the group had lately."""
        rows = [
            (row.beat_at, row.facts.liveness_s)
            for (of, _), row in self.nodes.items()
            if of == group and row.facts is not None
        ]
        last_at = max((beat_at for beat_at, _ in rows), default=0.0)
        near = (liveness_s for beat_at, liveness_s in rows if beat_at > last_at - LATELY_S)
        return max(near, default=0.0)

    # --- what every change does -------------------------------------------------------------------

    def raise_version(self, group: str, what: str) -> None:
        """Let everybody of a task group look again: its record has changed."""
        if group in self.versions and self.raises_version(what):
            self.versions[group] += 1
        self.notify(group)

    def notify(self, group: str) -> None:
        """Tell every connection of the group that something changed."""
        self.notices += 1
        for connection in self.connections:
            if connection.facts.group == group and not connection.facts.holds:
                connection.notified = True

    def notify_holders(self, group: str) -> None:
        """Tell the processes that hold tokens for code that one was given back."""
        for connection in self.connections:
            if connection.facts.group == group and connection.facts.holds:
                connection.notified = True

    def note_decisions(
        self, group: str, observer: str, term: int, decisions: Iterable[Decision]
    ) -> None:
        """Write down what an observer decided, with the version that it led to."""
        version = self.versions.get(group, 0)
        self.decisions += tuple(
            DecisionRow(group=group, version=version, observer=observer, term=term, decision=one)
            for one in decisions
        )

    def _settle(self, group: str, request: Settle) -> bool:
        epoch, identity = self.epoch(), self.identity
        if request.identity != replace(identity, branch=epoch.branch):
            return False
        waited_s = 0.0 if request.continues else request.waited_s
        self.epochs[self.epoch_key()] = replace(epoch, waited_s=max(epoch.waited_s, waited_s))
        if not self.is_settled(group):
            by_clock = self.settled.get(group, NEVER_SETTLED).by_clock or not request.continues
            self.settled[group] = SettledRow(epoch.branch, identity.started_at, by_clock)
        return True
