"""Hooks of real nodes: in order, bounded, and never in the way of a heartbeat or a kill."""

from __future__ import annotations

import signal

from tests.support.nodes.processes import Bed, descendants, eventually
from tests.support.nodes.record import overlaps

#: A hook that hears no SIGTERM, closes its descriptors, forks, prints a lot, and never ends.
DEAF = "trap '' TERM; yes | head -c 3000000; sleep 1000 <&- >&- 2>&- & exec sleep 1000 <&- >&- 2>&-"


def config(nodes: Bed, **hooks: str) -> str:
    """Return a file with these hooks as shell commands."""
    lines = [f'{key} = ["/bin/sh", "-c", """{text}"""]' for key, text in hooks.items()]
    return "\n".join(["[hooks]", "timeout = 1.0", *lines, ""])


def address(name: str) -> str:
    """Return the address that a node is given."""
    return f"{name}.example:8080"


def note(nodes: Bed) -> str:
    """Return a command that notes the hook, its node and what it is told."""
    told = "$COORD_HOOK $COORD_NODE $COORD_TERM $COORD_ROLE$COORD_REASON"
    told += " $COORD_HOLDER $COORD_HOLDER_ADDRESS"
    return f'echo "{told}" >> {nodes.path}/hooks'


def noted(nodes: Bed, hook: str) -> list[str]:
    path = nodes.path / "hooks"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.partition(" ")[2].strip() for line in lines if line.startswith(f"{hook} ")]


def start(nodes: Bed, name: str, **hooks: str) -> None:
    written, env = config(nodes, **hooks), {"COORD_ADDRESS": address(name)}
    nodes.start(name, config=written, command=nodes.recorder(), env=env)


def test_hooks_run_around_the_program_and_every_node_hears_of_a_change(nodes):
    """M9 to M11: the second node starts after the first has cleared up."""
    all_three = dict.fromkeys(("beforeStart", "afterStop", "onChange"), note(nodes))
    start(nodes, "node-1", **all_three)
    first = nodes.wait_for_run()
    start(nodes, "node-2", **all_three)
    nodes.wait_for_standbys(1)

    nodes.nodes["node-1"].send(signal.SIGUSR1, "guardian")

    second = nodes.wait_for_run(after=first.term)
    assert second.node == "node-2"
    assert noted(nodes, "beforeStart") == ["node-1 1", "node-2 2"]
    assert noted(nodes, "afterStop") == ["node-1 1 SIGUSR1"]
    holder = f"node-2 {address('node-2')}"
    for wanted in (f"node-2 2 active {holder}", f"node-1 2 standby {holder}"):
        eventually(
            lambda wanted=wanted: wanted in noted(nodes, "onChange"),
            10,
            lambda: f"told: {noted(nodes, 'onChange')}{nodes.story()}",
        )
    assert overlaps(nodes.runs()) == []


def test_a_hook_that_hangs_forks_and_prints_holds_nobody_up(nodes, database):
    """M9: killed with all that it started; heartbeats go on, and another node goes first."""
    nodes.liveness_s, nodes.heartbeat_s = 6.0, 1.0
    start(nodes, "node-1", beforeStart=DEAF)
    node = nodes.nodes["node-1"]
    eventually(lambda: "hook beforeStart failed" in node.said(), 30, nodes.story)
    start(nodes, "node-2")

    run = nodes.wait_for_run(after=0, within_s=30)

    assert run.node == "node-2"
    rows = database.query("SELECT end_reason FROM token_history WHERE task_id = 'node-1'")
    assert rows[0][0] == "the hook beforeStart failed (no end within 1 s)"
    ended = database.query("SELECT 1 FROM health_check WHERE ended_at IS NOT NULL")
    assert list(ended) == [], "its session lives: no heartbeat was late for the hook"
    assert not [pid for pid in descendants(node.process.pid) if _command(pid) == "sleep"]


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""
