"""The three examples, as their README says, on two nodes of which one is killed (H13)."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.nodes.processes import eventually
from tests.support.nodes.task_nodes import task_bed
from tests.support.servers.postgres import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
NODES = ("node-1", "node-2")


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def group(tmp_path, database, port):
    """Two nodes started in a copy of the folder, each a Member; all three tasks run."""
    home = tmp_path / "examples"
    shutil.copytree(EXAMPLES, home)
    config = (home / "Config.toml").read_text()
    config = config.replace("127.0.0.1:8045", f"127.0.0.1:{port}").replace("= 60", "= 0")
    with task_bed(tmp_path, database.conninfo, database.schema, "examples") as made:
        made.liveness_s, made.heartbeat_s = 3.0, 0.5
        # The tables of the examples lie in the test's schema, which no search_path names.
        options = f"-c search_path={database.schema}"
        database.query((home / "tables.sql").read_text())
        made.path = home
        for node in NODES:
            made.start(node, "--pass-database", config=config, env={"PGOPTIONS": options})
        made.wait_for_members(*NODES)
        eventually(lambda: len(made.where()) == 3, 15, lambda: f"all tasks are held{made.story()}")
        yield made


def kill_the_runner_of(group, task: str) -> None:
    """Kill a node with everything that it runs, and wait until the other one has the task."""
    runner = group.where()[task]
    group.nodes[runner].send(signal.SIGKILL, "all")
    other = next(node for node in NODES if node != runner)
    eventually(
        lambda: group.where().get(task) == other, 15, lambda: f"{other} has it{group.story()}"
    )


def test_the_archive_moves_everything_once(group, database):
    fill = "INSERT INTO document (body) SELECT 'd' || n FROM generate_series(1, 500) AS n"
    database.query(fill)
    eventually(lambda: database.query("SELECT 1 FROM document_archive LIMIT 1"), 15, group.story())

    kill_the_runner_of(group, "archive")
    database.query(fill)

    eventually(
        lambda: database.query("SELECT count(*) FROM document_archive") == [(1000,)],
        20,
        lambda: f"all are archived{group.story()}",
    )
    assert database.query("SELECT count(*) FROM document") == [(0,)]


def test_the_mirror_copies_every_row_once_and_goes_on_where_it_was(group, database):
    fill = "INSERT INTO note (body) SELECT 'n' || n FROM generate_series(1, 2000) AS n"
    database.query(fill)
    eventually(
        lambda: database.query("SELECT 1 FROM note_mirror LIMIT 1"),
        15,
        lambda: f"it copies{group.story()}",
    )

    kill_the_runner_of(group, "mirror")
    database.query(fill)

    eventually(
        lambda: database.query("SELECT count(*) FROM note_mirror") == [(4000,)],
        20,
        lambda: f"all are copied{group.story()}",
    )
    terms = database.query("SELECT term, min(id), max(id) FROM note_mirror GROUP BY 1 ORDER BY 1")
    assert len(terms) == 2
    assert terms[0][2] < terms[1][1], "each term went on behind the one before"


def test_the_hand_out_repeats_nothing_that_was_acknowledged(group, database, port):
    # The archive must not take the documents away meanwhile.
    database.query("UPDATE task SET enabled = false WHERE name = 'archive'")
    database.query("UPDATE group_record SET version = version + 1")
    eventually(lambda: "archive" not in group.where(), 10, lambda: f"no archive{group.story()}")
    database.query("INSERT INTO document (body) SELECT 'd' || n FROM generate_series(1, 35) AS n")
    seen: list[int] = []

    seen += acknowledged_batch(port)
    seen += acknowledged_batch(port)
    kill_the_runner_of(group, "handout")
    while batch := acknowledged_batch(port):
        seen += batch

    ids = [row[0] for row in database.query("SELECT id FROM document ORDER BY id")]
    assert seen == ids


def acknowledged_batch(port: int) -> list[int]:
    """Fetch the next documents and acknowledge them, waiting while nobody serves."""

    def fetched() -> tuple[list[int]] | None:
        try:
            rows = call(port, "/batch")
            ids = [row["id"] for row in rows]
            if ids:
                call(port, "/ack", {"lastId": ids[-1]})
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None
        return (ids,)

    found = eventually(fetched, 20, "somebody hands out")
    assert isinstance(found, tuple)
    return list(found[0])


def call(port: int, path: str, body: object = None) -> list[dict[str, int]]:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=5) as answer:
        found: list[dict[str, int]] = json.loads(answer.read())
        return found
