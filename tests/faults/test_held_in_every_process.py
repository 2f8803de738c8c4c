"""`coordinator.held()` in every process of a program, at every level of isolation."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from coordinator.runtime.isolation import levels as isolation
from tests.support.nodes import held_program
from tests.support.nodes.guarded_node import GuardedNode

pytestmark = pytest.mark.real

LEVELS = [level.name for level in isolation.available() if level.available]
KINDS = ["program", "child", "grandchild", "fork", "spawn"]
HOLDING = {"group": "orders", "term": 3, "session": "s-1"}


@pytest.mark.parametrize("level", LEVELS)
def test_every_process_of_the_program_sees_the_renewals(level: str, tmp_path: Path):
    node = GuardedNode(tmp_path, level)
    try:
        agent = node.meet_agent()
        env = {f"COORD_{key.upper()}": value for key, value in HOLDING.items()}
        argv = ["env", "COORD_NODE=n", *(f"{key}={value}" for key, value in env.items())]
        script = str(Path(held_program.__file__).resolve())
        announce = str(tmp_path / "announce")
        node.start(agent, *argv, sys.executable, script, "program", announce, lease_s=60.0)
        agent.order(keep=60.0)

        told = [json.loads(node.await_word()) for _ in KINDS]

        assert sorted(each.pop("kind") for each in told) == sorted(KINDS)
        assert all(each == HOLDING for each in told)
    finally:
        node.close()
