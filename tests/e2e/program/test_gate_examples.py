"""The programs of examples/gates: each loads on a standby, and acts once its node is active."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support.nodes.processes import bed, eventually

pytestmark = pytest.mark.real

GATES = Path(__file__).resolve().parents[3] / "examples" / "gates"
EXAMPLES = {
    "serve.sh": ("sh",),
    "serve.py": (sys.executable,),
    "serve.mjs": ("node",),
    "slow.sh": ("sh",),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_loads_on_a_standby_and_acts_under_its_own_term(
    database: Database, tmp_path: Path, name: str
) -> None:
    """Y5, Y6: by the order of what the nodes' logs show."""
    interpreter = EXAMPLES[name]
    if shutil.which(interpreter[0]) is None:
        pytest.skip(f"{interpreter[0]} is not here")
    command = (*interpreter, str(GATES / name))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "SLOW_START": "0.5"}

    def said(node: str, words: str) -> bool:
        return words in made.nodes[node].said()

    with bed(tmp_path, database.conninfo, database.schema) as made:
        made.start("a", "--standby", "started", command=command, env=env)
        eventually(lambda: said("a", "acts a term 1"), 60, lambda: f"a acts{made.story()}")
        made.start("b", "--standby", "started", command=command, env=env)
        waits = "ready: the program waits at its gate"
        eventually(lambda: said("b", waits), 60, lambda: f"b ready{made.story()}")
        assert not said("b", "acts b")

        made.nodes["a"].send(signal.SIGKILL, "all")
        eventually(lambda: said("b", "acts b term 2"), 60, lambda: f"b acts{made.story()}")

        assert made.nodes["b"].said().count("loaded b") == 1
