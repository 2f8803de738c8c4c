"""The parts of a unit without systemd: its socket, its cgroup and its last command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.runtime.isolation import cgroup
from tests.support.nodes.processes import Bed, RunningNode, bed, eventually
from tests.support.nodes.progress import progress_socket

START = "0123456789abcdef"
#: Long enough that a takeover by the end of a lease cannot be taken for one at once.
LIVENESS_S = 90


@pytest.fixture
def nodes(tmp_path, database) -> Iterator[Bed]:
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


def all_said(come: Callable[[], list[bytes]]) -> Callable[[], list[str]]:
    """Return a function that gives everything that has come so far."""
    said: list[str] = []

    def more() -> list[str]:
        said.extend(word.decode() for word in come())
        return said

    return more


def test_a_node_tells_its_manager_and_its_program_cannot(nodes, tmp_path):
    program = (
        "sh",
        "-c",
        f"env > {tmp_path}/env.new; mv {tmp_path}/env.new {tmp_path}/env; exec sleep 600",
    )
    with progress_socket() as (address, come):
        said = all_said(come)
        env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"}
        node = nodes.start("node-1", command=program, env=env)
        eventually((tmp_path / "env").exists, 30, nodes.story)
        eventually(lambda: "STATUS=orders: ACTIVE term 1" in said(), 10, lambda: str(said()))
        beats = said().count("WATCHDOG=1")
        eventually(lambda: said().count("WATCHDOG=1") > beats, 10, lambda: str(said()))

        node.process.send_signal(signal.SIGHUP)
        eventually(lambda: said().count("READY=1") == 2, 20, lambda: str(said()) + node.said())
        reload = [n for n, word in enumerate(said()) if word.startswith("RELOADING=1\nMONOTONIC_")]
        readies = [n for n, word in enumerate(said()) if word == "READY=1"]

        node.process.terminate()
        node.process.wait(20)
        eventually(lambda: "STOPPING=1" in said(), 10, lambda: str(said()))

    assert len(reload) == 1
    assert readies[0] < reload[0] < readies[1]
    environment = (tmp_path / "env").read_text()
    assert "COORD_TERM=1" in environment
    assert "NOTIFY_SOCKET" not in environment
    assert "WATCHDOG_" not in environment


@pytest.fixture
def unit(tmp_path) -> Iterator[Path]:
    """Give a cgroup like that of a unit."""
    try:
        made = Path(cgroup.home()) / f"coord-test-{os.getpid()}-{tmp_path.name[-20:]}"
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup v2 to be had: {error}")
    yield made
    (made / "cgroup.kill").write_text("1")
    events = made / "cgroup.events"
    eventually(lambda: "populated 0" in events.read_text(), 10, "the cgroup is empty")
    for directory, _, _ in os.walk(made, topdown=False):
        os.rmdir(directory)


def inside(unit: Path) -> tuple[str, ...]:
    return ("sh", "-c", f'echo $$ > {unit}/cgroup.procs && exec "$@"', "sh")


def in_unit(nodes: Bed, tmp_path: Path, unit: Path) -> tuple[RunningNode, dict[str, str]]:
    """Start a node in a unit, and one outside of it that stands by."""
    nodes.liveness_s = LIVENESS_S
    runtime = tmp_path / "run"
    runtime.mkdir()
    env = {"RUNTIME_DIRECTORY": str(runtime), "INVOCATION_ID": START}
    node = nodes.start("node-1", env=env, through=inside(unit))
    nodes.wait_for_run()
    nodes.start("node-2")
    nodes.wait_for_standbys(1)
    return node, env


def ended(nodes: Bed, unit: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the last command of the unit."""
    _, environ = nodes.command_of("node-1", env=env)
    command = [sys.executable, "-m", "coordinator.cli", "node", "ended"]
    return subprocess.run(
        [*inside(unit), *command], env=environ, capture_output=True, text=True, check=False
    )


def test_the_last_command_ends_the_session_only_when_nothing_lives(nodes, tmp_path, unit):
    """Rule G12. Without it a standby waits for 90 s."""
    node, env = in_unit(nodes, tmp_path, unit)

    early = ended(nodes, unit, env)
    elsewhere = ended(nodes, unit, env | {"INVOCATION_ID": "another"})
    assert early.returncode == 3
    assert "processes of the unit live" in early.stderr
    assert elsewhere.returncode == 3
    assert "another start" in elsewhere.stderr
    assert [run.term for run in nodes.runs()] == [1]

    (unit / "cgroup.kill").write_text("1")
    node.process.wait(10)
    late = ended(nodes, unit, env)
    assert late.returncode == 0, late.stderr
    after = nodes.wait_for_run(after=1, within_s=LIVENESS_S / 3)
    first = next(run for run in nodes.runs() if run.term == 1)
    assert first.last < after.first


def test_a_node_that_left_in_order_leaves_nothing_to_end(nodes, tmp_path, unit):
    node, env = in_unit(nodes, tmp_path, unit)
    node.process.terminate()
    node.process.wait(30)

    done = ended(nodes, unit, env | {"COORD_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"})

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
