"""The command line on the database of the fixture `database`, in the test's own process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from coordinator.cli.main import main
from tests.conftest import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


Coord = Callable[..., Ended]


@pytest.fixture
def coord(
    tmp_path: Path,
    database: Database,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Coord:
    """Run one command of `coord`."""

    where = tmp_path / "administrator"
    where.mkdir()
    monkeypatch.chdir(where)
    for name in [name for name in os.environ if name.startswith(("COORD_", "PG"))]:
        monkeypatch.delenv(name)

    def run(*words: str, url: str | None = None) -> Ended:
        monkeypatch.setenv("COORD_DATABASE_URL", url or database.conninfo)
        monkeypatch.setenv("COORD_DATABASE_SCHEMA", database.schema)
        monkeypatch.setenv("COORD_GROUP_ID", "orders")
        monkeypatch.setenv("COORD_TASK_ID", "node-1")
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(list(words))
        said = capsys.readouterr()
        return Ended(returncode=int(end.value.code or 0), stdout=said.out, stderr=said.err)

    return run
