"""`coord checkpoint`: what is put comes back; each refusal has its own exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Database

pytestmark = pytest.mark.real

MINE = str(uuid.UUID(int=1))
PROGRAM = {
    "COORD_GROUP": "orders",
    "COORD_NODE": "a",
    "COORD_TERM": "7",
    "COORD_SESSION": MINE,
}


@pytest.fixture
def held(database: Database) -> Database:
    """Node a holds the group's token in term 7."""
    database.query("INSERT INTO group_record (group_id) VALUES ('orders')")
    database.query(
        "INSERT INTO health_check (group_id, task_id, session) VALUES ('orders', 'a', %s)", MINE
    )
    database.query(
        "INSERT INTO token_holder (group_id, task_id, session, term) VALUES ('orders', 'a', %s, 7)",
        MINE,
    )
    return database


def coord(
    database: Database, *arguments: str, given: bytes = b"", env: Mapping[str, str] | None = None
) -> tuple[int, bytes, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("COORD", "PG"))}
    place = {
        "COORD_DATABASE_URL": database.conninfo,
        "COORD_DATABASE_SCHEMA": database.schema,
        "COORD_QUIET": "1",
    }
    run = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", "checkpoint", *arguments],
        input=given,
        env=kept | place | dict(env or {}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    return run.returncode, run.stdout, run.stderr.decode()


def test_bytes_a_file_and_a_directory_come_back(held: Database, tmp_path: Path):
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "seen").write_text("4711")
    os.mkfifo(folder / "pipe")
    own = PROGRAM | {"COORD_CHECKPOINT_DIR": str(folder)}

    assert coord(held, "put", "-", given=b"\x00\xff", env=PROGRAM)[:2] == (0, b"")
    assert coord(held, "put", str(folder / "seen"), env=PROGRAM)[0] == 0
    code, _, told = coord(held, "put", env=own)

    assert (code, "pipe: it has no content" in told) == (0, True)
    assert coord(held, "get", "--of", "orders", "--sequence", "1") == (0, b"\x00\xff", "")
    assert coord(held, "get", "--sequence", "2", env=PROGRAM)[1] == b"4711"
    assert coord(held, "get", str(tmp_path / "again"), env=PROGRAM)[0] == 0
    assert (tmp_path / "again/seen").read_text() == "4711"
    code, said, _ = coord(held, "list", "--of", "orders", "-o", "json")
    assert [
        (each["sequence"], each["term"], each["form"]) for each in json.loads(said)["checkpoints"]
    ] == [(3, 7, "directory"), (2, 7, "file"), (1, 7, "bytes")]
    assert coord(held, "verify", env=PROGRAM)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "env", "code", "words"),
    [
        (("put", "-"), PROGRAM | {"COORD_TERM": "6"}, 76, "nothing was committed"),
        (("put", "-"), PROGRAM | {"COORD_SESSION": str(uuid.UUID(int=2))}, 76, "nothing was"),
        (("put", "-"), {"COORD_GROUP": "orders"}, 2, "COORD_NODE"),
        (("put",), PROGRAM, 2, "COORD_CHECKPOINT_DIR is not set"),
        (("put", "/nowhere/at/all"), PROGRAM, 2, "/nowhere/at/all: No such file"),
        (("put", "/dev/null"), PROGRAM, 2, "neither a file nor a directory"),
        (("get",), PROGRAM, 3, "orders: there is no checkpoint"),
        (("verify", "--sequence", "9"), PROGRAM, 3, "there is no checkpoint 9"),
        (("rescan",), PROGRAM, 2, "[[disks]]"),
    ],
)
def test_each_refusal_has_its_own_code_and_keeps_nothing(
    held: Database, arguments, env: Mapping[str, str], code: int, words: str
):
    found, said, trouble = coord(held, *arguments, env=env)

    assert (found, said) == (code, b"")
    assert words in trouble
    assert "Traceback" not in trouble
    assert held.query("SELECT count(*) FROM segment_group") == [(0,)]


def test_a_path_at_which_something_is_stays_as_it_is(held: Database, tmp_path: Path):
    there = tmp_path / "there"
    there.write_text("mine")
    assert coord(held, "put", str(tmp_path), env=PROGRAM)[0] == 0

    assert coord(held, "get", str(there), env=PROGRAM)[0] == 2
    assert coord(held, "get", env=PROGRAM)[0] == 2  # a directory has no bytes to print
    assert there.read_text() == "mine"
