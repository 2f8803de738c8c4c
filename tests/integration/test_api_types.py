"""The types of the in-process API, as the checker of an application sees them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.holders import typed_application

APPLICATION = Path(typed_application.__file__)


def checked(path: Path) -> tuple[int, str]:
    argv = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(path)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout


@pytest.mark.long
def test_an_application_is_typed_strictly(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(APPLICATION.read_text().replace("report(3)", 'report("3")'))

    assert checked(APPLICATION)[0] == 0
    code, told = checked(wrong)
    assert (code, "incompatible type" in told) == (1, True)
