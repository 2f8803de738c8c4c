"""B5: the group's record of its schedule, on a real database."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from coordinator.app.schedule_ledger import DatabaseLedger
from coordinator.app.settings import DatabaseSettings
from coordinator.errors import DatabaseUnreachableError
from coordinator.protocol.schedule import (
    AlreadyEnded,
    AlreadyFired,
    Claimed,
    CountExhausted,
    NotHolder,
)
from coordinator.store import schedule as store
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
    return store.claim(connection, me, slot=slot, **more)


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
    claimed = store.claim(connection, me, slot=SLOT, next_at=SLOT + MINUTE, max_count=9)

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

    assert store.finish(
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
    before = database.query("SELECT * FROM schedule")

    refused = claim(connection, me, SLOT + MINUTE)
    finished = store.finish(connection, me, slot=SLOT, outcome="ok", duration_s=0.0, error=None)

    assert isinstance(refused, NotHolder)
    assert "term 1 of group 'g' is not current" in refused.reason
    assert finished is False
    assert store.end(connection, me, reason="r") is False
    assert store.reopen(connection, me) is False
    assert store.skipped(connection, me, count=3) is False
    assert database.query("SELECT * FROM schedule") == before


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

    assert not store.finish(
        connection, successor, slot=SLOT, outcome="ok", duration_s=0.0, error=None
    )


def test_ended_schedule_is_not_fired_until_it_is_reopened(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    assert store.end(connection, me, reason="endTime has passed")
    assert claim(connection, me, SLOT) == AlreadyEnded("endTime has passed")

    assert store.reopen(connection, me)

    assert claim(connection, me, SLOT) == Claimed(1)
    kinds = database.query("SELECT kind, task_id, term FROM event ORDER BY id")
    assert kinds == [("schedule-ended", "n", 1), ("schedule-reopened", "n", 1)]


def test_skipped_runs_are_counted(
    database: Database, connection: store.Connection, me: store.Holding
) -> None:
    store.skipped(connection, me, count=2)
    store.skipped(connection, me, count=1)

    assert columns(database, "skipped_count") == (3,)


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


# --- the ledger: connections that break -----------------------------------------------------------


@pytest.fixture
def ledger(database: Database, me: store.Holding) -> Iterator[DatabaseLedger]:
    made = DatabaseLedger(
        DatabaseSettings(conninfo=database.conninfo, schema=database.schema), me, max_count=None
    )
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

    assert ledger.claim(SLOT, None) == Claimed(1)


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

    assert ledger.claim(SLOT, None) == Claimed(1)
    assert columns(database, "fired_count") == (1,)


def test_slot_that_an_earlier_process_of_our_term_fired_is_not_ours(
    connection: store.Connection, me: store.Holding, ledger: DatabaseLedger
) -> None:
    claim(connection, me, SLOT)

    assert ledger.claim(SLOT, None) == AlreadyFired(1, 1, same=True)


def test_database_that_is_away_is_said_so(database: Database, me: store.Holding) -> None:
    nowhere = DatabaseSettings(conninfo="host=/nonexistent dbname=x", schema=database.schema)

    with pytest.raises(DatabaseUnreachableError):
        DatabaseLedger(nowhere, me, None).open()
