"""`coord when-active` beside real nodes: where it runs, and that it is dead before a successor."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.nodes.processes import RECORDER, Bed, bed, descendants, eventually
from tests.support.nodes.record import intervals, overlaps


@pytest.fixture
def nodes(tmp_path, database):
    # Doors are found by the name of the group: other tests have nodes on this machine, too.
    group = f"group-{uuid.uuid4().hex[:8]}"
    with bed(tmp_path, database.conninfo, database.schema, group=group) as made:
        made.liveness_s, made.heartbeat_s = 3.0, 0.5
        yield made


def asking(nodes: Bed, *words: str, **more: object) -> subprocess.Popen[str]:
    """Start `coord when-active` as a person does who knows the group only."""
    command = [sys.executable, "-m", "coordinator.cli", "when-active", "-g", nodes.group, *words]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **{"cwd": nodes.path, **pipes, **more})  # type: ignore[call-overload,no-any-return]


def when_active(nodes: Bed, *words: str, said: str = "", **more: object) -> tuple[int, str, str]:
    """Run it to its end; return exit code, stdout and stderr."""
    process = asking(nodes, *words, **more)
    out, err = process.communicate(said, timeout=60)
    return process.returncode, out, err


def recorder(nodes: Bed, name: str) -> tuple[tuple[str, ...], Path]:
    """Return a command that writes down when it lives, and its record."""
    path = nodes.path / name
    return ("--", sys.executable, "-S", str(RECORDER), str(path)), path


def test_the_command_runs_on_the_active_node_with_all_that_its_asker_has(nodes, monkeypatch):
    """M12: standard files, directory, environment; its own exit code; the node's holding."""
    monkeypatch.setenv("PASSED", "as it was")
    monkeypatch.setenv("COORD_TERM", "99")
    monkeypatch.setenv("COORD_TASK", "another-one")
    monkeypatch.setenv("COORD_DATABASE_PASSWORD", "s3cret")
    nodes.start("node-1")
    run = nodes.wait_for_run()
    nodes.start("node-2")
    nodes.wait_for_standbys(1)
    shell = 'read line; echo "$line $COORD_NODE $COORD_TERM $PASSED"'
    shell += '; echo "${COORD_DATABASE_PASSWORD-}${COORD_TASK-}"; pwd; echo no >&2; exit 7'

    done = when_active(nodes, "--", "sh", "-c", shell, said="yes\n")

    assert done == (7, f"yes {run.node} {run.term} as it was\n\n{nodes.path}\n", "no\n")
    code, out, err = when_active(nodes, "--node", "node-2", "--", "echo", "never")
    assert (code, out, "node-1 is active" in err) == (3, "", True), err
    assert when_active(nodes, "-E", "0", "--node", "node-2", "--", "false")[0] == 0
    code, _, err = when_active(nodes, "--", "./nothing-here")
    assert (code, "command not found" in err) == (127, True), err
    (nodes.path / "gone").mkdir()
    monkeypatch.chdir(nodes.path / "gone")
    (nodes.path / "gone").rmdir()
    assert when_active(nodes, "--", "echo", "nowhere", cwd=None) == (0, "nowhere\n", "")


def test_without_a_node_on_this_machine_nothing_runs(nodes):
    """Names that others give to their sockets are no doors, and do no harm."""
    with ExitStack() as stack:
        for name in ("coord/when-active/short", "with\n\na line"):
            other = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            other.bind(f"\0{name} {nodes.group}")
            other.listen()
        _nothing_runs(nodes)


def _nothing_runs(nodes: Bed) -> None:
    code, out, err = when_active(nodes, "--", "echo", "never")

    assert (code, out) == (3, "")
    assert err == f"coord: {nodes.group}: no node of this group runs on this machine\n"


def test_a_command_is_dead_before_the_next_holder_starts(nodes):
    """M13: the node resigns; then a successor's command dies with all of its node at once."""
    nodes.start("node-1")
    first = nodes.wait_for_run()
    nodes.start("node-2")
    nodes.wait_for_standbys(1)
    words, path = recorder(nodes, "one-off")
    process = asking(nodes, *words)
    eventually(lambda: intervals(path), 30, nodes.story)

    nodes.nodes["node-1"].send(signal.SIGUSR1, "guardian")

    _, said = process.communicate(timeout=60)
    second = nodes.wait_for_run(after=first.term)
    assert (process.returncode, "SIGUSR1" in said) == (76, True), said
    assert intervals(path)[0].last < second.first


@pytest.mark.parametrize(
    "hurt",
    [
        pytest.param((signal.SIGKILL, "guardian"), id="guardian-dies"),
        pytest.param((signal.SIGKILL, "agent"), id="agent-dies", marks=pytest.mark.long),
        pytest.param((signal.SIGSTOP, "agent"), id="agent-hangs"),
    ],
)
def test_the_kill_bound_holds_for_a_command(nodes, hurt):
    """M12, G1, G5, G7: whatever becomes of its node, it is dead before a successor acts."""
    nodes.start("node-1")
    first = nodes.wait_for_run()
    nodes.start("node-2")
    nodes.wait_for_standbys(1)
    words, path = recorder(nodes, "one-off")
    process = asking(nodes, *words)
    (one_off,) = eventually(lambda: intervals(path), 30, nodes.story)

    nodes.nodes["node-1"].send(*hurt)

    second = nodes.wait_for_run(after=first.term, within_s=30)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 76, said
    eventually(lambda: not Path(f"/proc/{one_off.pid}").exists(), 10, "the command is dead")
    assert intervals(path)[0].last < second.first
    assert overlaps(nodes.runs()) == []


def test_a_command_ends_with_its_asker(nodes):
    """M13: killed without a word, or told to end; the program goes on."""
    node = nodes.start("node-1")
    run = nodes.wait_for_run()
    words, path = recorder(nodes, "one-off")
    killed = asking(nodes, *words)
    eventually(lambda: intervals(path), 30, nodes.story)
    killed.kill()
    killed.communicate(timeout=10)
    (one_off,) = intervals(path)
    eventually(lambda: not Path(f"/proc/{one_off.pid}").exists(), 10, "the command has ended")

    words, path = recorder(nodes, "another")
    told = asking(nodes, *words)
    (one_off,) = eventually(lambda: intervals(path), 30, nodes.story)
    told.terminate()

    assert told.communicate(timeout=10)[1] == ""
    assert told.returncode == 128 + signal.SIGTERM
    assert one_off.pid not in descendants(node.process.pid)
    assert run.pid in descendants(node.process.pid)
