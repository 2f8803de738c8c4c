"""Orders of side runs: each hook is the command that Config.toml has under its name."""

from __future__ import annotations

import pytest

from coordinator.app.config.settings import HookSettings, NodeSettings
from coordinator.app.node.own.side_orders import side_orders
from coordinator.protocol.node.events import StartProgram
from coordinator.protocol.node.state.side_runs import Kind

SETTINGS = NodeSettings(
    task_id="a",
    hooks=HookSettings(before_start=("before",), after_stop=("after",), on_change=("change",)),
)


@pytest.mark.parametrize(
    ("kind", "argv"),
    [
        (Kind.BEFORE_START, ("before",)),
        (Kind.AFTER_STOP, ("after",)),
        (Kind.ON_CHANGE, ("change",)),
    ],
)
def test_a_hook_is_the_command_of_its_key(kind, argv):
    command = StartProgram(7, 3, 100.0, side=kind)

    orders = side_orders(SETTINGS, command, "s")

    assert orders.argv == argv
    assert orders.env["COORD_HOOK"] == kind.value
