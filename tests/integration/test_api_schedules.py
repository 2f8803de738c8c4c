"""Schedules of applications in processes of their own: a death, signals, and what is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support.servers.postgres import wait_until

WITHIN_S = 60.0
#: The other process waits, with a session of its own, from about then on.
JOINED = "SELECT 1 FROM health_check WHERE task_id LIKE 'b.%' AND session IS NOT NULL"


class Application:
    """One process with a schedule; its runs are read from its stdout."""

    def __init__(self, database, name: str) -> None:
        argv = [sys.executable, "-m", "tests.support.holders.scheduled_worker"]
        argv += [database.conninfo, database.schema, name]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> list:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it has ended: {self.process.communicate()[1]}"
        return json.loads(line)

    def told(self, *signals: int) -> tuple[int, list, str]:
        """Send signals; return exit code, last line of stdout, and the log."""
        for each in signals:
            self.process.send_signal(each)
        out, log = self.process.communicate(timeout=WITHIN_S)
        return self.process.returncode, json.loads(out.splitlines()[-1]), log


@pytest.fixture
def start(database) -> Iterator[Callable[[str], Application]]:
    made: list[Application] = []

    def start(name: str) -> Application:
        made.append(Application(database, name))
        return made[-1]

    yield start
    for each in made:
        each.process.kill()
        each.process.communicate()


def test_c2_the_count_goes_on_after_a_resignation_and_after_a_kill(start, database):
    first = start("a")
    before = first.line()
    second = start("b")
    wait_until(lambda: bool(database.query(JOINED)), WITHIN_S)
    first.process.send_signal(signal.SIGUSR1)
    resigned = second.line()
    second.process.kill()
    while (killed := first.line())[0] == before[0]:
        before = killed

    assert [run[0] for run in (before, resigned, killed)] == [1, 2, 3]
    assert before[1] < resigned[1] < killed[1]
    assert [run[2][:2] for run in (before, resigned, killed)] == ["a.", "b.", "a."]
    assert database.query(
        "SELECT how FROM token_history WHERE group_id = 'orders/work' ORDER BY term"
    ) == [("first",), ("release",), ("takeover",)]


def test_signals_of_a_process_that_runs_its_schedules(start, database):
    application = start("a")
    application.line()

    code, threads, log = application.told(signal.SIGHUP, signal.SIGUSR2, signal.SIGTERM)

    assert code == 0
    assert threads == ["MainThread"]
    assert "orders/work (work): active, term 1" in log
    assert "SIGTERM: stopping" in log
    assert database.query(
        "SELECT session, last_outcome FROM token_holder JOIN schedule USING (group_id)"
        " WHERE group_id = 'orders/work'"
    ) == [(None, "ok")]
    assert database.query(
        "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database() AND backend_type = 'client backend'"
    ) == [(0,)]
