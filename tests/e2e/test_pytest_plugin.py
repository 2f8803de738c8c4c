"""The pytest plugin as a user's project has it: pytest finds it by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "test_takeover.py"
UNUSED = """
import sys

def test_nothing_was_loaded():
    heavy = ("psycopg", "sqlalchemy", "pydantic", "asyncio", "coordinator.app", "coordinator.store")
    assert [name for name in heavy if name in sys.modules] == []
"""
ASKED = """
def test_it(coord_group):
    raise AssertionError("there is no server")
"""


def run(folder: Path, *options: str, **more: str) -> str:
    """Run pytest in a project of its own; return what it printed, for a run that passed."""
    environ = {key: text for key, text in os.environ.items() if not key.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *options, "."],
        cwd=folder,
        env=environ | more,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_passes(tmp_path):
    """Kill the holder, and cut it off: its program is dead before the next one starts."""
    shutil.copy(EXAMPLE, tmp_path)

    assert "2 passed" in run(tmp_path, "-k", "not stood_still")


@pytest.mark.long
def test_the_whole_example_passes(tmp_path):
    shutil.copy(EXAMPLE, tmp_path)

    assert "3 passed" in run(tmp_path)


def test_a_project_that_does_not_use_it_loads_nothing_for_it(tmp_path):
    (tmp_path / "test_unused.py").write_text(UNUSED)

    others = ("-p", "no:xdist", "-p", "no:anyio", "-p", "no:schemathesis")
    assert "1 passed" in run(tmp_path, *others)
    assert "@pytest.mark.coord_group(nodes=2" in run(tmp_path, "--markers")


def test_without_a_postgresql_the_test_is_skipped_with_the_reason(tmp_path):
    (tmp_path / "test_asked.py").write_text(ASKED)

    said = run(tmp_path, COORD_PG_BINDIR=str(tmp_path / "nowhere"))

    assert "1 skipped" in said
    assert "coord_group needs a PostgreSQL" in said
