"""The judges of task groups judge: hand-made bad histories are told, good ones are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.messages.group_record import Standing, TaskDef
from coordinator.protocol.messages.requests import Beat, Join, NodeFacts, Take
from coordinator.protocol.messages.task_requests import (
    ChangeStanding,
    Decide,
    EndSession,
    ReadGroup,
    TakeTasks,
    WantedTask,
)
from tests.simulation.group.checkers import alone_s, group_violations
from tests.simulation.group.planted import (
    AnyStanding,
    BeatUnseen,
    JoinUnseen,
    TermUnseen,
    VersionUnseen,
)
from tests.simulation.group.witness import Witness
from tests.simulation.world.history import Granted, History, Outcome, Ran
from tests.simulation.world.settings import GROUP
from tests.support.fakes import memory_operator as operator
from tests.support.fakes.memory_store import MemoryDatabase


def ran(task: str, node: str, term: int, start: float, end: float | None) -> Ran:
    return Ran(node, f"s-{node}", term, term, start, end, task)


def good() -> History:
    """Return a history in which two tasks run, one after a handover, and all agree at the end."""
    runs = [ran("a", "n0", 1, 1.0, 4.0), ran("a", "n1", 2, 4.5, None), ran("b", "n0", 1, 1.0, None)]
    grants = [
        Granted(run.start - 0.1, run.node, run.session, run.term, 1, run.task) for run in runs
    ]
    return History(
        runs=runs,
        grants=grants,
        calm_from=10.0,
        calm_within_s=5.0,
        ended_at=20.0,
        outcome=Outcome(
            version=7,
            wanted={"a": "n1", "b": "n0", "off": None},
            running={"a": ["n1"], "b": ["n0"]},
            acted={"n0": 7, "n1": 7},
        ),
    )


def outcome(history: History, **changes: object) -> History:
    assert history.outcome is not None
    history.outcome = replace(history.outcome, **changes)  # type: ignore[arg-type]
    return history


def test_a_good_history_is_not_told() -> None:
    assert group_violations(good()) == []


def test_two_nodes_on_one_task_are_told_and_on_two_tasks_not() -> None:
    history = good()
    history.runs[0].end = 4.8

    (told,) = group_violations(history)

    assert told.startswith("a: overlap")


def test_a_repeatable_task_may_overlap_only_with_a_run_that_is_apart() -> None:
    history = good()
    history.repeatable = frozenset({"a"})
    history.runs[0].end, history.runs[0].trusted_until = 8.0, 4.4
    assert group_violations(history) == []

    history.runs[0].trusted_until = 4.6

    (told,) = group_violations(history)
    assert told.startswith("a: together")


def test_a_term_that_ran_before_is_told() -> None:
    history = good()
    history.runs[1].term = 1
    history.grants.append(Granted(4.4, "n1", "s-n1", 1, 1, "a"))

    assert any("term" in told for told in group_violations(history))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"running": {"a": ["n0", "n1"], "b": ["n0"]}}, "misplaced: a"),
        ({"running": {"b": ["n0"]}}, "misplaced: a"),
        ({"running": {"a": ["n1"], "b": ["n0"], "off": ["n1"]}}, "misplaced: off"),
        ({"acted": {"n0": 7, "n1": 6}}, "behind: n1"),
    ],
)
def test_whoever_disagrees_at_the_end_is_told(changes: dict[str, object], word: str) -> None:
    (told,) = group_violations(outcome(good(), **changes))

    assert told.startswith(word)


def test_a_handover_in_the_calm_is_told() -> None:
    history = good()
    history.grants.append(Granted(16.0, "n1", "s-n1", 9, 1, "a"))

    (told,) = group_violations(history)

    assert told.startswith("restless")


def test_a_node_that_asks_without_a_pause_is_told_once() -> None:
    history = good()
    history.asked = [(5.0 + number * 0.02, "n0") for number in range(100)]
    assert group_violations(history) == []

    history.asked = [(5.0 + number * 0.01, "n0") for number in range(100)]

    (told,) = group_violations(history)
    assert told.startswith("busy: n0")


def test_how_long_a_dead_nodes_tasks_wait_is_counted() -> None:
    history = good()

    assert alone_s(history, "n0", 4.0) == {"a": pytest.approx(0.5)}
    history.runs.pop(1)
    assert alone_s(history, "n0", 4.0) == {"a": pytest.approx(16.0)}


# --- the witness ----------------------------------------------------------------------------------


def facts_of(node: str) -> NodeFacts:
    return NodeFacts(
        node=node, group=GROUP, liveness_s=6.0, heartbeat_s=1.0, lease_s=4.7, hosts_tasks=True
    )


class Court:
    """A witness beside a database, and two nodes that have joined."""

    def __init__(self, database: type[MemoryDatabase]) -> None:
        self.history, self.database = History(), database()
        self.witness = Witness(self.history, self.database)
        operator.define(self.database, GROUP, TaskDef(name="t"))
        for node in ("n0", "n1"):
            self.ask(node, Join(session=f"s-{node}", previous=None))

    def ask(self, node: str, request: object) -> None:
        self.witness.watch(0.0, facts_of(node), request)  # type: ignore[arg-type]

    def version(self) -> int:
        return self.database.versions[GROUP]

    def take(self, node: str, seen_term: int = 0) -> None:
        wanted = WantedTask(task="t", seen_term=seen_term, next_term=seen_term + 1)
        branch = self.database.epoch().branch
        version = self.version()
        self.ask(
            node,
            TakeTasks(session=f"s-{node}", version=version, branch=branch, wanted=(wanted,)),
        )

    def observe(self) -> None:
        """Let n0 hold the observer's token."""
        branch = self.database.epoch().branch
        how = {"how": "first", "reason": "", "detected_s": 0.0, "branch": branch}
        seen = {"seen_term": 0, "seen_node": None, "seen_session": None, "seen_beat": None}
        self.ask("n0", Take(session="s-n0", next_term=1, **how, **seen))  # type: ignore[arg-type]

    def decide(self, decision: object, version: int) -> None:
        self.ask(
            "n0",
            Decide(session="s-n0", term=1, version=version, decisions=(decision,)),  # type: ignore[arg-type]
        )

    def member(self, node: str) -> None:
        key = GROUP, node
        self.database.nodes[key] = replace(self.database.nodes[key], standing=Standing.MEMBER)


@pytest.mark.parametrize(("database", "told"), [(MemoryDatabase, 0), (AnyStanding, 1)])
def test_the_witness_tells_of_a_taker_that_is_no_member(
    database: type[MemoryDatabase], told: int
) -> None:
    court = Court(database)

    court.take("n0")

    assert [what[:2] for what in court.history.witnessed] == ["H1"] * told


@pytest.mark.parametrize(("database", "told"), [(MemoryDatabase, 0), (TermUnseen, 1)])
def test_the_witness_tells_of_a_token_that_was_not_revoked(
    database: type[MemoryDatabase], told: int
) -> None:
    court = Court(database)
    court.member("n0")
    court.member("n1")
    court.take("n0")

    court.take("n1")

    assert ["revoke" in what for what in court.history.witnessed] == [True] * told


@pytest.mark.parametrize(("database", "told"), [(MemoryDatabase, 0), (VersionUnseen, 1)])
def test_the_witness_tells_of_a_decision_on_an_old_version(
    database: type[MemoryDatabase], told: int
) -> None:
    court = Court(database)
    court.observe()
    change = ChangeStanding(
        node="n1",
        session="s-n1",
        before=Standing.PROMOTABLE,
        after=Standing.MEMBER,
        reason="on time",
    )

    court.decide(change, court.version() - 1)

    assert [what.split(":")[0] for what in court.history.witnessed] == ["decision"] * told


@pytest.mark.parametrize(("database", "told"), [(MemoryDatabase, 0), (BeatUnseen, 1)])
def test_the_witness_tells_of_a_session_that_was_ended_after_a_beat(
    database: type[MemoryDatabase], told: int
) -> None:
    court = Court(database)
    court.observe()
    seen_beat = court.database.nodes[GROUP, "n1"].beat
    court.ask("n1", Beat(session="s-n1"))

    court.decide(
        EndSession(node="n1", session="s-n1", beat=seen_beat, reason="silent"), court.version()
    )

    assert [what.split(":")[0] for what in court.history.witnessed] == ["unseen beat"] * told


@pytest.mark.parametrize(("database", "told"), [(MemoryDatabase, 0), (JoinUnseen, 1)])
def test_the_witness_tells_of_a_version_that_shows_two_records(
    database: type[MemoryDatabase], told: int
) -> None:
    court = Court(database)
    court.ask("n0", ReadGroup())

    court.ask("n2", Join(session="s-n2", previous=None))
    court.ask("n0", ReadGroup())

    assert [what.split(":")[0] for what in court.history.witnessed] == ["version"] * told
