"""The databases that every sentence of the port is tried on, and a node that asks them."""

from __future__ import annotations

import select
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import psycopg
from psycopg.conninfo import make_conninfo

from coordinator.errors import ConditionFalseError, DuplicateTaskError, NotFoundError
from coordinator.ports import StatePort, StateReader, Store, StoreConnection
from coordinator.protocol.messages.group_record import TaskDef, TasksPolicy
from coordinator.protocol.messages.planned import PlannedKind, PlannedOutcome
from coordinator.protocol.messages.requests import (
    Answer,
    Beat,
    Join,
    Leave,
    NodeFacts,
    ReadRoster,
    Release,
    Request,
    Take,
    View,
)
from coordinator.store.admin.admin_store import AdminStore
from coordinator.store.admin.connection import AdminConnection
from coordinator.store.admin.planned import Asked, PlannedStore
from coordinator.store.connection.postgres import PostgresStore
from coordinator.store.program.state import TokenState
from coordinator.store.program.state_reader import PostgresStateReader
from tests.support.fakes import memory_operator, memory_planned
from tests.support.fakes.memory_rows import EpochRow
from tests.support.fakes.memory_store import MemoryDatabase, MemoryStore
from tests.support.fakes.program.memory_state import MemoryState, MemoryStateReader
from tests.support.servers.postgres import wait_until
from tests.support.servers.roles import Roles

TIMEOUT_S = 5.0
GROUP = "orders"


def facts_of(
    node: str,
    *,
    group: str = GROUP,
    liveness_s: float = 6.0,
    priority: int = 1,
    hosts_tasks: bool = False,
    capacity: int | None = None,
    holds: bool = False,
):
    return NodeFacts(
        node=node,
        group=group,
        liveness_s=liveness_s,
        heartbeat_s=1.0,
        lease_s=4.7,
        priority=priority,
        host="web-1",
        pid=811,
        address=f"{node}.example:8080",
        hosts_tasks=hosts_tasks,
        capacity=capacity,
        holds=holds,
    )


class World(Protocol):
    """A database, and what a test may do to it behind the nodes' backs."""

    def store(self, facts: NodeFacts) -> Store: ...

    def unsettle(self) -> None:
        """Make the current identity unsettled, as a promotion does, which ends connections too."""
        ...

    def run_again(self) -> None:
        """Let what was known of the server's run be that of an earlier one."""
        ...

    def become_another_branch(self) -> None:
        """Lose the rows of database_epoch, as where a number of a timeline is given again."""
        ...

    def had_another_identity(self) -> None:
        """Let the database remember an epoch of another one, as a dump and restore does."""
        ...

    def copied(self) -> AbstractContextManager[object]:
        """Let a standby follow the server, or somebody copy its files."""
        ...

    def pass_time(self, seconds: float) -> None:
        """Let the server's clock go on."""
        ...

    def history(self) -> list[tuple[object, ...]]:
        """Return (term, node, how, from_node, end_how or None), oldest first."""
        ...

    def define(self, definition: TaskDef) -> TaskDef:
        """Add a task to GROUP, or change it, as an operator does."""
        ...

    def delete(self, task: str) -> None: ...

    def suspend(self, *, suspended: bool) -> None:
        """Let the observer of GROUP decide nothing, or decide again."""
        ...

    def set_policy(self, policy: TasksPolicy) -> None:
        """Set the times by which the observer of GROUP judges nodes."""
        ...

    def state(self, token: str, term: int, session: str) -> StatePort:
        """Return the state of a token, as a program of that holding sees it."""
        ...

    def reader(self) -> StateReader:
        """Return what reads states for the nodes of GROUP."""
        ...

    def decisions(self) -> list[tuple[str, str]]:
        """Return (node, reason) of each decision that was carried out, oldest first."""
        ...

    def plan(self, asked: Asked) -> int | None:
        """Ask for a planned change of GROUP; None when the database refuses it."""
        ...

    def end(self, kind: PlannedKind) -> None:
        """End the open changes of this kind, as an administrator does."""
        ...

    def planned(self) -> list[tuple[object, ...]]:
        """Return (kind, node, outcome or None) of every planned change, oldest first."""
        ...


@dataclass
class MemoryWorld:
    """MemoryStore on one MemoryDatabase."""

    clock: float = 1000.0
    database: MemoryDatabase = field(init=False)

    def __post_init__(self) -> None:
        self.database = MemoryDatabase(now=lambda: self.clock)

    def store(self, facts: NodeFacts) -> Store:
        return MemoryStore(self.database, facts)

    def unsettle(self) -> None:
        key, epoch = self.database.epoch_key(), self.database.epoch()
        self.database.epochs[key] = replace(epoch, settled=False)
        self.database.settled.clear()

    def run_again(self) -> None:
        self.database.restart()

    def become_another_branch(self) -> None:
        self.database.epochs.clear()
        self.had_another_identity()

    def had_another_identity(self) -> None:
        self.database.epochs[1, 1, 0] = EpochRow("another", settled=True)

    @contextmanager
    def copied(self) -> Iterator[None]:
        self.database.copied = True
        yield
        self.database.copied = False

    def pass_time(self, seconds: float) -> None:
        self.clock += seconds

    def history(self) -> list[tuple[object, ...]]:
        return [
            (row.term, row.node, row.how, row.from_node, row.end_how or None)
            for row in self.database.history.values()
        ]

    def define(self, definition: TaskDef) -> TaskDef:
        return memory_operator.define(self.database, GROUP, definition)

    def delete(self, task: str) -> None:
        memory_operator.delete(self.database, GROUP, task)

    def suspend(self, *, suspended: bool) -> None:
        memory_operator.suspend(self.database, GROUP, suspended=suspended)

    def set_policy(self, policy: TasksPolicy) -> None:
        memory_operator.set_policy(self.database, GROUP, policy)

    def state(self, token: str, term: int, session: str) -> StatePort:
        return MemoryState(self.database, token, term, session)

    def reader(self) -> StateReader:
        return MemoryStateReader(self.database)

    def decisions(self) -> list[tuple[str, str]]:
        return [(row.decision.node, row.decision.reason) for row in self.database.decisions]

    def plan(self, asked: Asked) -> int | None:
        times = {"in_s": asked.in_s, "for_s": asked.for_s}
        try:
            return memory_planned.ask(
                self.database, GROUP, asked.kind, asked.node, value=asked.value, **times
            )
        except memory_planned.AskRefusedError:
            return None

    def end(self, kind: PlannedKind) -> None:
        for row in tuple(memory_planned.open_rows(self.database, GROUP)):
            if row.kind is kind:
                memory_planned.end_by_person(self.database, GROUP, row.id)

    def planned(self) -> list[tuple[object, ...]]:
        return [(row.kind, row.node, row.outcome) for row in self.database.planned.values()]


@dataclass
class PostgresWorld:
    """PostgresStore on the database of the fixture `database`."""

    database: object

    def store(self, facts: NodeFacts) -> Store:
        return PostgresStore(self.database.conninfo, self.database.schema, facts)

    def unsettle(self) -> None:
        # The server itself refuses to settle what was first seen a moment ago.
        self.database.query(
            "UPDATE database_epoch SET settled = false, waited_ms = 0,"
            " first_seen_at = now() - interval '1 day'"
        )
        self.database.query("UPDATE group_record SET settled_branch = NULL, settled_start = NULL")

    def run_again(self) -> None:
        self.database.query(
            "UPDATE database_epoch SET started_at = started_at - 1, settled = false"
        )
        self.database.query("UPDATE group_record SET settled_start = settled_start - 1")

    def become_another_branch(self) -> None:
        self.database.query("DELETE FROM database_epoch")
        self.had_another_identity()

    def had_another_identity(self) -> None:
        self.database.query(
            "INSERT INTO database_epoch (group_id, system_identifier, timeline, settled)"
            " VALUES ('orders', 1, 1, true)"
        )

    @contextmanager
    def copied(self) -> Iterator[None]:
        senders = "SELECT FROM pg_stat_get_wal_senders()"
        where = make_conninfo(self.database.conninfo, replication="database")
        with psycopg.connect(where, autocommit=True) as copying:
            yield
            copying.close()
        with self.database.connect() as sql:
            wait_until(lambda: sql.execute(senders).fetchone() is None)

    def pass_time(self, seconds: float) -> None:
        self.database.query(
            "UPDATE health_check SET last_heartbeat = last_heartbeat - %s * interval '1 s'", seconds
        )
        self.database.query(
            "UPDATE planned_change SET due_at = due_at - %s * interval '1 s',"
            " until_at = until_at - %s * interval '1 s' WHERE outcome IS NULL",
            seconds,
            seconds,
        )

    def history(self) -> list[tuple[object, ...]]:
        return self.database.query(
            "SELECT term, task_id, how, from_task, end_how FROM token_history ORDER BY term"
        )

    @contextmanager
    def operator(self) -> Iterator[AdminStore]:
        known = {"schema": self.database.schema, "where": "test", "timeout_s": TIMEOUT_S}
        with AdminStore(self.database.conninfo, **known) as operator:
            yield operator

    def define(self, definition: TaskDef) -> TaskDef:
        with self.operator() as operator:
            try:
                return operator.add(GROUP, definition, who="test")
            except DuplicateTaskError:
                return operator.change(GROUP, definition, who="test")

    def delete(self, task: str) -> None:
        with self.operator() as operator:
            operator.delete(GROUP, task, who="test")

    def suspend(self, *, suspended: bool) -> None:
        with self.operator() as operator:
            (operator.suspend if suspended else operator.resume)(GROUP, who="test")

    def set_policy(self, policy: TasksPolicy) -> None:
        with self.operator() as operator:
            assert operator.set_policy(GROUP, asdict(policy), who="test")

    def state(self, token: str, term: int, session: str) -> StatePort:
        return self._state(self.database.conninfo, token, term, session)

    def reader(self) -> StateReader:
        return self._reader(self.database.conninfo)

    def _reader(self, conninfo: str) -> StateReader:
        return PostgresStateReader(conninfo, self.database.schema, "test", TIMEOUT_S)

    def _state(self, conninfo: str, token: str, term: int, session: str) -> StatePort:
        return TokenState(
            conninfo=conninfo,
            schema=self.database.schema,
            token=token,
            term=term,
            session=session,
        )

    def decisions(self) -> list[tuple[str, str]]:
        return self.database.query("SELECT node, reason FROM observer_decision ORDER BY id")

    def administrator(self) -> str:
        """Return the login that asks for planned changes."""
        return self.database.conninfo

    @contextmanager
    def planning(self) -> Iterator[PlannedStore]:
        where = self.administrator(), self.database.schema, "test", TIMEOUT_S
        connection = AdminConnection(*where)
        try:
            yield PlannedStore(connection)
        finally:
            connection.close()

    def plan(self, asked: Asked) -> int | None:
        with self.planning() as planning:
            try:
                return planning.ask(GROUP, asked, who="ana")
            except (ConditionFalseError, NotFoundError):
                return None

    def end(self, kind: PlannedKind) -> None:
        with self.planning() as planning:
            assert planning.end(GROUP, (kind,), PlannedOutcome.CANCELLED, who="ana")

    def planned(self) -> list[tuple[object, ...]]:
        return self.database.query("SELECT kind, node, outcome FROM planned_change ORDER BY id")


@dataclass
class LeastPrivileges(PostgresWorld):
    """The same behind the roles of `coord db roles`: nodes log in as one that may do no more."""

    roles: Roles

    def store(self, facts: NodeFacts) -> Store:
        return PostgresStore(self.roles.login("node", facts.group), self.database.schema, facts)

    def state(self, token: str, term: int, session: str) -> StatePort:
        login = self.roles.login("node", token.partition("/")[0])
        return self._state(login, token, term, session)

    def reader(self) -> StateReader:
        return self._reader(self.roles.login("node", GROUP))

    def administrator(self) -> str:
        return self.roles.login("system_administrator")


@dataclass
class Node:
    """One connection and one session, as the runtime would use them."""

    facts: NodeFacts
    connection: StoreConnection
    session: str = field(default_factory=lambda: str(uuid.uuid4()))

    def ask(self, request: Request) -> Answer:
        return self.connection.ask(request, TIMEOUT_S)

    def join(self, previous: str | None = None) -> Answer:
        return self.ask(Join(session=self.session, previous=previous))

    def rejoin(self) -> Answer:
        previous, self.session = self.session, str(uuid.uuid4())
        return self.join(previous)

    def beat(self) -> Answer:
        return self.ask(Beat(session=self.session))

    def reconnect(self, world: World) -> None:
        """Go on with the same session on a new connection."""
        self.connection.close()
        self.connection = world.store(self.facts).connect(TIMEOUT_S)

    def look(self) -> View:
        """See the database without a heartbeat."""
        return self.ask(ReadRoster()).view

    def take(self, view: View, **changes: object) -> Answer:
        """Take the token as `view` shows it; a live holder is taken for silent since then."""
        return self.ask(take_request(self.session, view, **changes))

    def win(self) -> int:
        """Take the token as it is now, and return the term."""
        answer = self.take(self.look())
        assert answer.done
        return answer.term

    def release(self, term: int) -> Answer:
        return self.ask(Release(session=self.session, term=term, reason="stop"))

    def leave(self) -> Answer:
        return self.ask(Leave(session=self.session, reason="stop"))

    def heard(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Wait for a notification, at most so long."""
        if self.connection.fileno() >= 0 and not self.connection.heard():
            readable = select.select([self.connection], [], [], timeout_s)[0]
            return bool(readable) and self.connection.heard()
        return self.connection.fileno() >= 0 or self.connection.heard()


def take_request(session: str, view: View, /, **changes: object) -> Take:
    """Return the Take that an observer of `view` sends."""
    token, holder = view.token, view.holder
    alive = (
        token.session is not None
        and holder is not None
        and holder.session == token.session
        and not holder.ended
    )
    request: dict[str, object] = {
        "session": session,
        "seen_term": token.term,
        "seen_node": token.node,
        "seen_session": token.session,
        "seen_beat": holder.beat if alive and holder is not None else None,
        "next_term": token.term + 1,
        "branch": view.identity.branch,
        "how": "takeover" if alive else "release" if token.term else "first",
        "reason": "test",
        "detected_s": 6.0 if alive else 0.0,
    }
    return Take(**{**request, **changes})  # type: ignore[arg-type]
