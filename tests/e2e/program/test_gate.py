"""A standby's program is there already and waits at its gate; active nodes open it, and kill it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support.nodes.processes import Bed, bed, descendants, eventually

pytestmark = pytest.mark.real

#: Notes that it has loaded, waits, and notes that it acts; a state goes from one to the next.
WAITING = """
echo "$COORD_NODE loaded ${COORD_TERM-no term}" >> RECORD
opened=$(PYTHON -m coordinator.cli gate) || exit
eval "$opened"
seen=none; if [ -e "$COORD_STATE_FILE" ]; then seen=$(cat "$COORD_STATE_FILE"); fi
echo "$COORD_NODE acts $COORD_TERM saw $seen" >> RECORD
echo "from $COORD_NODE" | PYTHON -m coordinator.cli state put || exit
exec sleep 600
"""


class Gated:
    """A bed of nodes with programs behind gates, and the record of what they did."""

    def __init__(self, made: Bed, record: Path) -> None:
        self.made, self.record = made, record
        self.program = WAITING.replace("RECORD", str(record)).replace("PYTHON", sys.executable)

    def start(self, name: str, *options: str) -> None:
        shell = ("sh", "-c", self.program)
        self.made.start(name, "--pass-database", "--standby", "started", *options, command=shell)

    def lines(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []

    def wait_for(self, line: str) -> None:
        eventually(lambda: line in self.lines(), 40, lambda: f"{line!r}{self.made.story()}")

    def wait_until_ready(self, name: str) -> None:
        node = self.made.nodes[name]
        eventually(
            lambda: "ready: the program waits at its gate" in node.said(),
            40,
            lambda: f"{name} ready{self.made.story()}",
        )


@pytest.fixture
def gated(database: Database, tmp_path: Path):
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield Gated(made, tmp_path / "acted")


def test_the_program_of_a_standby_waits_and_acts_when_its_node_is_active(
    gated: Gated, database: Database
) -> None:
    """Y5, Y6: without a term before; with term, session and state of the last holder after."""
    gated.start("a")
    gated.wait_for("a acts 1 saw none")
    gated.start("b")
    gated.wait_until_ready("b")
    ready = "SELECT ready FROM health_check WHERE task_id = 'b'"
    eventually(lambda: database.query(ready) == [(True,)], 20, "b told that it is ready")
    assert "b loaded no term" in gated.lines()
    state = "SELECT count(*) FROM token_state"
    eventually(lambda: database.query(state) == [(1,)], 20, "a has saved its state")
    assert not any(line.startswith("b acts") for line in gated.lines())

    gated.made.nodes["a"].send(signal.SIGKILL, "all")
    gated.wait_for("b acts 2 saw from a")

    assert gated.lines().count("b loaded no term") == 1, "it was there already"


def test_after_a_loss_the_program_is_started_anew_behind_the_gate(
    gated: Gated, database: Database
) -> None:
    """Y7: a gate is opened once."""
    gated.start("a")
    gated.wait_for("a acts 1 saw none")
    gated.start("b")
    gated.wait_until_ready("b")
    first = "SELECT count(*) FROM token_state WHERE node = 'a'"
    eventually(lambda: database.query(first) == [(1,)], 20, "a has saved its state")

    gated.made.nodes["a"].process.send_signal(signal.SIGUSR1)  # resign
    gated.wait_for("b acts 2 saw from a")
    gated.wait_until_ready("a")
    saved = "SELECT count(*) FROM token_state WHERE node = 'b'"
    eventually(lambda: database.query(saved) == [(1,)], 20, "b has saved its state")
    gated.made.nodes["b"].process.send_signal(signal.SIGUSR1)
    gated.wait_for("a acts 3 saw from b")

    loaded = [line for line in gated.lines() if "loaded" in line and line.startswith("a")]
    assert len(loaded) >= 2


@pytest.mark.parametrize("whose", ["guardian", "node"])
def test_nothing_that_waits_outlives_its_node(gated: Gated, whose: str) -> None:
    """Y5: the death of the guardian alone, and an orderly stop."""
    gated.start("a")
    gated.wait_for("a acts 1 saw none")
    gated.start("b")
    gated.wait_until_ready("b")
    node = gated.made.nodes["b"].process
    left = descendants(node.pid)
    assert len(left) >= 3

    node.send_signal(signal.SIGKILL if whose == "guardian" else signal.SIGTERM)
    node.wait(30)

    def gone() -> bool:
        return not any(Path(f"/proc/{pid}").exists() for pid in left)

    eventually(gone, 30, lambda: f"nothing left of {left}{gated.made.story()}")
    assert not any(line.startswith("b acts") for line in gated.lines())
