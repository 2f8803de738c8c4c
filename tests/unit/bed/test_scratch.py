"""Folders of servers: a run removes those that nobody uses, wherever their users are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.servers import scratch

ROOT = Path(__file__).parents[3]
#: Makes a folder, says which, and lives until it is told to end.
USER = """
import sys
from pathlib import Path
from tests.support.servers import scratch
folder, lock = scratch.locked_folder(Path(sys.argv[1]))
(folder / "data").touch()
print(folder, flush=True)
sys.stdin.read()
"""


def test_a_folder_is_removed_only_when_its_user_has_ended(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", USER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as user:
        assert user.stdout is not None
        folder = Path(user.stdout.readline().strip())

        scratch.clean_up(tmp_path)

        assert (folder / "data").exists()
        user.kill()
        user.wait()

        scratch.clean_up(tmp_path)

        assert not folder.exists()


def test_what_has_another_name_is_nobodys_to_remove(tmp_path: Path) -> None:
    (tmp_path / "coord-pg-1-of-somebody").mkdir()

    scratch.clean_up(tmp_path)

    assert (tmp_path / "coord-pg-1-of-somebody").exists()
