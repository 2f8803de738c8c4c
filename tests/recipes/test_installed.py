"""Recipes that need Celery, Django or Litestream: long tests, with what `make recipes` installs."""

from __future__ import annotations

import ast
import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.recipes.conftest import ENVIRONMENT, Recipe
from tests.support.nodes.processes import eventually

pytestmark = [
    pytest.mark.real,
    pytest.mark.long,
    pytest.mark.skipif(
        not (ENVIRONMENT / "bin/celery").exists(), reason="no .venv-recipes: run `make recipes`"
    ),
]
Copied = Callable[[str], Recipe]


def test_a_management_command_of_django(recipe: Copied) -> None:
    recipe("django").takes_over("sent by {node}, term {term}")


def test_one_beat_sends_and_each_message_has_its_term(recipe: Copied) -> None:
    """A broker of files: what was sent lies in a folder."""
    beat = recipe("celery-beat")
    sent = beat.bed.path / "sent"
    sent.mkdir()
    folders = {"data_folder_in": str(sent), "data_folder_out": str(sent)}
    broker = {"BROKER": "filesystem://", "BROKER_OPTIONS": json.dumps(folders)}

    def terms() -> set[int]:
        found = set()
        for path in sent.glob("*.msg"):
            with suppress(json.JSONDecodeError):  # it is being written
                said = json.loads(path.read_text())["headers"]["kwargsrepr"]
                found.add(int(ast.literal_eval(said)["term"]))
        return found

    first = beat.start("node-1", **broker)
    eventually(lambda: 1 in terms(), 60, lambda: f"beat 1 sends{beat.bed.story()}")
    beat.start("node-2", **broker)
    beat.bed.wait_for_standbys(1)

    first.send(signal.SIGKILL, "guardian")

    eventually(lambda: 2 in terms(), 60, lambda: f"beat 2 sends{beat.bed.story()}")


def test_the_application_of_litestream_goes_on_with_the_notes_of_the_former_node(
    recipe: Copied,
) -> None:
    notes = recipe("litestream")
    home = notes.bed.path
    replica = {"REPLICA": f"file://{home}/replica"}

    def own(node: str) -> dict[str, str]:
        (home / node).mkdir()
        return {"DATABASE": str(home / node / "notes.db"), **replica}

    first = notes.start("node-1", **own("node-1"))
    notes.wait_for(first, "5 notes, node node-1, term 1")
    second = notes.start("node-2", **own("node-2"))
    notes.bed.wait_for_standbys(1)

    first.send(signal.SIGUSR1, "guardian")

    notes.wait_for(second, "notes, node node-2, term 2")
    with sqlite3.connect(home / "node-2/notes.db") as database:
        rows = database.execute("SELECT node, term FROM note ORDER BY id").fetchall()
    database.close()
    assert rows[:5] == [("node-1", 1)] * 5
    assert ("node-2", 2) in rows
