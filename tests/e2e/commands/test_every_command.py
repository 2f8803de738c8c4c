"""Every command x (fine, refused, database away) x format: exit code and golden transcript.

COORD_UPDATE_GOLDEN=1 writes the files of golden/ anew.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator import __version__
from coordinator.app.admin.tasks import author
from coordinator.cli.main import command as tree
from coordinator.cli.main import main
from coordinator.segments.devices.marker import make_device
from coordinator.store.embedded import server as embedded_server
from coordinator.store.schema.migrate import SCHEMA_HEAD
from tests.conformance.worlds import Node
from tests.conftest import Database
from tests.e2e import rows
from tests.e2e.commands.cases import CASES, OLD, PROGRAM, Case
from tests.e2e.commands.transcript import UPDATE, Ended, compare, told_of_any_machine
from tests.support.nodes.store_nodes import joined_nodes
from tests.support.servers.catalogue import fill_catalogue, offer
from tests.support.servers.scratch import scratch

pytestmark = pytest.mark.real


def commands(group: Any, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the names of all commands below a group."""
    inner = getattr(group, "commands", None)
    if inner is None:
        yield " ".join(above)
    else:
        for name, command in inner.items():
            yield from commands(command, (*above, name))


def test_every_command_has_its_case_and_every_case_a_command() -> None:
    assert sorted(commands(tree())) == sorted(CASES)


class Scene:
    """A database with groups of each kind, and a terminal in which commands are typed."""

    def __init__(
        self,
        database: Database,
        nodes: Sequence[Node],
        path: Path,
        embedded: Path,
        patch: pytest.MonkeyPatch,
        capture: pytest.CaptureFixture[str],
    ) -> None:
        self.database, self.nodes, self.path = database, nodes, path
        self._patch, self._capture, self._embedded = patch, capture, embedded
        self._nowhere = path / "nowhere"
        self._nowhere.mkdir()
        self._words = {
            "COORD_DATABASE_SCHEMA": database.schema,
            "COORD_TASK_ID": "node-9",
            "COORD_EMBEDDED_ROOT": str(embedded / "pg"),
            "COORD_ISOLATION": "plain",
            "COORD_LOG_FORMAT": "text",
            "COORD_HEARTBEAT_FREQUENCY": "1",
            "COORD_LIVENESS_CHECK_INTERVAL": "6",
            "TZ": "UTC",
        }

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Texts of this run alone, the longest first."""
        server = self.database.conninfo
        keys = dict(word.split("=", 1) for word in shlex.split(server) if "=" in word)
        label = f"{keys.get('user', '')}@{keys.get('host', '')}:{keys.get('port', '5432')}/"
        return (
            (author(), "WHO"),
            (str(self._embedded), "SCRATCH"),
            (str(self._nowhere), "NOWHERE"),
            (str(self.path), "HERE"),
            (label + keys.get("dbname", ""), "DATABASE"),
            (server, "DATABASE"),
            (keys.get("host", "") or "localhost", "SERVER"),
            (keys.get("dbname", "") or "coord", "NAME"),
            (__version__, "VERSION"),
            (SCHEMA_HEAD, "HEAD"),
        )

    def type(
        self, line: str, title: str, *, away: bool, env: Mapping[str, str], process: bool = False
    ) -> Ended:
        """Type one command, and wait for its end."""
        for node in self.nodes:
            node.beat()  # a standby that is behind is no target of a handover
        words = self._words | dict(env)
        url = f"host={self._nowhere} user=u dbname=d password=s3cret"
        words["COORD_DATABASE_URL"] = url if away else self.database.conninfo
        code, out, err = (self._alone if process else self._here)(shlex.split(line), words)
        return Ended(title=title, line=line, code=code, out=out, err=err)

    def _here(self, line: list[str], words: Mapping[str, str]) -> tuple[int, str, str]:
        with self._patch.context() as patch:
            patch.chdir(self.path)
            for name, value in words.items():
                patch.setenv(name, value)
            self._capture.readouterr()
            with pytest.raises(SystemExit) as end:
                main(line)
        return int(end.value.code or 0), *self._capture.readouterr()

    def _alone(self, line: list[str], words: Mapping[str, str]) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "coordinator.cli", *line],
            env={**os.environ, **words},
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def scene(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Scene]:
    monkeypatch.delenv(UPDATE, raising=False)
    # Nodes come first: where rows are older than the run of the server, the next one waits.
    with joined_nodes(database, "a", "b", group="shop", liveness_s=60.0) as nodes:
        nodes[0].win()
        fill(database, tmp_path)
        embedded = scratch()
        try:
            yield Scene(database, nodes, tmp_path, embedded, monkeypatch, capfd)
        finally:
            stop_embedded(embedded / "pg")
            shutil.rmtree(embedded, ignore_errors=True)


def fill(database: Database, path: Path) -> None:
    """Write rows of each kind, and the files that commands name."""
    rows.fill_orders(database)
    rows.fill_night(database)
    rows.fill_told(database)
    fill_catalogue(database)
    offer(database)
    database.query(OLD)
    # A busy machine makes no node of theirs late.
    database.query(
        "UPDATE health_check SET heartbeat_ms = 30000, lease_ms = 48900 WHERE group_id = 'shop'"
    )
    (path / "seen").write_text("4711\n")
    (path / "disk").mkdir()
    make_device(path / "disk")
    (path / "disks.toml").write_text(f'[[disks]]\nurl = "file://{path}/disk"\n')


def stop_embedded(root: Path) -> None:
    """Stop what `coord db up` has started."""
    if (root / "lock").exists():
        embedded_server.stop(root)


@pytest.mark.parametrize("name", CASES)
def test_a_command_ends_and_says_as_its_transcript_has_it(name: str, scene: Scene) -> None:
    case = CASES[name]
    ended = list(typed(name, case, scene))

    found = "\n".join(replace(each, derived=case.derived).text(scene.places) for each in ended)
    compare(name, told_of_any_machine(found) if case.machine else found)
    codes = {each.title: each.code for each in ended}
    assert codes["fine"] == case.code
    assert codes["refused"] == case.refusal
    assert codes.get("database away", case.gone) == case.gone
    assert not any("s3cret" in each.out + each.err for each in ended)
    assert not any("Traceback" in each.out + each.err for each in ended)


def typed(name: str, case: Case, scene: Scene) -> Iterator[Ended]:
    """Type the command in each situation and format."""
    for line in case.before:
        yield scene.type(line, "before", away=False, env=PROGRAM)
    first = f"{name} {case.fine}".rstrip()
    form_of = {form: f"{first} -o {form}" for form in case.forms}
    yield scene.type(first, "fine", away=False, env=case.env, process=case.process)
    for form, line in form_of.items():
        for undo in case.between:
            scene.type(undo, "between", away=False, env={})
        scene.database.query(case.again)
        yield scene.type(line, f"fine, {form}", away=False, env=case.env, process=case.process)
    for other in case.also:
        line = f"{name} {other}".rstrip()
        for form in ("table", *case.forms):
            yield scene.type(f"{line} -o {form}", f"also, {form}", away=False, env=case.env)
    refused = f"{name} {case.refused}"
    # psql refuses by itself; everything else is refused before a process is started.
    alone = case.process and name == "db psql"
    yield scene.type(refused, "refused", away=False, env=case.env, process=alone)
    if not case.local:
        line = first if case.away is None else f"{name} {case.away}"
        yield scene.type(line, "database away", away=True, env=case.env, process=case.process)
