"""docs/start.md on a database of the test: its commands, word for word, in their order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support.nodes.processes import Bed, RunningNode, bed, eventually

pytestmark = pytest.mark.real
PAGE = (Path(__file__).parents[2] / "docs/start.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
NODES = [line for block in BLOCKS for line in block.splitlines() if " coord run " in line]
LOOKS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("coord ")]


@pytest.fixture
def terminals(tmp_path: Path, database: Database) -> Iterator[Bed]:
    with bed(tmp_path, database.conninfo, database.schema) as made:
        # Nobody waits for this here: Ctrl-C and the death of one process are told.
        made.liveness_s, made.heartbeat_s = 10.0, 0.5
        yield made


def environ(terminals: Bed) -> dict[str, str]:
    """Return the environment of a terminal; the commands of the page name node and group."""
    _, whole = terminals.command_of("")
    left_out = ("COORD_TASK_ID", "COORD_GROUP_ID")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {key: value for key, value in whole.items() if key not in left_out} | {"PATH": path}


def started(terminals: Bed, name: str) -> RunningNode:
    (line,) = [line for line in NODES if f"COORD_TASK_ID={name} " in line]
    return terminals._spawn(name, ["sh", "-c", line], environ(terminals), terminals.path)


def looked(terminals: Bed, line: str) -> str:
    done = subprocess.run(
        line, shell=True, env=environ(terminals), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


def wait_for(terminals: Bed, node: RunningNode, words: str) -> None:
    eventually(lambda: words in node.said(), 30, lambda: f"{words!r}{terminals.story()}")


def test_the_steps_of_the_page_lead_to_what_it_says(terminals: Bed) -> None:
    first = started(terminals, "node-1")
    wait_for(terminals, first, "node-1, 1")
    second = started(terminals, "node-2")
    wait_for(terminals, second, "standby (node-1 active, term 1)")
    assert "ACTIVE term 1" in first.said()
    status, explained, *later = LOOKS
    assert re.search(r"^node-1 +active ", looked(terminals, status), flags=re.MULTILINE)
    assert "node-1 is active, term 1" in looked(terminals, explained)

    os.killpg(first.process.pid, signal.SIGINT)  # Ctrl-C
    wait_for(terminals, second, "node-2, 2")
    first.process.wait(20)
    first = started(terminals, "node-1")
    wait_for(terminals, first, "standby (node-2 active, term 2)")
    found = re.search(r"^node-2 +active .*?:(\d+) ", looked(terminals, status), flags=re.MULTILINE)
    assert found
    assert "$ kill -9 PID" in PAGE
    os.kill(int(found[1]), signal.SIGKILL)
    wait_for(terminals, first, "node-1, 3")

    assert len(later) == 2
    for line in later:
        assert "node-2" in looked(terminals, line)
