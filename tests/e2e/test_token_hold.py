"""`coord token hold`, as a shell script uses it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import Coordinator
from coordinator.errors import TokenHeldError
from tests.conftest import Database
from tests.support.nodes.processes import RunningNode, eventually

pytestmark = pytest.mark.real

#: A command that says that it runs, and goes on until it is told to end.
REST = "echo $COORD_TERM > {path}.new; mv {path}.new {path}; while :; do sleep 0.05; done"


class Locks:
    """Processes of `coord token hold` on one database."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.folder = folder
        self.coordinator = Coordinator(
            group_id="orders",
            database_url=database.conninfo,
            schema=database.schema,
            heartbeat_frequency=0.3,
            liveness_check_interval=2.0,
        )
        self._started: list[RunningNode] = []
        self._environ = os.environ | {
            "COORD_DATABASE_URL": database.conninfo,
            "COORD_DATABASE_SCHEMA": database.schema,
            "COORD_GROUP_ID": "orders",
            "COORD_TASK_ID": "n",
            "COORD_HEARTBEAT_FREQUENCY": "0.3",
            "COORD_LIVENESS_CHECK_INTERVAL": "2",
            "COORD_LOG_FORMAT": "text",
        }

    def start(self, *arguments: str) -> RunningNode:
        log = self.folder / f"{len(self._started)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "coordinator.cli", "token", "hold", *arguments],
                env=self._environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        node = RunningNode(f"lock-{len(self._started)}", process, log)
        self._started.append(node)
        return node

    def code(self, *arguments: str) -> tuple[int, str]:
        """Run one to its end."""
        node = self.start(*arguments)
        return self.end_of(node), node.said()

    def end_of(self, node: RunningNode) -> int:
        eventually(lambda: node.process.poll() is not None, 60, node.said)
        return int(node.process.returncode)

    def resting(self, name: str) -> tuple[RunningNode, Path]:
        """Start one whose command goes on, and wait until it does."""
        path = self.folder / "runs"
        node = self.start(name, "--", "sh", "-c", REST.format(path=path))
        eventually(path.exists, 60, node.said)
        return node, path

    def end(self) -> None:
        self.coordinator.close()
        for node in self._started:
            node.end()


@pytest.fixture
def locks(database: Database, tmp_path: Path) -> Iterator[Locks]:
    made = Locks(database, tmp_path)
    yield made
    made.end()


def test_it_prints_and_ends_as_its_command_does(locks):
    code, said = locks.code("nightly", "--", "sh", "-c", "echo $COORD_GROUP $COORD_TERM; exit 7")

    assert (code, said) == (7, "orders/nightly 1\n")


def test_the_database_is_passed_on_only_where_that_is_asked_for(locks):
    """With it, `coordinator.held()` has transactions and state there, too."""
    show = ["nightly", "--", "sh", "-c", "echo ${COORD_DATABASE_URL:-none}"]

    without, given = locks.code(*show), locks.code("--pass-database", *show)

    assert without == (0, "none\n")
    assert given[0] == 0
    assert "none" not in given[1]


def test_who_comes_second_gives_up_as_told_or_takes_what_was_given_back(locks):
    """Shells and Python programs hold the same tokens."""
    holder, _ = locks.resting("nightly")
    refused = locks.code("-n", "nightly", "--", "true")
    other = locks.code("-w", "0.3", "-E", "9", "nightly", "true")
    with pytest.raises(TokenHeldError), locks.coordinator.token("nightly", timeout=0):
        pass
    free = locks.code("-n", "monthly", "--", "true")
    waiter = locks.start("--timeout", "60", "nightly", "--", "sh", "-c", "exit 5")

    holder.process.send_signal(signal.SIGTERM)

    assert locks.end_of(holder) == 128 + signal.SIGTERM
    assert locks.end_of(waiter) == 5
    assert (refused[0], other[0], free[0]) == (75, 9, 0)
    assert "the token is held by n." in refused[1]
    with locks.coordinator.token("nightly", timeout=30) as token:
        assert token.term == 3


def test_a_lost_token_kills_the_command_which_is_not_run_again(locks):
    """Its agent dies; another process takes the token at once, and the code says it: 76."""
    holder, path = locks.resting("nightly")
    program = holder.pid_of("program")
    path.unlink()

    holder.send(signal.SIGKILL, "agent")

    assert locks.end_of(holder) == 76
    assert not Path(f"/proc/{program}").exists()
    assert not path.exists()
    assert locks.code("-w", "30", "nightly", "--", "true")[0] == 0


def test_a_pause_of_the_group_leaves_its_tokens_and_one_of_the_token_ends_its_command(
    locks, database
):
    """A2: a pause is of one group, and a token by name is a group of its own."""
    holder, _ = locks.resting("nightly")
    ask = "INSERT INTO planned_change (group_id, kind) VALUES ('{}', 'pause work')"
    database.query("INSERT INTO group_record (group_id) VALUES ('orders')")
    database.query(ask.format("orders"))

    monthly = locks.code("-n", "monthly", "--", "sh", "-c", "exit 5")
    running = holder.process.poll()
    database.query(ask.format("orders/nightly"))

    assert (monthly[0], running) == (5, None)
    assert locks.end_of(holder) == 76
    refused = locks.code("-n", "nightly", "--", "true")
    assert refused[0] == 75
    assert "the group is paused (pause work " in refused[1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("a/b", "--", "true"), 2, "NAME"),
        (("_observer", "--", "true"), 2, "NAME"),
        (("x", "--", "no-such-program"), 127, "command not found"),
        (("-n", "-w", "1", "x", "--", "true"), 2, "exclude"),
        (("-w", "soon", "x", "--", "true"), 2, "soon"),
        (("x",), 2, "COMMAND"),
        (("x", "--"), 2, "COMMAND"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_held(locks, arguments, code, words):
    found, said = locks.code(*arguments)

    assert found == code
    assert words in said


def test_the_token_of_a_task_is_not_for_shells(locks, database):
    database.query("INSERT INTO task (group_id, name) VALUES ('orders', 't')")

    found, said = locks.code("t", "--", "true")

    assert found == 78
    assert "a task has the token" in said
