"""A program under `coord run` writes under its own holding, with nothing configured."""

from __future__ import annotations

import sys

import pytest

from tests.support.nodes.processes import bed, eventually

pytestmark = pytest.mark.real

PROGRAM = """
import coordinator

held = coordinator.held()
seen = held.state.get()
with held.transaction() as connection:
    connection.exec_driver_sql(
        "INSERT INTO app.work VALUES (%s, %s, %s)", (held.group, held.term, held.is_held())
    )
    held.state.put_in(connection, b"done")
assert (seen, held.state.get()) == (None, b"done")
"""
#: A callable runs in a process of coord's own; a command that it starts is below that process.
CALLABLE = """
import subprocess, sys

def work():
    subprocess.run([sys.executable, "program.py"], check=True)
"""
CONFIG = 'groupId = "called"\n[program]\ncallable = "jobs:work"\nonExit = "stop"\n'


@pytest.fixture
def nodes(tmp_path, database):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "jobs.py").write_text(CALLABLE)
    database.query("CREATE TABLE work (name text, term bigint, held bool)")
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


def test_a_program_and_the_child_of_a_callable_write_under_the_fence(nodes, database):
    command = (sys.executable, "program.py")
    once = ("--pass-database", "--restart", "never")
    started = [
        nodes.start("n", *once, command=command),
        nodes.start("m", "--pass-database", config=CONFIG, env={"COORD_GROUP_ID": ""}),
    ]

    for node in started:
        eventually(lambda node=node: node.process.poll() is not None, 60, nodes.story)
        assert node.process.returncode == 0, node.said()

    found = database.query("SELECT * FROM work ORDER BY name")
    assert found == [("called", 1, True), ("orders", 1, True)]
