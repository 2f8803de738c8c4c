"""Runs import-linter on the package as it is installed: cli/ and migrations/ inside coordinator/.

The checkout keeps them beside coordinator/, which import-linter cannot see through.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lint() -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as home:
        package = Path(home) / "coordinator"
        shutil.copytree(ROOT / "coordinator", package)
        shutil.copytree(ROOT / "cli", package / "cli")
        shutil.copytree(ROOT / "migrations", package / "migrations")
        # In front of everything, so that the editable installation does not answer.
        script = (
            f"import sys; sys.path.insert(0, {home!r}); sys.meta_path[:] = [f for f in"
            " sys.meta_path if '__editable__' not in getattr(f, '__module__', '') and"
            " '__editable__' not in str(f)];"
            "from importlinter.cli import lint_imports_command as run; run()"
        )
        config = str(ROOT / ".importlinter")
        return subprocess.run(
            [sys.executable, "-c", script, "--config", config, "--no-cache"],
            cwd=home,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "120"},
        )


if __name__ == "__main__":
    answer = lint()
    print(answer.stdout, answer.stderr, sep="")
    sys.exit(answer.returncode)
