"""A witness beside the database of a task group: it sees each request, and the rows around it.

It judges by the rows alone, and shares no decision with the database that it watches.
"""

from __future__ import annotations

from coordinator.protocol.group.observer import LATE_HEARTBEATS
from coordinator.protocol.messages.group_record import GroupRecord, Standing, token_name
from coordinator.protocol.messages.requests import (
    Answer,
    Beat,
    Join,
    NodeFacts,
    Request,
    Take,
    TokenSeen,
)
from coordinator.protocol.messages.task_requests import (
    ChangeStanding,
    Decide,
    EndSession,
    TakeTasks,
)
from coordinator.protocol.rules.timing import RATE_ERROR
from tests.simulation.world.history import Granted, History
from tests.support.fakes.memory_rows import NodeRow
from tests.support.fakes.memory_store import MemoryDatabase

#: Contents of a version: the record without its tokens.
Shown = tuple[object, ...]
#: A beat that an observer may call late comes at least so many of its intervals after the one
#: before, less the one between two looks, less what its clock may be wrong by, and a little.
LATE_BEATS_MIN = (LATE_HEARTBEATS - 1) / (1 + RATE_ERROR) - 0.06


class Witness:
    """Tells the history what a database must never have let pass."""

    def __init__(self, history: History, database: MemoryDatabase) -> None:
        self._history, self._database = history, database
        self._shown: dict[tuple[int, int, int], Shown] = {}
        #: The last beat of each node, and its late beats under its present session and standing.
        self._beat_at: dict[str, float] = {}
        self._late: dict[str, int] = {}

    def watch(self, now: float, facts: NodeFacts, request: Request) -> Answer:
        """Let the database carry the request out."""
        database, group = self._database, facts.group
        match request:
            case TakeTasks():
                nodes, tokens = database.nodes.copy(), database.tokens.copy()
                answer = database.carry_out(facts, request)
                self._taking(now, facts, request, answer, nodes, tokens)
            case Decide():
                version, nodes = database.versions[group], database.nodes.copy()
                answer = database.carry_out(facts, request)
                if answer.done:
                    self._decision(now, facts, request, version, nodes)
                    self._standings(now, facts, request, nodes)
            case Take():
                suspended, nodes = database.suspended.get(group, False), database.nodes.copy()
                answer = database.carry_out(facts, request)
                if suspended and facts.hosts_tasks:
                    self._following(now, facts, nodes)
            case Beat() | Join():
                answer = database.carry_out(facts, request)
                if answer.done:
                    self._beat(now, facts, joins=isinstance(request, Join))
            case _:
                answer = database.carry_out(facts, request)
        if answer.group is not None:
            self._reading(now, answer.group)
        return answer

    def _taking(
        self,
        now: float,
        facts: NodeFacts,
        request: TakeTasks,
        answer: Answer,
        nodes: dict[tuple[str, str], NodeRow],
        tokens: dict[str, TokenSeen],
    ) -> None:
        database, group = self._database, facts.group
        own = nodes.get((group, facts.node))
        timeline = database.identity.timeline
        for task, term in answer.taken:
            who = f"at {now:.3f} {facts.node} got {task} (term {term})"
            if own is None or own.ended or own.session != request.session:
                self._tell(f"dead taker: {who} with a session that does not live")
            elif own.standing is not Standing.MEMBER:
                self._tell(f"H1: {who} while it was {own.standing}")
            before = tokens[token_name(group, task)]
            holder = nodes.get((group, before.node or ""))
            if (
                before.session is not None
                and holder is not None
                and not holder.ended
                and holder.session == before.session
            ):
                self._tell(f"no revoke before assign: {who} from {before.node}, which lives")
            row = database.tasks[group, task]
            if row.deleted or not row.definition.enabled:
                self._tell(f"not enabled: {who}")
            grant = Granted(now, facts.node, request.session, term, timeline, task)
            self._history.grants.append(grant)

    def _decision(
        self,
        now: float,
        facts: NodeFacts,
        request: Decide,
        version: int,
        nodes: dict[tuple[str, str], NodeRow],
    ) -> None:
        if request.version != version:
            self._tell(
                f"decision: at {now:.3f} {facts.node} decided on version {request.version},"
                f" which was {version} by then"
            )
        for decision in request.decisions:
            if not isinstance(decision, EndSession):
                continue
            before = nodes[facts.group, decision.node]
            after = self._database.nodes[facts.group, decision.node]
            if not before.ended and after.ended and before.beat != decision.beat:
                self._tell(f"unseen beat: at {now:.3f} {facts.node} ended {decision.node}")

    def _following(
        self, now: float, facts: NodeFacts, nodes: dict[tuple[str, str], NodeRow]
    ) -> None:
        for key, before in nodes.items():
            group, node = key
            if group == facts.group and not before.ended and self._database.nodes[key].ended:
                self._tell(f"suspended: at {now:.3f} {facts.node} ended {node} to follow it")

    def _beat(self, now: float, facts: NodeFacts, *, joins: bool) -> None:
        if joins:
            self._late[facts.node] = 0
        elif self._is_late(now, facts.node, facts.heartbeat_s):
            self._late[facts.node] = self._late.get(facts.node, 0) + 1
        self._beat_at[facts.node] = now

    def _is_late(self, now: float, node: str, heartbeat_s: float) -> bool:
        return now - self._beat_at.get(node, now) > LATE_BEATS_MIN * heartbeat_s

    def _standings(
        self,
        now: float,
        facts: NodeFacts,
        request: Decide,
        nodes: dict[tuple[str, str], NodeRow],
    ) -> None:
        """A Member goes to Rehab for beats that were late since its standing changed last."""
        for change in request.decisions:
            if not isinstance(change, ChangeStanding):
                continue
            row = self._database.nodes[facts.group, change.node]
            if row.standing is nodes[facts.group, change.node].standing:
                continue
            late = self._late.get(change.node, 0)
            late += self._is_late(now, change.node, facts.heartbeat_s)
            if change.after is Standing.REHAB and not late:
                self._tell(f"B10: at {now:.3f} {change.node} to Rehab, with no late beat since")
            self._late[change.node] = 0

    def _reading(self, now: float, record: GroupRecord) -> None:
        """Everybody reads the same at one version.

        But for tokens, and for what a node says of itself (which version it has acted on). Who held
        a task's token when the version was made is the same for everybody, too (P2).
        """
        server = self._database.identity
        key = (server.timeline, server.started_at, record.version)
        nodes = {
            (row.node, row.standing, row.live, row.session, row.priority, row.caught_up)
            for row in record.nodes.values()
        }
        bases = {
            (task, record.token(task).base_node, record.token(task).base_taken)
            for task in record.tasks
        }
        shown = (
            record.tasks,
            nodes,
            record.failures,
            record.suspended,
            record.policy,
            record.spread_version,
            bases,
        )
        known = self._shown.setdefault(key, shown)
        if known != shown:
            self._tell(f"version: at {now:.3f} version {record.version} shows something else")

    def _tell(self, what: str) -> None:
        self._history.witnessed.append(what)
