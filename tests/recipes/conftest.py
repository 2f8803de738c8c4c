"""A recipe on two nodes: its folder is copied, and its own command is started, word for word."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support.nodes.processes import Bed, RunningNode, eventually

RECIPES = Path(__file__).parents[2] / "recipes"
STAND_INS = Path(__file__).parent / "stand_ins"
#: Celery, Django and Litestream, which coord does not need: `make recipes`.
ENVIRONMENT = Path(__file__).parents[2] / ".venv-recipes"
INSTALLED = ("celery-beat", "django", "litestream")
COMMAND = re.compile(r"^```bash\n(.*?coord run.*)\n```$", flags=re.MULTILINE)


def words_of(recipe: str) -> tuple[dict[str, str], list[str], list[str]]:
    """Return variables, options and program of the one command that the README shows."""
    (line,) = COMMAND.findall((RECIPES / recipe / "README.md").read_text())
    words = shlex.split(line)
    start = words.index("coord")
    variables = dict(word.split("=", 1) for word in words[:start])
    options, program = words[start + 2 :], []
    if "--" in options:
        cut = options.index("--")
        options, program = options[:cut], options[cut + 1 :]
    return variables, options, program


@dataclass
class Recipe:
    """A recipe in a folder of the test, and the nodes that run it."""

    name: str
    bed: Bed

    def start(self, node: str, **variables: str) -> RunningNode:
        """Start a node with the command of the README."""
        said, options, program = words_of(self.name)
        python = ENVIRONMENT / "bin" if self.name in INSTALLED else Path(sys.executable).parent
        path = os.pathsep.join([str(STAND_INS), str(python), os.environ["PATH"]])
        behind = ("--", *program) if program else ()
        environ = {"PYTHONUNBUFFERED": "1", **said, **variables, "PATH": path}
        command, whole = self.bed.command_of(node, *options, behind=behind, env=environ)
        return self.bed._spawn(node, command, whole, self.bed.path)

    def wait_for(self, node: RunningNode, words: str) -> str:
        """Wait until the node, or its program, has written the words; return the line."""

        def found() -> str | None:
            return next((line for line in node.said().splitlines() if words in line), None)

        return str(eventually(found, 30, lambda: f"{words!r} of {node.name}{self.bed.story()}"))

    def takes_over(self, words: str, **variables: str) -> tuple[RunningNode, RunningNode]:
        """See the program under term 1, kill its node, and see it under term 2 on another one.

        words: what the program writes, with the fields `node` and `term`.
        """
        first = self.start("node-1", **variables)
        self.wait_for(first, words.format(node="node-1", term=1))
        second = self.start("node-2", **variables)
        self.bed.wait_for_standbys(1)
        assert "node-2" not in self._programs(first, second, words)

        first.send(signal.SIGKILL, "guardian")

        self.wait_for(second, words.format(node="node-2", term=2))
        return first, second

    def _programs(self, first: RunningNode, second: RunningNode, words: str) -> str:
        """Return what the programs have written, without the nodes' own lines."""
        start = words.partition("{")[0]
        lines = [*first.said().splitlines(), *second.said().splitlines()]
        return "\n".join(line for line in lines if line.startswith(start))


@pytest.fixture
def recipe(tmp_path: Path, database: Database) -> Iterator[Callable[[str], Recipe]]:
    beds: list[Bed] = []

    def copied(name: str) -> Recipe:
        home = tmp_path / name
        shutil.copytree(RECIPES / name, home)
        made = Bed(home, database.conninfo, database.schema)
        # A guardian that is killed gives its token back, so no test waits for this; a busy machine
        # ends no holding meanwhile.
        made.liveness_s, made.heartbeat_s = 10.0, 0.5
        beds.append(made)
        return Recipe(name, made)

    yield copied
    for made in beds:
        made.end()
