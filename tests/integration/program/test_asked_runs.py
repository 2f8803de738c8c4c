"""X1, X2, X4: requests for runs by hand, on a real database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import psycopg
import pytest

from coordinator.app.config.settings import DatabaseSettings
from coordinator.app.program.asked_runs import DatabaseAskedRuns
from coordinator.app.program.database_ledger import DatabaseLedger
from coordinator.app.program.record_connection import RecordConnection
from coordinator.errors import ConditionFalseError, NotFoundError
from coordinator.protocol.group.asked_runs import RunState
from coordinator.protocol.messages.schedule_claims import Claimed
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.schedule.stop_signal import StopSignal
from coordinator.store.admin.connection import AdminConnection
from coordinator.store.admin.program import runs
from coordinator.store.program.asked_runs import NAME
from coordinator.store.program.schedule import Holding
from tests.conftest import Database
from tests.e2e.rows import NIGHT_UUIDS, fill_night
from tests.support.servers.pgbouncer import pooler

pytestmark = pytest.mark.real

#: Holding of the task that has a trigger.
ARCHIVE = {"group": "night/archive", "term": 8, "session": NIGHT_UUIDS[1]}
RECORD = "WHERE group_id = 'night/archive' AND name = '_hand'"


@pytest.fixture
def night(database: Database) -> Database:
    """A task group with a task of each state; `archive` is held, and has a trigger."""
    fill_night(database)
    return database


@pytest.fixture
def people(night: Database) -> Iterator[AdminConnection]:
    with closing(AdminConnection(night.conninfo, night.schema, "test", 10.0)) as opened:
        yield opened


def ask(people: AdminConnection, task: str = "archive", who: str = "ana") -> datetime:
    return runs.ask(people, "night", task, who=who, reason=None)


def state(people: AdminConnection, slot: datetime) -> RunState:
    return runs.look(people, "night", "archive", slot).state


class Served:
    """The process that serves the schedule of `archive`."""

    def __init__(self, database: Database, **other: object) -> None:
        place = DatabaseSettings(conninfo=database.conninfo, schema=database.schema)
        self.connection, self.stop = RecordConnection.of(place), StopSignal()
        whose = Holding(
            **{**ARCHIVE, **other},  # type: ignore[arg-type]
            schema=database.schema,
            name=NAME,
            owner="night",
            task="archive",
            node="node-1",
        )
        clock = BoottimeClock()
        ledger = DatabaseLedger(
            self.connection, whose, None, clock=clock, node_started_at=clock.now()
        )
        self.asked = DatabaseAskedRuns(self.connection, whose, ledger, self.stop)

    def close(self) -> None:
        self.connection.close()
        self.asked.close()


@pytest.fixture
def served(night: Database) -> Iterator[Served]:
    with closing(Served(night)) as made:
        made.asked.settle()
        yield made


def test_a_request_is_claimed_once_and_followed_to_its_end(
    people: AdminConnection, served: Served
) -> None:
    """X2: the slot is not due any more once it is claimed, and its end is told once."""
    slot = ask(people)
    seen = [state(people, slot)]

    assert served.asked.due() == slot
    claim = served.asked.claim(slot)
    seen.append(state(people, slot))
    assert served.asked.due() is None
    again = served.asked.claim(slot)
    for _ in range(2):  # as after a lost answer
        served.asked.finish(slot, "failed", 1.5, "exit code 3")
    seen.append(state(people, slot))

    assert (claim, seen) == (Claimed(1), [RunState.ASKED, RunState.RUNNING, RunState.FAILED])
    assert not isinstance(again, Claimed)
    found = runs.look(people, "night", "archive", slot)
    assert (found.error, found.duration_s, found.term) == ("exit code 3", 1.5, 8)


def test_the_end_of_a_run_is_told_once_and_known_after_the_next_request(
    night: Database, people: AdminConnection, served: Served
) -> None:
    slot = ask(people)
    served.asked.claim(slot)
    for _ in range(2):
        served.asked.finish(slot, "ok", 1.5, None)

    following = ask(people)
    served.asked.claim(following)

    assert following > slot
    assert (state(people, slot), state(people, following)) == (RunState.OK, RunState.RUNNING)
    told = night.query("SELECT task_id, term FROM event WHERE kind = 'run ok'")
    assert told == [("node-1", 8)]


def test_a_claim_that_came_too_late_is_refused(
    night: Database, people: AdminConnection, served: Served
) -> None:
    """X4: a request whose time is over is not started, also by one who saw it in its time."""
    slot = ask(people)
    assert served.asked.due() == slot
    night.query(f"UPDATE schedule SET reserved_until = now() - interval '11 s' {RECORD}")

    claim = served.asked.claim(slot)

    assert not isinstance(claim, Claimed)
    assert served.asked.due() is None
    assert state(people, slot) is RunState.EXPIRED


def test_a_run_whose_holding_is_over_has_died_and_is_told_once(
    night: Database, people: AdminConnection, served: Served
) -> None:
    """X4: the next holder writes it down, and does not make it again."""
    slot = ask(people)
    served.asked.claim(slot)
    night.query(
        "UPDATE token_holder SET term = 9, task_id = 'node-2', session = %s"
        " WHERE group_id = 'night/archive'",
        NIGHT_UUIDS[2],
    )
    assert state(people, slot) is RunState.DIED

    with closing(Served(night, term=9, session=NIGHT_UUIDS[2])) as successor:
        told = [successor.asked.settle(), successor.asked.settle()]
        due = successor.asked.due()

    assert told[0] is not None
    assert (told[1], due) == (None, None)
    assert served.asked.finish(slot, "ok", 1.0, None) is False
    assert state(people, slot) is RunState.DIED


def test_of_two_that_ask_at_once_one_is_refused(night: Database, people: AdminConnection) -> None:
    """X1: there is one open request."""
    outcomes: list[str] = []

    def race(who: str) -> None:
        with closing(AdminConnection(night.conninfo, night.schema, "test", 10.0)) as own:
            try:
                ask(own, who=who)
                outcomes.append("asked")
            except ConditionFalseError as error:
                outcomes.append(str(error).partition(": ")[2].partition(" ")[2])

    threads = [threading.Thread(target=race, args=(who,)) for who in ("ana", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [
        "asked",
        "has asked for a run already, which has not begun yet",
    ]


@pytest.mark.parametrize(
    ("task", "change", "why"),
    [
        ("copy", "", "it has no trigger: its program runs all the time"),
        (
            "archive",
            "UPDATE task SET enabled = false, end_reason = 'run 3 failed'",
            "it is disabled (run 3 failed): `coord task enable` comes first",
        ),
        (
            "archive",
            "INSERT INTO planned_change (group_id, kind) VALUES ('night', 'pause work')",
            "the work of the group is paused: `coord resume night` comes first",
        ),
        ("archive", "UPDATE health_check SET ended_at = now()", "no live member of the group may"),
        ("archive", "UPDATE task SET nodes = '{node-3}'", "no live member of the group may"),
        (
            "archive",
            "INSERT INTO schedule (group_id, last_outcome, last_fire_at, term)"
            " VALUES ('night/archive', 'running', '2026-05-04 12:00Z', 8)",
            "it runs already, on node-1 since 2026-05-04T12:00:00Z",
        ),
    ],
)
def test_what_cannot_be_run_now_is_refused_with_words(
    night: Database, people: AdminConnection, task: str, change: str, why: str
) -> None:
    """X1; nothing is left of a refused request."""
    if change:
        night.query(change)

    with pytest.raises(ConditionFalseError) as refused:
        ask(people, task)

    assert f"night/{task}: {why}" in str(refused.value)
    assert night.query("SELECT count(*) FROM schedule WHERE name = '_hand'") == [(0,)]
    assert night.query("SELECT count(*) FROM event WHERE kind = 'run asked'") == [(0,)]


def test_a_run_of_a_holding_that_is_over_is_not_in_the_way(
    night: Database, people: AdminConnection
) -> None:
    night.query(
        "INSERT INTO schedule (group_id, last_outcome, last_fire_at, term)"
        " VALUES ('night/archive', 'running', now(), 7)"
    )

    assert state(people, ask(people)) is RunState.ASKED


def test_an_unknown_task_is_not_found(people: AdminConnection) -> None:
    with pytest.raises(NotFoundError, match="night: there is no task 'nope'"):
        ask(people, "nope")


def test_plain_sql_asks_with_the_name_of_its_login(night: Database, served: Served) -> None:
    ((slot,),) = night.query("SELECT coord_ask_run('night', 'archive')")

    assert served.asked.due() == slot
    assert night.query(f"SELECT reserved_by = session_user FROM schedule {RECORD}") == [(True,)]


def test_a_request_wakes_the_process_that_waits(people: AdminConnection, served: Served) -> None:
    """X2: a notification ends the wait, and so does a stop; the hour is never waited for."""
    assert served.asked.due() is None
    asker = threading.Timer(0.1, ask, (people,))
    asker.start()
    served.asked.wait(3600)
    asker.join()
    assert served.asked.due() is not None

    stopper = threading.Timer(0.1, served.stop.set)
    stopper.start()
    served.asked.wait(3600)
    stopper.join()

    assert served.stop.event.is_set()


def test_a_connection_that_broke_is_listened_on_again(night: Database, served: Served) -> None:
    assert served.asked.due() is None
    night.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    slot = ask_over_a_new_connection(night)

    served.asked.wait(3600)

    assert served.asked.due() == slot


def test_behind_a_pooler_nothing_is_listened_to_and_requests_are_looked_for(
    night: Database, people: AdminConnection
) -> None:
    """O5: a lent session goes to others; the wait for an hour is cut to that between two looks."""
    with pooler(night.conninfo) as between:
        pooled = Database(between.conninfo, night.schema)
        with closing(Served(pooled)) as served:
            served.asked.settle()
            assert served.asked.due() is None
            slot = ask(people)

            served.asked.wait(3600)

            assert served.asked.due() == slot
            with psycopg.connect(
                between.conninfo, autocommit=True, prepare_threshold=None
            ) as anybody:
                # In turn over all sessions that the pooler lends.
                channels = [
                    anybody.execute("SELECT count(*) FROM pg_listening_channels()").fetchone()
                    for _ in range(9)
                ]
            assert set(channels) == {(0,)}


def ask_over_a_new_connection(database: Database) -> datetime:
    with closing(AdminConnection(database.conninfo, database.schema, "test", 10.0)) as own:
        return ask(own)


def test_a_login_without_the_right_cannot_ask(night: Database) -> None:
    """The function runs with its owner's rights, so not everybody may call it."""
    granted = night.query(
        "SELECT has_function_privilege('public', p.oid, 'EXECUTE') FROM pg_proc AS p"
        " WHERE p.proname = 'coord_ask_run'"
    )

    assert granted == [(False,)]
