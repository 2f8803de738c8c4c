"""The functions of the schema are the pure transitions: the same histories, the same rows."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from coordinator.protocol.operations import machine
from coordinator.protocol.operations.machine import Operation, Subtask
from coordinator.protocol.operations.types import PlannedSubtask, SubtaskEnd, SubtaskState
from tests.support.servers.catalogue import CLUSTER, fill_catalogue, offer

pytestmark = pytest.mark.real

NODES = ("my_node1", "twin")
ENDS = (
    *(SubtaskState.DONE, SubtaskState.DONE, SubtaskState.SKIPPED),
    *(SubtaskState.LOST, SubtaskState.FAILED, SubtaskState.PENDING),
)
STEPS = 60


class Twins:
    """One operation in the database, and its pure twin."""

    def __init__(self, connection: Any, seed: int) -> None:
        self.connection, self.random = connection, random.Random(seed)
        self.ends = ENDS if seed % 2 else (SubtaskState.DONE,)
        self.nodes = (None, None, "my_node1", "removed" if seed % 2 else "twin")
        self.sessions = {node: self.join(node) for node in NODES}
        row = self.one("SELECT sys_create_task('rebuild', 'CLUSTER', %s)::text", CLUSTER)
        self.operation = row[0]
        ((key,),) = self.all(
            "SELECT id::text FROM operation_subtask WHERE operation = %s", self.operation
        )
        self.twin = Operation(subtasks={key: Subtask(entity=CLUSTER, plan=True)})
        self.claims: list[tuple[str, int, str]] = []

    def one(self, statement: str, *values: object) -> Any:
        return self.connection.execute(statement, values).fetchone()

    def all(self, statement: str, *values: object) -> list[Any]:
        return self.connection.execute(statement, values).fetchall()

    def join(self, node: str) -> str:
        """Let a node begin a new session; that of its claims is over."""
        row = self.one(
            "UPDATE health_check SET session = gen_random_uuid(), ended_at = NULL"
            " WHERE group_id = %s AND task_id = %s RETURNING session::text",
            *(CLUSTER, node),
        )
        return str(row[0])

    def step(self) -> None:
        """Do one thing to both; the outcomes are the same."""
        choice = self.random.choice(("claim",) * 8 + ("end",) * 8 + ("back", "own", "hung"))
        getattr(self, choice)()

    def claim(self) -> None:
        key = self.random.choice(list(self.twin.subtasks))
        node = self.random.choice(NODES)
        version = self.twin.subtasks[key].version - self.random.choice((0, 0, 0, 1))
        (term,) = self.one(
            "SELECT coord_claim_subtask(%s, %s, %s, %s, %s)",
            *(CLUSTER, node, self.sessions[node], key, version),
        )
        self.twin, expected = machine.claimed(self.twin, key, version, node, self.sessions[node])
        assert term == expected
        if term is not None:
            self.claims.append((key, term, self.sessions[node]))

    def end(self) -> None:
        if not self.claims:
            return
        key, term, session = self.random.choice(self.claims)
        planned: list[PlannedSubtask] = []
        if self.twin.subtasks[key].plan:
            planned = [
                PlannedSubtask(entity=str(n), node=node) for n, node in enumerate(self.nodes)
            ]
        end = SubtaskEnd(self.random.choice(self.ends), "why")
        rows = [
            {"entity": each.entity, "node": each.node, "argument": {}, "units": 0, "size": 0}
            for each in planned
        ]
        (done,) = self.one(
            "SELECT coord_end_subtask(%s, %s, %s, %s, %s, NULL, %s)",
            *(key, term, session, str(end.state), end.reason, json.dumps(rows)),
        )
        before = set(self.twin.subtasks)
        known = {each.entity for each in self.twin.subtasks.values()}
        planned = [each for each in planned if each.entity not in known]
        self.twin, expected = machine.ended(self.twin, key, term, session, end, planned)
        assert done == expected
        # The database chose the ids of the new ones.
        ids = dict(
            self.all(
                "SELECT entity, id::text FROM operation_subtask"
                " WHERE operation = %s AND kind = 'work'",
                self.operation,
            )
        )
        self.twin = Operation(
            state=self.twin.state,
            subtasks={
                name if name in before else ids[each.entity]: each
                for name, each in self.twin.subtasks.items()
            },
        )

    def back(self, own: str | None = None) -> None:
        self.one("SELECT coord_return_subtasks(%s, %s, %s)", CLUSTER, own, machine.ATTEMPTS_MAX)
        live = set(self.sessions.values()) - {own}
        self.twin = machine.given_back(
            self.twin, lambda each: each.session not in live, lambda node: node == "removed"
        )

    def hung(self) -> None:
        """Give back a claim of which a report was seen; or one that has reported since."""
        running = [
            key for key, each in self.twin.subtasks.items() if each.state is SubtaskState.RUNNING
        ]
        if not running:
            return
        key = self.random.choice(running)
        subtask, late = self.twin.subtasks[key], self.random.random() < 0.4
        reports, moves = self.one("SELECT reports, moves FROM operation_subtask WHERE id = %s", key)
        if late:
            self.one(
                "SELECT coord_report_subtask(%s, %s, %s, %s, 0, 0, NULL)",
                *(key, subtask.term, subtask.session, self.random.randrange(1, 10**9)),
            )
        by_reports = self.random.random() < 0.5
        (done,) = self.one(
            "SELECT coord_return_hung_subtask(%s, %s, %s, %s, %s, %s)",
            *(CLUSTER, key, subtask.version, reports if by_reports else None),
            *(None if by_reports else moves, machine.ATTEMPTS_MAX),
        )
        assert done == (not late)
        if done:
            self.twin = machine.given_back_hung(self.twin, key, subtask.version)
            (avoided,) = self.one("SELECT avoided FROM operation_subtask WHERE id = %s", key)
            assert avoided == subtask.owner

    def own(self) -> None:
        self.back(self.random.choice(list(self.sessions.values())))

    def join_again(self) -> None:
        node = self.random.choice(NODES)
        self.sessions[node] = self.join(node)

    def cancel(self) -> None:
        if self.twin.state in machine.UNFINISHED:
            self.one("SELECT sys_cancel_task(%s)", self.operation)
            self.twin = machine.cancelled(self.twin)

    def compare(self) -> None:
        (state,) = self.one("SELECT state FROM operation WHERE id = %s", self.operation)
        assert state == str(self.twin.state)
        rows = self.all(
            "SELECT id::text, state, version, term, attempt, owner, session::text"
            " FROM operation_subtask WHERE operation = %s",
            self.operation,
        )
        twins = {
            (key, str(it.state), it.version, it.term, it.attempt, it.owner, it.session)
            for key, it in self.twin.subtasks.items()
        }
        assert set(rows) == twins


def test_the_database_makes_the_pure_transitions(database):
    """Q1, Q3, Q5, Q6, Q7, Q8, Q9"""
    fill_catalogue(database)
    for node in NODES:
        offer(database, CLUSTER, node)
    finished = set()
    for seed in range(30):
        with database.connect() as connection:
            twins = Twins(connection, seed)
            for _ in range(STEPS):
                if twins.random.random() < 0.05:
                    twins.join_again()
                if twins.random.random() < 0.015:
                    twins.cancel()
                twins.step()
                twins.compare()
            finished.add(twins.twin.state)
            if twins.twin.state in machine.UNFINISHED:
                twins.cancel()
                twins.sessions = {node: twins.join(node) for node in NODES}
                twins.back()
                twins.compare()
    ends = {
        machine.OperationState.COMPLETE,
        machine.OperationState.COMPLETE_WITH_ERRORS,
        machine.OperationState.CANCELLED,
    }
    assert ends <= finished, "the histories end in every way"


def test_ten_lost_owners_are_the_last(database):
    """Q7"""
    fill_catalogue(database)
    offer(database)
    with database.connect() as connection:
        twins = Twins(connection, 1)
        (key,) = twins.twin.subtasks
        for _ in range(machine.ATTEMPTS_MAX):
            version = twins.twin.subtasks[key].version
            node, session = "my_node1", twins.sessions["my_node1"]
            twins.one(
                "SELECT coord_claim_subtask(%s, %s, %s, %s, %s)",
                *(CLUSTER, node, session, key, version),
            )
            twins.twin, term = machine.claimed(twins.twin, key, version, node, session)
            assert term is not None
            twins.back(session)
            twins.compare()

        assert twins.twin.state is machine.OperationState.FAILED
