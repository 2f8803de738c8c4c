"""`coord run -n` and `-w`: as flock has them, after a crash too; refusals say since when."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest

from tests.support.nodes.processes import bed

MOMENT = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"
HELD = rf"the token is held by node-1 \(term 1\) since {MOMENT}\n"


@pytest.fixture
def nodes(tmp_path, database):
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


def ended(nodes, name: str, *options: str) -> tuple[int, str]:
    """Run `coord run` with `true` to its end."""
    arguments, environ = nodes.command_of(name, *options, behind=("--", "true"))
    done = subprocess.run(arguments, env=environ, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize("patience", ["-w0", "-w0.001"])
def test_a_free_token_is_taken_without_any_patience(nodes, patience):
    code, said = ended(nodes, "node-2", patience)

    assert (code, "ACTIVE term 1" in said) == (0, True), said


def test_a_held_token_is_told_with_its_holder_and_since_when(nodes):
    nodes.start("node-1")
    nodes.wait_for_run()

    for patience, expected in (("-n",), 75), (("-w0.2", "-E9"), 9):
        code, said = ended(nodes, "node-2", *patience)
        assert code == expected, said
        assert re.search(HELD, said), said


def test_after_a_crash_nonblock_waits_out_the_dead_holder(nodes):
    nodes.liveness_s = 3.0
    node = nodes.start("node-1")
    nodes.wait_for_run()
    node.send(signal.SIGKILL, "all")
    node.process.wait(10)

    short, said = ended(nodes, "node-2", "-w0.1")
    code, taken = ended(nodes, "node-3", "-n")

    # Told at once only where the last heartbeat was overdue by then; never before.
    assert short == 75, said
    assert "held by node-1" in said
    assert code in (0, 75), taken
    if code == 75:  # it was not overdue yet when node-3 looked: then it is now
        code, taken = ended(nodes, "node-3", "-n")
    assert (code, "ACTIVE term 2" in taken) == (0, True), taken


def test_a_name_in_use_is_told_with_its_place_and_since_when(nodes):
    nodes.start("node-1")
    nodes.wait_for_run()

    code, said = ended(nodes, "node-1")

    assert code == 78
    told = rf"taskId: 'node-1' is live on \S+:\d+ since {MOMENT} \(beat \d+\.\d s ago\)"
    assert re.search(told, said), said
