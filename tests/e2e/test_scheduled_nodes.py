"""Schedules, policies and crash loops on real nodes: W5, W6, W7."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.nodes.processes import bed, eventually

JOBS = """
import os
import threading

def note(context):
    with open(os.environ["JOB_RECORD"], "a") as file:
        file.write(f"{os.environ['COORD_NODE']} {context.term} {context.count}\\n")
    # The third run goes on for as long as the test has a use for it.
    while context.count == 3 and os.path.exists("hold"):
        threading.Event().wait(0.02)

def fail():
    raise ValueError("no luck")
"""


@pytest.fixture
def nodes(tmp_path, database):
    (tmp_path / "jobs_of_test.py").write_text(JOBS)
    with bed(tmp_path, database.conninfo, database.schema) as made:
        yield made


def start(nodes, name: str, config: str):
    return nodes.start(name, config=config, env={"JOB_RECORD": str(nodes.record)})


def fired(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_count_goes_on_across_a_takeover_and_ends_the_group(nodes, tmp_path):
    """W5: maxCount counts the group's runs, not a node's; a standby burns none of them."""
    config = """
[program]
callable = "jobs_of_test:note"
[trigger]
interval = "300ms"
maxCount = 12
"""
    hold = tmp_path / "hold"
    hold.touch()
    first = start(nodes, "node-1", config)
    eventually(lambda: fired(nodes.record), 20, "the first run: node-1 holds the token")
    second = start(nodes, "node-2", config)
    nodes.wait_for_standbys(1)
    eventually(lambda: len(fired(nodes.record)) >= 3, 20, "three runs")

    first.send(signal.SIGKILL, "all")
    hold.unlink()

    assert second.process.wait(20) == 0, nodes.story()
    lines = [line.split() for line in fired(nodes.record)]
    assert [int(count) for _, _, count in lines] == list(range(1, 13))
    assert {name for name, _, _ in lines} == {"node-1", "node-2"}
    assert start(nodes, "node-3", config).process.wait(20) == 0  # there is nothing left to do
    assert len(fired(nodes.record)) == 12


def test_a_failing_callable_stops_the_node_with_70(nodes, database):
    """W6: LOG_AND_TERMINATE is the default; nobody sits on the token."""
    config = '[program]\ncallable = "jobs_of_test:fail"\n[trigger]\ninterval = 1\n'

    node = start(nodes, "node-1", config)

    assert node.process.wait(20) == 70, nodes.story()
    assert "no luck" in node.said()
    assert database.query("SELECT session FROM token_holder") == [(None,)]


def test_a_failing_callable_may_leave_the_token_to_others_and_stay(nodes, database):
    """W6: onTerminate = "release": the node lives on as a standby that never takes again."""
    config = (
        '[program]\ncallable = "jobs_of_test:fail"\n[trigger]\ninterval = 1\n'
        '[taskPolicy]\nonTerminate = "release"\n'
    )

    node = start(nodes, "node-1", config)

    eventually(
        lambda: database.query("SELECT 1 FROM token_history WHERE ended_at IS NOT NULL"),
        20,
        lambda: f"the token is given back{nodes.story()}",
    )
    eventually(lambda: node.said().count("standby") >= 2, 10, "standby again")
    assert node.process.poll() is None
    assert database.query("SELECT term, session FROM token_holder") == [(1, None)]


def test_a_crash_loop_gives_the_token_to_another_node(nodes):
    """W6, W7: five quick ends in a row, and another node tries."""
    config = f"""
[program]
command = ["sh", "-c", "echo $COORD_NODE >> {nodes.record}; [ $COORD_NODE != node-1 ]\
 || exit 1; exec sleep 60"]
onExit = "restart"
"""
    start(nodes, "node-1", config)
    eventually(lambda: fired(nodes.record), 10, lambda: f"a first try{nodes.story()}")

    start(nodes, "node-2", config)

    eventually(
        lambda: "node-2" in fired(nodes.record), 20, lambda: f"the other tries{nodes.story()}"
    )
    assert fired(nodes.record).count("node-1") >= 5
    assert nodes.nodes["node-1"].process.poll() is None


def test_on_failure_restarts_a_failure_and_stops_at_success(nodes):
    """--restart on-failure, as systemd means it."""
    script = (
        f'n=$(cat {nodes.record} 2>/dev/null | wc -l); echo x >> {nodes.record}; [ "$n" -ge 2 ]'
    )

    node = nodes.start("node-1", "--restart", "on-failure", command=("sh", "-c", script))

    assert node.process.wait(20) == 0, nodes.story()
    assert len(fired(nodes.record)) == 3
