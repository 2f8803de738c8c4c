"""Real nodes, real signals: who runs the program after each death, and never two at once."""

from __future__ import annotations

import signal
import time

import pytest

from coordinator.protocol.guardian.agents import AGENT_LOOP, DEATHS_MAX
from tests.support.bounds import within
from tests.support.nodes.processes import eventually
from tests.support.nodes.record import overlaps, terms_rise

#: Time that two shared cores may add to any bound: scheduling, not the protocol.
MACHINE_S = 1.0


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def three(nodes):
    for name in ("node-1", "node-2", "node-3"):
        nodes.start(name)
    first = nodes.wait_for_run()
    nodes.wait_for_standbys(2)
    return first


def last_beat_wall(database, node: str) -> float:
    rows = database.query(
        "SELECT extract(epoch FROM last_heartbeat)::float8 FROM health_check WHERE task_id = %s",
        node,
    )
    return float(str(rows[0][0]))


def test_ten_kills_of_the_holder_in_a_row(nodes, database):
    """W2, W11: ten takeovers, none before the old program was dead, each within the bound.

    Each is measured from the dead node's last heartbeat, by the clock of this one machine.
    """
    holding = three(nodes)
    bound_s = nodes.liveness_s + nodes.heartbeat_s + 0.3

    waits = []
    for _ in range(10):
        nodes.nodes[holding.node].send(signal.SIGKILL, "all")
        dead = holding
        holding = nodes.wait_for_run(after=dead.term)
        waits.append(holding.first_wall - last_beat_wall(database, dead.node))
        nodes.nodes[dead.node].process.wait(5)
        nodes.start(dead.node)

    runs = nodes.runs()
    assert overlaps(runs) == []
    assert terms_rise(runs)
    # The node that comes back must not disturb; the median shows the protocol, the worst case
    # may have met a busy machine.
    within(sorted(waits)[len(waits) // 2], bound_s, "median")
    within(max(waits), bound_s + MACHINE_S)


@pytest.mark.parametrize("who", ["agent", "guardian", "spare", "program"])
def test_sigkill_of_one_process(nodes, who):
    """The program of a node whose guardian or agent died is dead, and runs again within 0.5 s."""
    first = three(nodes)
    killed_at = boottime()

    nodes.nodes[first.node].send(signal.SIGKILL, who)

    if who == "spare":
        eventually(lambda: nodes.runs()[-1].last > killed_at + 1.0, 5, "the program runs on")
        assert [run.term for run in nodes.runs()] == [first.term]
        return
    if who == "program":  # `-- CMD` stops its node when it ends, and the next node takes over
        after = nodes.wait_for_run(after=first.term)
    else:
        after = nodes.wait_for_run(after=first.term)
        within(after.first - killed_at, 0.5 + MACHINE_S / 2)
    runs = nodes.runs()
    assert overlaps(runs) == []
    assert terms_rise(runs)


def test_a_node_whose_agents_keep_dying_gives_the_token_back(nodes):
    """Rule G8: the last spare leaves; the standby need not wait until the lease is over."""
    nodes.start("node-1")
    holding = nodes.wait_for_run()
    for _ in range(DEATHS_MAX):
        nodes.nodes["node-1"].send(signal.SIGKILL, "agent")
        holding = nodes.wait_for_run(after=holding.term)
    nodes.start("node-2")
    nodes.wait_for_standbys(1)
    killed_at = boottime()

    nodes.nodes["node-1"].send(signal.SIGKILL, "agent")

    after = nodes.wait_for_run(after=holding.term)
    assert after.node == "node-2"
    within(after.first - killed_at, nodes.liveness_s / 2)
    assert nodes.nodes["node-1"].process.wait(5) == AGENT_LOOP
    assert overlaps(nodes.runs()) == []


@pytest.mark.parametrize("who", ["agent", "guardian", "spare", "program", "all"])
def test_sigstop_of_any_process_never_overlaps(nodes, who):
    """A frozen process: no overlap, ever, and none when it thaws."""
    first = three(nodes)
    node = nodes.nodes[first.node]

    node.send(signal.SIGSTOP, who)

    if who in ("spare", "program"):
        eventually(lambda: boottime() > first.last + 3 * nodes.liveness_s, 10, "three intervals")
    else:
        nodes.wait_for_run(after=first.term, within_s=3 * nodes.liveness_s + 5)
    thawed_at = boottime()
    node.send(signal.SIGCONT, who)
    eventually(lambda: boottime() > thawed_at + 1.0, 5, "a second after the thaw")
    runs = nodes.runs()
    # A program that was frozen with its whole node may write one line between its thaw and its
    # death; trust is over by then, and only the fence can close that gap.
    woken = [pair for pair in overlaps(runs) if who != "all" or pair[0].last > thawed_at + 0.1]
    assert woken == []
    assert terms_rise(runs)


@pytest.mark.parametrize("pair", [("agent", "guardian"), ("agent", "spare")])
def test_two_processes_killed_at_once(nodes, pair):
    first = three(nodes)
    node = nodes.nodes[first.node]

    for who in pair:
        node.send(signal.SIGKILL, who)

    nodes.wait_for_run(after=first.term, within_s=nodes.liveness_s * 3)
    runs = nodes.runs()
    assert overlaps(runs) == []
    assert terms_rise(runs)


def test_graceful_stop_hands_over_at_once(nodes):
    """L1: SIGTERM to the node ends the program, then releases; a standby starts by push."""
    first = three(nodes)
    asked_at = boottime()

    nodes.nodes[first.node].process.terminate()

    after = nodes.wait_for_run(after=first.term)
    assert nodes.nodes[first.node].process.wait(5) == 0
    within(after.first - asked_at, nodes.liveness_s / 2)
    assert overlaps(nodes.runs()) == []


def test_resign_moves_the_token_and_keeps_the_node(nodes):
    first = three(nodes)
    node = nodes.nodes[first.node]

    node.process.send_signal(signal.SIGUSR1)

    after = nodes.wait_for_run(after=first.term)
    assert after.node != first.node
    assert node.process.poll() is None
    assert overlaps(nodes.runs()) == []


def test_the_same_name_twice_is_refused(nodes):
    """W4, L4: the second live node of one name leaves with 78 and says who holds the name."""
    nodes.start("node-1")
    nodes.wait_for_run()
    log = nodes.path / "node-1.log"
    first = nodes.nodes["node-1"]

    second = nodes.start("node-1")

    assert second.process.wait(10) == 78
    assert "taskId" in log.read_text()
    assert "is live on" in log.read_text()
    assert first.process.poll() is None
    nodes.nodes["first"] = first


def test_a_restarted_node_waits_for_its_old_session_and_goes_on(nodes):
    """W4: a crashed node that comes back under its name is not refused."""
    nodes.start("node-1")
    first = nodes.wait_for_run()
    nodes.nodes["node-1"].send(signal.SIGKILL, "all")
    nodes.nodes["node-1"].process.wait(5)

    nodes.start("node-1")

    second = nodes.wait_for_run(after=first.term, within_s=10)
    assert second.node == "node-1"
    assert second.first - first.last > nodes.liveness_s / 2
