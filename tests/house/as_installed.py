"""Runs import-linter and mypy on the package as it is installed: cli/ and migrations/ inside it.

The checkout keeps them beside coordinator/, which neither of the two can see through.

    python -m tests.house.as_installed      both; exit code 1 when one complains
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: In front of everything, so that the editable installation does not answer.
AS_INSTALLED = (
    "import sys; sys.path.insert(0, {home!r});"
    "sys.meta_path[:] = [finder for finder in sys.meta_path if '__editable__' not in str(finder)"
    " and '__editable__' not in getattr(finder, '__module__', '')];"
)
Answer = subprocess.CompletedProcess[str]


@contextmanager
def installed_tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as home:
        package = Path(home) / "coordinator"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "coordinator", package, ignore=ignored)
        shutil.copytree(ROOT / "cli", package / "cli", ignore=ignored)
        shutil.copytree(ROOT / "migrations", package / "migrations", ignore=ignored)
        yield Path(home)


def lint_imports() -> Answer:
    with installed_tree() as home:
        script = AS_INSTALLED.format(home=str(home)) + (
            "from importlinter.cli import lint_imports_command as run; run()"
        )
        config = ["--config", str(ROOT / ".importlinter"), "--no-cache"]
        return _run([sys.executable, "-c", script, *config], home)


def check_types() -> Answer:
    with installed_tree() as home:
        cache = str(ROOT / ".mypy_cache")
        options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", cache]
        return _run([sys.executable, "-m", "mypy", *options, "coordinator"], home)


def _run(arguments: list[str], home: Path) -> Answer:
    environ = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(arguments, cwd=home, capture_output=True, text=True, env=environ)


if __name__ == "__main__":
    failed = False
    for answer in (lint_imports(), check_types()):
        print(answer.stdout, answer.stderr, sep="")
        failed = failed or answer.returncode != 0
    sys.exit(failed)
