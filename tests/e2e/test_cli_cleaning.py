"""`coord db prune`, `group delete`, `token list` and `token release` as an operator uses them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.e2e.test_cli_look import coord, filled
from tests.support.nodes.processes import bed

pytestmark = pytest.mark.real

__all__ = ["filled"]


def test_tokens_are_listed_with_holder_and_heartbeat(filled: Database) -> None:
    found = json.loads(coord(filled, "token", "list", "-o", "json")[1])["tokens"]
    table = coord(filled, "token", "list", "orders")[1].splitlines()

    assert [(each["token"], each["state"], each["taskId"], each["term"]) for each in found] == [
        ("orders", "held", "node-2", 8),
        ("reports", "silent", "node-1", 3),
    ]
    assert table[1].split()[:4] == ["orders", "held", "node-2", "8"]


def test_a_dead_holders_token_is_released_after_its_interval_was_watched(
    tmp_path: Path, database: Database
) -> None:
    with bed(tmp_path, database.conninfo, database.schema) as nodes:
        nodes.liveness_s = 1.5
        node = nodes.start("node-1")
        nodes.wait_for_run()
        alive = coord(database, "token", "release", "orders", "--force", "--yes")
        node.send(signal.SIGKILL, "all")
        node.process.wait(10)
        dead = coord(database, "token", "release", "orders", "--force", "--yes", "--reason", "fire")

    assert alive[0] == 3
    assert "node-1 lives: it has sent a heartbeat" in alive[2]
    assert dead[:2] == (0, "orders: released; 1 tokens of that session are free\n")
    assert database.query("SELECT end_reason FROM token_history") == [("fire",)]


def test_a_fence_command_stands_for_the_wait(filled: Database, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    release = ("token", "release", "orders", "--force", "--yes")

    failed = coord(filled, *release, "--fence", "exit 4")
    fenced = coord(
        filled, *release, "--fence", f'echo "$COORD_NODE $COORD_TERM $COORD_GROUP" > {seen}'
    )

    assert (failed[0], "the fence command ended with 4" in failed[2]) == (3, True)
    assert fenced[0] == 0
    assert seen.read_text() == "node-2 8 orders\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("token", "release", "orders", "--yes"), 2, "--force is missing"),
        (("token", "release", "nope", "--force", "--yes"), 4, "there is no token 'nope'"),
        (("token", "list", "nope"), 4, "there is no group 'nope'"),
        (("group", "delete", "orders", "--yes"), 3, "these nodes live, or hold a token: node-1"),
        (("group", "delete", "nope", "--yes"), 4, "there is no group 'nope'"),
        (("group", "delete", "orders"), 2, "pass --yes"),
        (("db", "prune", "nope"), 4, "there is no group 'nope'"),
        (("db", "prune", "--events", "soon"), 2, "is not a time"),
    ],
)
def test_what_cannot_be_done_is_refused(
    arguments: tuple[str, ...], code: int, words: str, filled: Database
) -> None:
    answer = coord(filled, *arguments)

    assert (answer[0], words in " ".join(answer[2].split())) == (code, True), answer


def test_pruning_tells_what_went_from_each_group(filled: Database) -> None:
    filled.query(
        "INSERT INTO event (group_id, at, kind) VALUES ('orders', now() - '2 h'::interval, 'x')"
    )

    code, said, _ = coord(filled, "db", "prune", "--events", "1h")

    assert code == 0
    assert said.splitlines() == ["orders: 1 rows deleted", "reports: 0 rows deleted"]


def test_a_group_without_a_live_node_is_deleted(filled: Database) -> None:
    filled.query("UPDATE health_check SET ended_at = now() WHERE group_id = 'reports'")

    code, said, _ = coord(filled, "group", "delete", "reports", "--yes")

    assert (code, said) == (0, "reports: deleted\n")
    assert coord(filled, "status", "reports")[0] == 4


@pytest.mark.parametrize(
    "arguments",
    [("token", "list"), ("db", "prune"), ("group", "delete", "g", "--yes")],
)
def test_a_database_that_is_away_is_exit_code_69(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    nowhere = Database(f"host={tmp_path} user=u dbname=d password=s3cret", "app")

    assert coord(nowhere, *arguments)[0] == 69
