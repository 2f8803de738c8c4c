"""Machines of nodes as the tests of this folder begin with them: standbys, holders, and views."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.requests import (
    Beat,
    View,
)
from coordinator.protocol.node.events import (
    Command,
    LogLine,
)
from coordinator.protocol.node.machine import wake_at
from coordinator.protocol.node.state.node import Policy
from tests.simulation.plans.script import TIMING, Script, asked, held, seen, view

LEASE_S = TIMING.lease_s


def find(commands: tuple[Command, ...], kind: type) -> Command:
    return next(command for command in commands if isinstance(command, kind))


def other(beat: int = 7, term: int = 4, **changes: object) -> View:
    """Return a view in which another node holds the token."""
    shown = view(held("other-session", term=term), seen("other-session", beat, age_s=5.0))
    return replace(shown, **changes)  # type: ignore[arg-type]


def standby(shown: View | None = None, policy: Policy | None = None) -> Script:
    script = Script(policy)
    script.join(0.0, shown or other())
    return script


def holder(policy: Policy | None = None) -> Script:
    script = Script(policy)
    script.hold(0.0)
    assert script.node.run is not None
    return script


def policy(**changes: object) -> Policy:
    return replace(Policy(node="n0", group="G", seed="s"), **changes)  # type: ignore[arg-type]


def watch_until(script: Script, now: float, shown: View) -> float:
    """Let the node's own reads go on until it asks for something else; returns that moment."""
    while now < 60.0:
        now = max(now, wake_at(script.node, now))
        request = asked(script.tick(now))
        if request is not None and not isinstance(request, Beat):
            return now
        if request is not None:
            next_request = asked(script.answer(now, shown))
            if next_request is not None and not isinstance(next_request, Beat):
                return now
    raise AssertionError("it never did")


def reports(commands: tuple[Command, ...]) -> list[str]:
    """Name what is said of the database's branches."""
    words = {"dead-branch", "two-primaries", "second-primary", "unsettled", "settled"}
    return [c.event for c in commands if isinstance(c, LogLine) and c.event in words]
