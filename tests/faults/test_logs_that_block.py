"""A log that takes nothing moves no heartbeat, no kill and no takeover (rule G10)."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.nodes.guarded_node import GuardedNode, Voice, await_death
from tests.support.nodes.logs import LOGS, unread_pipe
from tests.support.nodes.processes import RUN_S, Bed, eventually

pytestmark = pytest.mark.real


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
def test_guardian_kills_and_promotes_whatever_becomes_of_its_lines(tmp_path: Path, log):
    """It has something to say at each death, at SIGQUIT, and when it is spoken to in riddles."""
    with log(tmp_path) as fd:
        node = GuardedNode(tmp_path / "node", "auto", stderr=fd)
        try:
            agent, spare = node.meet_agent(), node.meet("spare")
            agent.tell(say="kill", run="no number")
            node.start_shape(agent, "ignores_term")
            node.guardian.send_signal(signal.SIGQUIT)
            os.kill(agent.pid, signal.SIGKILL)
            await_death(agent)
            assert_taken_over(node, node.meet_agent(), spare)

            second = node.meet("spare")
            os.kill(second.pid, signal.SIGKILL)
            os.kill(spare.pid, signal.SIGKILL)
            last = node.meet_agent()

            assert node.leave(last) == 0
        finally:
            node.close()


def assert_taken_over(node: GuardedNode, successor: Voice, spare: Voice) -> None:
    assert successor.pid == spare.pid
    assert successor.hear("ended")["why"] == "agent"
    node.await_deaths()
    assert node.survivors() == []


def test_the_guardians_own_lines_are_in_the_form_of_the_log(tmp_path: Path):
    """Each line of a JSON log is JSON, and says of which node it is."""
    options = ("--log-format", "json", "--group", "g", "--node", "n")
    node = GuardedNode(tmp_path, "auto", options=options)
    try:
        agent = node.meet_agent()
        os.kill(agent.pid, signal.SIGKILL)
        assert node.leave(node.meet_agent()) == 0
        lines = [json.loads(line) for line in node.stderr().splitlines()]
    finally:
        node.close()

    assert [line["message"] for line in lines] == ["agent died: the spare takes over"]
    assert (lines[0]["group"], lines[0]["node"], lines[0]["level"]) == ("g", "n", "WARNING")


def test_a_node_whose_log_takes_nothing_holds_and_hands_over(nodes: Bed, tmp_path: Path):
    """Neither its heartbeats nor its end wait for the reader."""
    with unread_pipe(tmp_path) as stuck:
        first = nodes.start("node-1", stderr=stuck)
        run = nodes.wait_for_run()
        nodes.start("node-2")
        nodes.wait_for_standbys(1)
        beyond = time.monotonic() + 2 * nodes.liveness_s

        def goes_on() -> bool:
            return time.monotonic() > beyond and nodes.runs()[-1].last > run.last

        eventually(goes_on, RUN_S, "its program runs on")
        assert [each.term for each in nodes.runs()] == [run.term]
        first.process.terminate()
        successor = nodes.wait_for_run(after=run.term)

        assert first.process.wait(10) == 0
        assert nodes.runs()[0].last < successor.first
