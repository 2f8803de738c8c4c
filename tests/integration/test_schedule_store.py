"""W5: the group's record of its schedule, on a real database."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from coordinator.app.config.settings import DatabaseSettings
from coordinator.app.program.database_ledger import DatabaseLedger
from coordinator.app.program.record_connection import RecordConnection
from coordinator.errors import CoordError, DatabaseUnreachableError
from coordinator.protocol.messages.schedule_claims import (
    AlreadyEnded,
    AlreadyFired,
    Claimed,
    CountExhausted,
    NotHolder,
    TooEarly,
)
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.store.program import schedule as store
from coordinator.store.program import schedule_ends as ends
from tests.conftest import Database

pytestmark = pytest.mark.real

SLOT = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def hold(database: Database, term: int, node: str = "n") -> store.Holding:
    """Make `node` the holder under `term`, with a fresh session."""
    session = str(uuid.uuid4())
    database.query("DELETE FROM health_check WHERE task_id = %s", node)
    database.query(
        "INSERT INTO health_check (group_id, task_id, session) VALUES ('g', %s, %s)", node, session
    )
    database.query(
        "INSERT INTO token_holder (group_id, task_id, term, session) VALUES ('g', %s, %s, %s)"
        " ON CONFLICT (group_id) DO UPDATE SET task_id = excluded.task_id, term = excluded.term,"
        " session = excluded.session",
        node,
        term,
        session,
    )
    return store.Holding(schema=database.schema, group="g", term=term, session=session)


def columns(database: Database, names: str) -> tuple[object, ...]:
    return database.query(f"SELECT {names} FROM schedule")[0]


@pytest.fixture
def connection(database: Database) -> Iterator[store.Connection]:
    with closing(store.open_connection(database.conninfo, 5.0)) as opened:
        yield opened


@pytest.fixture
def me(database: Database, connection: store.Connection) -> store.Holding:
    holding = hold(database, 1)
    store.read(connection, holding)
    return holding


def claim(connection: store.Connection, me: store.Holding, slot: datetime, **more: int) -> object:
    return store.claim(connection, me, slot=slot, **more).claim


def test_fresh_record_has_fired_nothing(connection: store.Connection, me: store.Holding) -> None:
    seen = store.read(connection, me)

    assert (seen.fired_count, seen.last_fire_at, seen.ended) == (0, None, False)
    assert seen.now.utcoffset() == timedelta()


def test_moments_are_read_in_utc_whatever_the_session_shows(
    database: Database, me: store.Holding, connection: store.Connection
) -> None:
    connection.execute("SET TimeZone = 'Europe/Berlin'")
    claim(connection, me, SLOT)

    seen = store.read(connection, me)

    assert seen.last_fire_at == SLOT
    assert seen.last_fire_at.tzinfo is UTC


def test_claim_counts_and_remembers_slot_term_and_next(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    claimed = store.claim(connection, me, slot=SLOT, next_at=SLOT + MINUTE, max_count=9).claim

    assert claimed == Claimed(1)
    assert columns(database, "fired_count, last_fire_at, next_fire_at, last_outcome, term") == (
        1,
        SLOT,
        SLOT + MINUTE,
        "running",
        1,
    )


def test_finish_writes_outcome_duration_and_error(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    claim(connection, me, SLOT)

    assert ends.finish(
        connection, me, slot=SLOT, outcome="failed", duration_s=1.5, error="ValueError: no"
    )
    assert columns(database, "last_outcome, last_duration_ms, last_error") == (
        "failed",
        1500,
        "ValueError: no",
    )


def test_slot_is_not_fired_twice(connection: store.Connection, me: store.Holding) -> None:
    claim(connection, me, SLOT)

    assert claim(connection, me, SLOT) == AlreadyFired(term=1, count=1, same=True)


def test_slot_is_not_fired_again_after_a_takeover(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    claim(connection, me, SLOT)
    successor = hold(database, 2, "other")

    assert claim(connection, successor, SLOT) == AlreadyFired(term=1, count=1, same=True)
    assert claim(connection, successor, SLOT - MINUTE) == AlreadyFired(1, 1, same=False)
    assert claim(connection, successor, SLOT + MINUTE) == Claimed(2)


def test_count_goes_on_across_terms_and_ends(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    claim(connection, me, SLOT, max_count=2)
    successor = hold(database, 2, "other")

    assert claim(connection, successor, SLOT + MINUTE, max_count=2) == Claimed(2)
    assert claim(connection, successor, SLOT + 2 * MINUTE, max_count=2) == CountExhausted(2)


def test_stale_term_changes_nothing(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    claim(connection, me, SLOT)
    hold(database, 2, "other")
    everything = "(to_jsonb(schedule) - 'denied_count')::text"
    before = columns(database, everything)

    refused = claim(connection, me, SLOT + MINUTE)
    finished = ends.finish(connection, me, slot=SLOT, outcome="ok", duration_s=0.0, error=None)

    assert isinstance(refused, NotHolder)
    assert "term 1 of group 'g' is not current" in refused.reason
    assert finished is False
    assert ends.end(connection, me, reason="r") is False
    assert ends.reopen(connection, me, reason="asked for again") is False
    assert ends.settle(connection, me) is None
    assert ends.alert(connection, me, kind="k", reason="r") is False
    assert columns(database, everything) == before
    assert columns(database, "denied_count") == (1,)


def test_same_term_of_another_session_is_refused(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    hold(database, 1)

    assert isinstance(claim(connection, me, SLOT), NotHolder)


def test_ended_session_is_refused(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    database.query("UPDATE health_check SET ended_at = clock_timestamp()")

    assert isinstance(claim(connection, me, SLOT), NotHolder)


def test_run_of_an_earlier_term_cannot_be_finished_by_the_successor(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    claim(connection, me, SLOT)
    successor = hold(database, 2, "other")

    assert not ends.finish(
        connection, successor, slot=SLOT, outcome="ok", duration_s=0.0, error=None
    )


def test_ended_schedule_is_not_fired_until_it_is_reopened(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    assert ends.end(connection, me, reason="endTime has passed")
    assert claim(connection, me, SLOT) == AlreadyEnded("endTime has passed")

    assert ends.reopen(connection, me, reason="asked for again")

    assert claim(connection, me, SLOT) == Claimed(1)
    kinds = database.query("SELECT kind, task_id, term FROM event ORDER BY id")
    assert kinds == [("schedule-ended", "n", 1), ("schedule-reopened", "n", 1)]


def test_skipped_runs_are_counted(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    claim(connection, me, SLOT, skipped=2)
    ends.end(connection, me, reason="r", skipped=1)

    assert columns(database, "skipped_count") == (3,)


COUNTS = "ok_count, failed_count, stopped_count, died_count, skipped_count, fired_count"


def test_each_end_of_a_run_is_counted_once(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    for place, outcome in enumerate(("ok", "ok", "failed", "stopped", "skipped")):
        claim(connection, me, SLOT + place * MINUTE)
        for _ in range(2):  # again: the answer to the first was lost
            assert ends.finish(
                connection,
                me,
                slot=SLOT + place * MINUTE,
                outcome=outcome,
                duration_s=0.0,
                error=None,
            )
    claim(connection, me, SLOT + 9 * MINUTE)
    successor = hold(database, 2, "other")
    assert ends.settle(connection, successor) is not None
    assert ends.settle(connection, successor) is None

    assert columns(database, COUNTS) == (2, 1, 1, 1, 1, 6)


def test_each_refused_claim_is_counted(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    claim(connection, me, SLOT, max_count=1)
    denied = [columns(database, "denied_count")]
    claim(connection, me, SLOT)  # our own, whose answer was lost
    denied.append(columns(database, "denied_count"))
    for slot in (SLOT - MINUTE, SLOT + MINUTE, ahead(database, 3600)):
        claim(connection, me, slot, max_count=1)
        denied.append(columns(database, "denied_count"))
    successor = hold(database, 2, "other")
    for claimant in (me, successor):
        claim(connection, claimant, SLOT)
        denied.append(columns(database, "denied_count"))
    ends.end(connection, successor, reason="over")
    claim(connection, successor, SLOT + MINUTE)
    denied.append(columns(database, "denied_count"))

    assert [count for (count,) in denied] == [0, 0, 1, 2, 3, 4, 5, 6]


def test_takeover_waits_for_a_claim_and_the_claim_counts(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    with connection.transaction():
        connection.execute(
            f'SELECT "{database.schema}".coord_fence(%s, %s, %s::uuid)', ("g", 1, me.session)
        )
        with database.connect() as taker, pytest.raises(psycopg.errors.LockNotAvailable):
            taker.execute("SELECT FROM token_holder FOR UPDATE NOWAIT")


def test_two_claims_of_one_slot_at_once_fire_it_once(database: Database, me: store.Holding) -> None:
    together, outcomes = threading.Barrier(4), list[object]()

    def race() -> None:
        with closing(store.open_connection(database.conninfo, 5.0)) as mine:
            together.wait(10)
            outcomes.append(claim(mine, me, SLOT))

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert outcomes.count(Claimed(1)) == 1
    assert outcomes.count(AlreadyFired(1, 1, same=True)) == 3


# --- the server's clock ---------------------------------------------------------------------------


def ahead(database: Database, seconds: float) -> datetime:
    """Return a moment that lies ahead of the server's clock."""
    moment: datetime = database.query(
        "SELECT clock_timestamp() + make_interval(secs => %s)", seconds
    )[0][0]
    return moment.astimezone(UTC)


def test_slot_that_the_servers_clock_has_not_come_to_is_refused_and_told(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    """C2, whatever the node believes about the time."""
    refused = claim(connection, me, ahead(database, 600))

    assert isinstance(refused, TooEarly)
    assert 590 < refused.ahead_s <= 600
    assert columns(database, "fired_count, last_fire_at") == (0, None)
    ((kind, reason),) = database.query("SELECT kind, reason FROM event")
    assert kind == "run-refused"
    assert "ahead of the database's clock" in reason


def test_answer_to_a_claim_shows_the_servers_clock(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    before = ahead(database, 0)

    shown = store.claim(connection, me, slot=SLOT).now

    assert shown is not None
    assert before <= shown <= ahead(database, 0)


def test_record_far_ahead_of_the_clock_holds_nobody_up(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    """C4: the clock was set back after the last run; its own slot is not made twice."""
    poisoned = ahead(database, 3600)
    database.query("UPDATE schedule SET last_fire_at = %s, fired_count = 4", poisoned)
    now = ahead(database, 0)

    assert claim(connection, me, now) == Claimed(5)
    assert columns(database, "last_fire_at") == (now,)


def test_record_a_little_ahead_of_the_clock_is_waited_out(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    database.query("UPDATE schedule SET last_fire_at = %s", ahead(database, 20))

    assert isinstance(claim(connection, me, ahead(database, 0)), AlreadyFired)


# --- runs that die, schedules that are terminated -------------------------------------------------


def test_run_that_died_with_its_node_is_written_down_and_told_once(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    """C6"""
    claim(connection, me, SLOT)
    successor = hold(database, 2, "other")
    assert store.read(connection, successor).unfinished

    died = ends.settle(connection, successor)

    assert died == ends.Died(1, SLOT, 1)
    assert columns(database, "last_outcome, fired_count") == ("died", 1)
    assert [kind for (kind,) in database.query("SELECT kind FROM event")] == ["run-died"]
    assert ends.settle(connection, successor) is None
    assert not store.read(connection, successor).unfinished


def test_failed_run_ends_the_schedule_in_the_same_transaction(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    """C5"""
    claim(connection, me, SLOT)

    assert ends.finish(
        connection, me, slot=SLOT, outcome="failed", duration_s=0, error="no", terminate="run 1: no"
    )

    seen = store.read(connection, hold(database, 2, "other"))
    assert (seen.ended, seen.end_reason) == (True, "run 1: no")
    assert seen.terminated_at is not None
    kinds = database.query("SELECT kind, reason FROM event")
    assert kinds == [("schedule-terminated", "run 1: no")]


def test_terminated_task_is_disabled_with_its_reason(database: Database) -> None:
    """C5: no other node takes it, and `coord task list` shows why."""
    database.query("INSERT INTO group_record (group_id) VALUES ('night')")
    database.query(
        "INSERT INTO task (group_id, name, spec, on_done) VALUES ('night', 'job', %s, 'finish')",
        '{"command": ["x"], "trigger": {"interval": 1}}',
    )
    me = replace(hold(database, 1), owner="night", task="job", node="n")
    with closing(store.open_connection(database.conninfo, 5.0)) as connection:
        store.read(connection, me)
        claim(connection, me, SLOT)
        version = database.query("SELECT version FROM group_record")
        ends.finish(
            connection,
            me,
            slot=SLOT,
            outcome="failed",
            duration_s=0,
            error="exit code 4",
            terminate="run 1 failed: exit code 4",
        )
        seen = store.read(connection, me)

    assert database.query("SELECT enabled, end_reason FROM task") == [
        (False, "run 1 failed: exit code 4")
    ]
    assert database.query("SELECT error FROM task_node") == [("exit code 4",)]
    assert database.query("SELECT version FROM group_record") > version
    assert seen.task_asked_at is None
    database.query("UPDATE task SET enabled = true, changed_at = clock_timestamp()")
    with closing(store.open_connection(database.conninfo, 5.0)) as connection:
        again = store.read(connection, me)
    assert again.task_asked_at is not None
    assert seen.terminated_at is not None
    assert again.task_asked_at > seen.terminated_at


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("no such file: caf\udce9", "no such file: caf\\udce9"),
        ("nul\0here", "nul\\x00here"),
        ("\u2192 \U0001f600", "\u2192 \U0001f600"),
    ],
)
def test_any_text_of_a_program_can_be_written(
    database: Database, connection: store.Connection, me: store.Holding, text: str, kept: str
) -> None:
    claim(connection, me, SLOT)

    assert ends.finish(
        connection, me, slot=SLOT, outcome="failed", duration_s=0, error=text, terminate=text
    )

    assert columns(database, "last_error, end_reason") == (kept, kept)


# --- the ledger: connections that break -----------------------------------------------------------


def ledger_of(settings: DatabaseSettings, me: store.Holding) -> DatabaseLedger:
    clock = BoottimeClock()
    connection = RecordConnection.of(settings)
    return DatabaseLedger(connection, me, None, clock=clock, node_started_at=clock.now())


@pytest.fixture
def ledger(database: Database, me: store.Holding) -> Iterator[DatabaseLedger]:
    made = ledger_of(DatabaseSettings(conninfo=database.conninfo, schema=database.schema), me)
    made.open()
    yield made
    made.close()


def end_connections(database: Database) -> None:
    database.query(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_connection_that_broke_between_runs_is_opened_again(
    database: Database, ledger: DatabaseLedger
) -> None:
    end_connections(database)

    assert ledger.claim(SLOT, None, 0).claim == Claimed(1)


def test_claim_whose_answer_was_lost_is_ours(
    database: Database, ledger: DatabaseLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store.claim
    answers = iter([psycopg.OperationalError("the answer was lost")])

    def losing(connection, me, **more):
        claimed = real(connection, me, **more)
        for lost in answers:
            raise lost
        return claimed

    monkeypatch.setattr(store, "claim", losing)

    assert ledger.claim(SLOT, None, 0).claim == Claimed(1)
    assert columns(database, "fired_count") == (1,)


def test_slot_that_an_earlier_process_of_our_term_fired_is_not_ours(
    connection: store.Connection, me: store.Holding, ledger: DatabaseLedger
) -> None:
    claim(connection, me, SLOT)

    assert ledger.claim(SLOT, None, 0).claim == AlreadyFired(1, 1, same=True)


def test_database_that_is_away_is_said_so(database: Database, me: store.Holding) -> None:
    nowhere = DatabaseSettings(conninfo="host=/nonexistent dbname=x", schema=database.schema)

    with pytest.raises(DatabaseUnreachableError):
        ledger_of(nowhere, me).open()


def test_error_of_another_family_ends_in_one_line_that_names_it(
    database: Database, ledger: DatabaseLedger
) -> None:
    ledger.claim(SLOT, None, 0)

    with pytest.raises(CoordError, match="unexpected error in the schedule's record: ValueError"):
        ledger.finish(SLOT, "ok", float("nan"), None, None)

    assert ledger.finish(SLOT, "ok", 0.0, None, None)
