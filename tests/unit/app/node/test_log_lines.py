"""Lines of a node: words for people, and no line without news."""

from __future__ import annotations

import pytest

from coordinator.app.node.log_lines import sentence
from coordinator.protocol.node.events import Command, LogLine, ProgramEnded, StartProgram
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.node import Node, Policy
from tests.simulation.plans.script import TIMING, Script, kinds

NODE = Node(policy=Policy(node="n0", group="g", seed="s"), timing=TIMING)


@pytest.mark.parametrize(
    ("status", "why", "said"),
    [
        (0, "itself", "g: the program ended (exit code 0, by itself)"),
        (-15, "SIGINT", "g: the program ended (signal 15 (SIGTERM), stopped: SIGINT)"),
        (-9, "killed", "g: the program ended (signal 9 (SIGKILL), it was killed)"),
        (
            -9,
            "trust",
            "g: the program ended (signal 9 (SIGKILL), stopped: no heartbeat was acknowledged in"
            " time)",
        ),
        (-99, "agent", "g: the program ended (signal 99, the agent had died)"),
    ],
)
def test_the_end_of_a_program_is_told_in_words(status: int, why: str, said: str):
    report = LogLine("program-ended", (("status", status), ("why", why)))

    assert sentence(report, NODE) == said


@pytest.mark.parametrize(
    ("wait_s", "left_s", "said"),
    [
        (0.0, None, "g: planned change 7: pause work by ana: disk"),
        (
            60.0,
            660.0,
            "g: planned change 7: pause work by ana: disk, in 60.0 s, for 660.0 s at most",
        ),
    ],
)
def test_a_planned_change_is_told_with_its_times(wait_s: float, left_s: float | None, said: str):
    what = "pause work by ana: disk"
    fields = (("id", 7), ("what", what), ("wait_s", wait_s), ("left_s", left_s))

    assert sentence(LogLine("planned", fields), NODE) == said
    assert sentence(LogLine("planned-over", fields), NODE) == f"g: planned change 7 is over: {what}"


def test_a_crash_loop_is_told_with_what_follows():
    report = LogLine("crash-loop", (("count", 5), ("wait_s", 6.0)))

    assert sentence(report, NODE) == (
        "g: the program ended 5 times in a row soon after its start: the token is given back;"
        " this node takes it again after 6.0 s, if no other node has it then"
    )


@pytest.mark.parametrize(
    ("event", "fields", "said"),
    [
        (
            "decided",
            {"about": "n1", "what": "promotable -> member", "why": "beats on time"},
            "g: decision about n1: promotable -> member (beats on time)",
        ),
        (
            "task-crash-loop",
            {"task": "t", "why": "its program failed 5 times in a row"},
            "g: task t: its program failed 5 times in a row: it is given back, and other nodes go"
            " first",
        ),
    ],
)
def test_a_line_tells_what_was_decided_and_why(event: str, fields: dict[str, object], said: str):
    assert sentence(LogLine(event, tuple(fields.items())), NODE) == said


def roles(commands: tuple[Command, ...]) -> list[str]:
    told = [command.event for command in commands if isinstance(command, LogLine)]
    return [event for event in told if event in ("active", "standby", "stopping", "candidate")]


def test_a_restart_under_the_same_term_is_no_change_of_role():
    script = Script()
    assert roles(script.hold(0.0)) == ["active"]
    told = list(script.take_in(ProgramEnded(0.5, 1, 1, "itself")))
    now = 0.5
    while StartProgram not in kinds(tuple(told)):
        now = wake_at(script.node, now)
        told += script.tick(now)
        if script.node.pending is not None:
            told += script.answer(now, script.own())

    assert roles(tuple(told)) == []
    assert script.node.standing == "active"
