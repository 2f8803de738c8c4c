"""The race on a real PostgreSQL, with threads; and the origin's pattern, which loses it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import psycopg
import pytest

from coordinator.protocol.messages.requests import Answer
from tests.conformance.worlds import Node
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.postgres import wait_until

pytestmark = pytest.mark.real

NODES = tuple(f"node-{number}" for number in range(8))
ROUNDS = 200
FOIL_ROUNDS = 20


#: A trigger that aborts every take, as neighbours on a page of the index do that are faster.
ABORT_EVERY_TAKE = """
CREATE FUNCTION abort() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'others were faster' USING ERRCODE = 'serialization_failure'; END $$;
CREATE TRIGGER abort BEFORE UPDATE ON token_holder FOR EACH ROW EXECUTE FUNCTION abort()
"""


@dataclass(frozen=True)
class Round:
    """Result of one simultaneous takeover."""

    winners: tuple[str, ...]
    terms: tuple[int, ...]  #: as the winners were told


def violations(rounds: Sequence[Round], first_term: int) -> list[str]:
    """Return a line for each round without exactly one winner, or whose term is not one higher."""
    found = []
    for number, played in enumerate(rounds):
        if len(played.winners) != 1:
            found.append(f"round {number}: won by {played.winners}")
        if set(played.terms) != {first_term + number}:
            found.append(f"round {number}: terms {played.terms}, not {first_term + number}")
    return found


def at_once(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Make all calls at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(calls))

    def call(one: Callable[[], Answer]) -> Answer:
        barrier.wait(10)
        return one()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(30) for future in [pool.submit(call, one) for one in calls]]


def play(nodes: Sequence[Node], holder: Node) -> tuple[Round, Node]:
    """Kill the holder (it beats no more) and let all others take its token at once."""
    standbys = [node for node in nodes if node is not holder]
    view = standbys[0].look()
    answers = at_once([partial(node.take, view) for node in standbys])
    won = [node for node, answer in zip(standbys, answers, strict=True) if answer.done]
    told = tuple(answer.term for answer in answers if answer.done)
    assert holder.rejoin().done
    return Round(tuple(node.facts.node for node in won), told), won[0] if won else holder


@pytest.mark.timeout(120)
def test_killed_holder_has_one_successor_in_each_of_200_rounds(database):
    """R1, R2: one winner each, terms rise by one."""

    with joined_nodes(database, *NODES) as nodes:
        holder, rounds = nodes[0], []
        assert holder.win() == 1

        for _ in range(ROUNDS):
            played, holder = play(nodes, holder)
            rounds.append(played)

    assert violations(rounds, first_term=2) == []
    held = database.query("SELECT term FROM token_history ORDER BY term")
    assert [term for (term,) in held] == list(range(1, ROUNDS + 2))


def test_released_token_has_one_taker_in_each_of_50_rounds(database):
    with joined_nodes(database, *NODES) as nodes:
        holder, rounds = nodes[0], []
        term = holder.win()

        for _ in range(50):
            assert holder.release(term).done
            view = holder.look()
            answers = at_once([partial(node.take, view) for node in nodes])
            won = [node for node, answer in zip(nodes, answers, strict=True) if answer.done]
            terms = tuple(answer.term for answer in answers if answer.done)
            rounds.append(Round(tuple(node.facts.node for node in won), terms))
            holder, term = won[0], terms[0]

    assert violations(rounds, first_term=2) == []


def test_late_heartbeat_and_takeover_never_both_succeed(database):
    """R1: the beat that was seen decides."""

    outcomes = set()
    with joined_nodes(database, "a", "b") as (holder, standby):
        holder.win()
        for _ in range(100):
            view = standby.look()

            beaten, taken = at_once([holder.beat, partial(standby.take, view)])

            outcomes.add((beaten.done, taken.done))
            if taken.done:
                assert not holder.beat().done
                assert holder.rejoin().done
                holder, standby = standby, holder
            else:
                assert holder.beat().done

    assert outcomes <= {(True, False), (False, True)}


def test_storm_of_takes_and_releases_ends_with_every_term_once(database):
    terms: list[int] = []

    def struggle(node: Node) -> None:
        for _ in range(40):
            view = node.look()
            if view.token.session is not None:
                continue
            answer = node.take(view)
            if answer.done:
                terms.append(answer.term)
                assert node.release(answer.term).done

    with joined_nodes(database, *NODES) as nodes, ThreadPoolExecutor(len(nodes)) as pool:
        for future in [pool.submit(struggle, node) for node in nodes]:
            future.result(60)

    assert len(terms) > 8
    assert sorted(terms) == list(range(1, len(terms) + 1))


def test_serialization_failures_are_retried_within_the_budget(database):
    """R3: a foreign change of the row makes the first waiting try fail with 40001."""
    with joined_nodes(database, "a") as (node,), database.connect() as other:
        view = node.look()
        other.execute("BEGIN")
        other.execute("UPDATE token_holder SET term_floor = 5")

        with ThreadPoolExecutor(1) as pool:
            # The locked row is passed over, no fence is found, and the second try waits for it.
            future = pool.submit(node.take, view)
            wait_for_lock(database)
            other.execute("COMMIT")
            answer = future.result(10)

    assert answer.done
    assert answer.term == 6


def test_a_take_that_others_abort_in_every_try_is_a_definite_no(database):
    """R3: not an unreachable database: the same connection goes on, and takes when they let it."""
    with joined_nodes(database, "a") as (node,):
        view = node.look()
        database.query(ABORT_EVERY_TAKE)

        answer = node.take(view)

        assert not answer.done
        assert answer.view.token == view.token
        database.query("DROP TRIGGER abort ON token_holder")
        assert node.take(answer.view).done


def test_origins_pattern_lets_both_standbys_win(database):
    """Read, then upsert without a condition, READ COMMITTED: the checker above must see it."""
    database.query(
        "CREATE TABLE origin_token (group_id text PRIMARY KEY, task_id text, term bigint)"
    )
    database.query("INSERT INTO origin_token VALUES ('orders', 'dead', 0)")

    def take_over(connection: psycopg.Connection, name: str, have_read: threading.Barrier) -> int:
        with connection.transaction():
            (term,) = connection.execute("SELECT term FROM origin_token").fetchone()
            have_read.wait(10)  # both judge the holder dead before either writes
            connection.execute(
                "INSERT INTO origin_token VALUES ('orders', %s, %s) ON CONFLICT (group_id)"
                " DO UPDATE SET task_id = excluded.task_id, term = excluded.term",
                (name, term + 1),
            )
        return int(term) + 1

    rounds = []
    with database.connect() as one, database.connect() as two, ThreadPoolExecutor(2) as pool:
        for _ in range(FOIL_ROUNDS):
            have_read = threading.Barrier(2)
            futures = [
                pool.submit(take_over, connection, name, have_read)
                for connection, name in ((one, "node-1"), (two, "node-2"))
            ]
            terms = tuple(future.result(10) for future in futures)
            rounds.append(Round(("node-1", "node-2"), terms))

    assert len(violations(rounds, first_term=1)) == FOIL_ROUNDS


def test_the_checker_sees_a_missing_winner_and_a_skipped_term():
    good = Round(("a",), (2,))

    assert violations([good], first_term=2) == []
    assert violations([replace(good, winners=())], first_term=2)
    assert violations([replace(good, terms=(3,))], first_term=2)


def wait_for_lock(database) -> None:
    """Wait until somebody in this database waits for a row."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    wait_until(lambda: database.query(waiting) != [(0,)], timeout_s=10)
