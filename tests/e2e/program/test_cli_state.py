"""`coord state`: bytes through a pipe, exactly; refused when the program's token is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping

import pytest

from coordinator.protocol.rules.saved_state import STATE_BYTES_MAX
from tests.conftest import Database

pytestmark = pytest.mark.real

MINE = str(uuid.UUID(int=1))
ODD = b"\x00\xff\xfe\r\n\\x41%s\x00"
PROGRAM = {
    "COORD_GROUP": "orders",
    "COORD_NODE": "a",
    "COORD_TERM": "7",
    "COORD_SESSION": MINE,
}


@pytest.fixture
def held(database: Database) -> Database:
    """Node a holds the group's token in term 7, and a task's in term 3."""
    database.query("INSERT INTO group_record (group_id) VALUES ('orders')")
    database.query(
        "INSERT INTO health_check (group_id, task_id, session) VALUES ('orders', 'a', %s)", MINE
    )
    for token, term in (("orders", 7), ("orders/mail", 3)):
        database.query(
            "INSERT INTO token_holder (group_id, task_id, session, term) VALUES (%s, 'a', %s, %s)",
            *(token, MINE, term),
        )
    return database


def coord(
    database: Database, *arguments: str, given: bytes = b"", env: Mapping[str, str] | None = None
) -> tuple[int, bytes, str]:
    """Run `coord state`; return its exit code, its bytes, and its errors."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("COORD", "PG"))}
    place = {
        "COORD_DATABASE_URL": database.conninfo,
        "COORD_DATABASE_SCHEMA": database.schema,
        "COORD_QUIET": "1",
    }
    run = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", "state", *arguments],
        input=given,
        env=kept | place | dict(env or {}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    return run.returncode, run.stdout, run.stderr.decode()


def test_bytes_go_through_exactly_and_the_kept_states_are_shown(held: Database, tmp_path) -> None:
    """Y3"""
    code, said, trouble = coord(held, "get", env=PROGRAM)
    assert (code, said) == (3, b"")
    assert "no state was saved yet" in trouble

    assert coord(held, "put", given=ODD, env=PROGRAM)[:2] == (0, b"")
    assert coord(held, "get", "orders") == (0, ODD, "")
    file = tmp_path / "state"
    file.write_bytes(b"")
    assert coord(held, "put", str(file), env=PROGRAM)[:2] == (0, b"")
    assert coord(held, "get", "-g", "orders") == (0, b"", "")
    assert coord(held, "get", "orders", "--sequence", "1") == (0, ODD, "")
    assert coord(held, "get", "orders", "--sequence", "9")[0] == 3

    code, said, _ = coord(held, "history", "orders", "-o", "json")
    kept = json.loads(said)["states"]
    assert [(each["sequence"], each["term"], each["node"], each["size"]) for each in kept] == [
        (2, 7, "a", 0),
        (1, 7, "a", len(ODD)),
    ]
    code, said, _ = coord(held, "show", "orders", "-o", "json")
    assert (code, json.loads(said)["sequence"]) == (0, 2)


def test_a_task_has_a_state_of_its_own(held: Database) -> None:
    task = PROGRAM | {"COORD_TASK": "mail", "COORD_TERM": "3"}
    assert coord(held, "put", "-", given=b"mail", env=task)[0] == 0

    assert coord(held, "get", env=task) == (0, b"mail", "")
    assert coord(held, "get", "orders", "--task", "mail") == (0, b"mail", "")
    assert coord(held, "get", "orders", env=task)[0] == 3  # the named group's own


@pytest.mark.parametrize(
    ("arguments", "given", "env", "code", "words"),
    [
        (("put",), b"x", PROGRAM | {"COORD_TERM": "6"}, 76, "nothing was saved"),
        (("put",), b"x", PROGRAM | {"COORD_SESSION": str(uuid.UUID(int=2))}, 76, "nothing"),
        (("put",), b"x" * (STATE_BYTES_MAX + 1), PROGRAM, 65, "more than 1048576 (1 MiB)"),
        (("put",), b"x", {"COORD_GROUP": "orders"}, 2, "COORD_TERM"),
        (("put", "/nowhere/at/all"), b"", PROGRAM, 2, "/nowhere/at/all: No such file"),
        (("get", "billing"), b"", {}, 4, "there is no token 'billing'"),
        (("history", "orders", "--task", "nope"), b"", {}, 4, "there is no token 'orders/nope'"),
    ],
)
def test_each_refusal_has_its_own_code_and_saves_nothing(
    held: Database, arguments, given: bytes, env: Mapping[str, str], code: int, words: str
) -> None:
    """Y1, Y3: 76 for a holder that was deposed."""
    found, said, trouble = coord(held, *arguments, given=given, env=env)

    assert (found, said) == (code, b"")
    assert words in trouble
    assert "Traceback" not in trouble
    assert held.query("SELECT * FROM token_state") == []
