"""Each obstacle of a planned change, and each wrong word: exit code and what is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import Database
from tests.e2e.planned.conftest import Coord
from tests.support.nodes.store_nodes import joined_nodes

pytestmark = pytest.mark.real

ONE_OF_THE_PAUSES = "one of --work (stops the work) and --takeovers (lets it go on) is required"
#: The obstacle, as SQL; the command; its exit code; its message.
REFUSED = {
    "a switchover to the holder": (
        "SELECT",
        ("switchover", "--to", "a", "--yes"),
        3,
        "orders: a holds the token already",
    ),
    "a switchover to nobody": (
        "SELECT",
        ("switchover", "--to", "nobody", "--yes"),
        3,
        "orders: nobody has no live session",
    ),
    "a later switchover to nobody": (
        "SELECT",
        ("switchover", "--to", "nobody", "--in", "5m", "--yes"),
        4,
        "there is no node 'nobody' in group 'orders'",
    ),
    "a switchover to the dead": (
        "UPDATE health_check SET ended_at = now() WHERE task_id = 'b'",
        ("switchover", "--to", "b", "--yes"),
        3,
        "orders: b has no live session",
    ),
    "a switchover without a standby": (
        "UPDATE health_check SET ended_at = now() WHERE task_id = 'b'",
        ("switchover", "--yes"),
        3,
        "orders: no standby is ready",
    ),
    "a switchover to who is behind": (
        "UPDATE health_check SET last_heartbeat = now() - interval '4 s' WHERE task_id = 'b'",
        ("switchover", "--to", "b", "--yes"),
        3,
        "orders: b is behind: its last heartbeat is ",
    ),
    "a switchover to a draining node": (
        "INSERT INTO planned_change (group_id, kind, node) VALUES ('orders', 'drain', 'b')",
        ("switchover", "--to", "b", "--yes"),
        3,
        "orders: b is draining",
    ),
    "a switchover in a pause": (
        "INSERT INTO planned_change (group_id, kind, asked_by) VALUES"
        " ('orders', 'pause takeovers', 'ana')",
        ("switchover", "--yes"),
        3,
        "orders: the group is paused (pause takeovers by ana): nobody would take the token",
    ),
    "two switchovers": (
        "INSERT INTO planned_change (group_id, kind, asked_by, due_at) VALUES"
        " ('orders', 'switchover', 'ana', now() + interval '1 h')",
        ("switchover", "--yes"),
        3,
        "orders: a switchover by ana is open already",
    ),
    "a switchover of nobody's token": (
        "UPDATE token_holder SET session = NULL",
        ("switchover", "--yes"),
        3,
        "orders: nobody is active, so there is nothing to hand over",
    ),
    "a switchover of a task group": (
        "UPDATE group_record SET hosts_tasks = true",
        ("switchover", "--yes"),
        3,
        "orders: the group spreads tasks: move one, or drain a node",
    ),
    "a switchover of no group": (
        "SELECT",
        ("switchover", "nowhere", "--yes"),
        4,
        "there is no group 'nowhere'",
    ),
    "no switchover to cancel": (
        "SELECT",
        ("switchover", "--cancel"),
        3,
        "orders: no switchover is open",
    ),
    "a resignation of a standby": (
        "SELECT",
        ("resign", "--node", "b", "--yes"),
        3,
        "orders: b does not hold the token; a does",
    ),
    "two pauses": (
        "INSERT INTO planned_change (group_id, kind, asked_by) VALUES"
        " ('orders', 'pause takeovers', 'ana')",
        ("pause", "orders", "--work", "--yes"),
        3,
        "orders: a pause takeovers by ana is open already",
    ),
    "a pause of no group": (
        "SELECT",
        ("pause", "nowhere", "--takeovers", "--yes"),
        4,
        "there is no group 'nowhere'",
    ),
    "no pause to end": ("SELECT", ("resume", "orders"), 3, "orders is not paused"),
    "a drain of the last": (
        "UPDATE health_check SET ended_at = now() WHERE task_id = 'b'",
        ("drain", "a", "--yes"),
        3,
        "orders: no other live node could do the work of a",
    ),
    "a drain of nobody": (
        "SELECT",
        ("drain", "nobody", "--yes"),
        4,
        "there is no node 'nobody' in group 'orders'",
    ),
    "two drains": (
        "INSERT INTO planned_change (group_id, kind, node, asked_by)"
        " VALUES ('orders', 'drain', 'b', 'ana')",
        ("drain", "b", "--yes"),
        3,
        "orders: a drain by ana is open already",
    ),
    "no drain to end": ("SELECT", ("undrain", "b"), 3, "orders: b is not drained"),
    "a priority of 0 for the last": (
        "UPDATE health_check SET ended_at = now() WHERE task_id = 'b'",
        ("node", "set", "a", "priority=0"),
        3,
        "orders: no other live node could do the work of a",
    ),
    "no priority to end": (
        "SELECT",
        ("node", "set", "b", "priority=default"),
        3,
        "orders: b has the priority of its file",
    ),
}
#: Wrong words; each is exit code 2, and says what is right.
WRONG = {
    "a pause of nothing": (("pause", "orders"), ONE_OF_THE_PAUSES),
    "a pause of both": (
        ("pause", "orders", "--work", "--takeovers"),
        ONE_OF_THE_PAUSES,
    ),
    "a time": (("pause", "orders", "--work", "--for", "soon"), "'soon' is not a time"),
    "a moment without an offset": (
        ("switchover", "--at", "2026-05-04T03:00:00"),
        "is not a moment with an offset",
    ),
    "two times": (
        ("switchover", "--at", "2026-05-04T03:00:00Z", "--in", "5m"),
        "--at and --in cannot be combined",
    ),
    "a target to cancel": (("switchover", "--cancel", "--to", "b"), "--cancel takes no --to"),
    "an unconfirmed switchover": (("switchover",), "pass --yes"),
    "an unconfirmed drain": (("drain", "b"), "pass --yes"),
    "a key": (("node", "set", "b", "zone=east"), "'zone=east' is not priority=N"),
    "a number": (("node", "set", "b", "priority=high"), "is not a number from 0"),
}


@pytest.fixture
def two(database: Database) -> Iterator[Database]:
    """A group with a holder and a standby, which beat once."""
    with ExitStack() as stack:
        holder, _ = stack.enter_context(joined_nodes(database, "a", "b", liveness_s=60.0))
        holder.win()
        yield database


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_with_what_is_in_the_way(
    two: Database, coord: Coord, case: str
):
    """A5, A7: one line, a code of its own, and nothing is recorded."""
    obstacle, words, code, said = REFUSED[case]
    two.query(obstacle)
    before = two.query("SELECT count(*), max(outcome) FROM planned_change")

    done = coord(*words)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"coord: {said}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert two.query("SELECT count(*), max(outcome) FROM planned_change") == before


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_command_says_what_is_right(coord: Coord, case: str):
    words, said = WRONG[case]

    done = coord(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split()), done.stderr


def test_what_is_asked_for_and_not_waited_for_is_recorded(two: Database, coord: Coord):
    """Every command with --no-wait, then what ends it: one line, and one event for each."""
    for words, said in (
        (("switchover", "--in", "5m", "--no-wait", "--yes"), "the switchover is asked for"),
        (("switchover", "--cancel"), "the switchover is cancelled"),
        (("pause", "orders", "--work", "--no-wait", "--yes"), "work is paused"),
        (("resume", "orders"), "resumed"),
        (("drain", "b", "--no-wait", "--yes"), "the drain of b is asked for"),
        (("undrain", "b"), "b may work again"),
        (("node", "set", "b", "priority=3"), "b has priority 3"),
        (("node", "set", "b", "priority=4"), "b has priority 4"),
        (("node", "set", "b", "priority=default"), "b has the priority of its file again"),
    ):
        done = coord(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"orders: {said}"), done.stdout

    ended = two.query("SELECT kind, outcome FROM planned_change ORDER BY id")
    assert ended == [
        ("switchover", "cancelled"),
        ("pause work", "done"),
        ("drain", "done"),
        ("priority", "done"),
        ("priority", "done"),
    ]
    events = two.query("SELECT kind FROM event WHERE kind LIKE 'drain%' ORDER BY id")
    assert events == [("drain asked",), ("drain done",)]
