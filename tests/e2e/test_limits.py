"""Limits that no node fits into are refused at the start, in one line that names the limit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-P", "-m", "coordinator.cli", "run", "-g", "g", "--database-url"]
#: Nobody listens there: a node that were started would say so.
NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


@pytest.mark.parametrize(
    ("limit", "named"),
    [
        ("ulimit -n 16", "open files are limited to 16 (ulimit -n, the hard limit)"),
        ("ulimit -n 64", "open files are limited to 64 (ulimit -n, the hard limit)"),
        ("ulimit -v 70000", "the address space is limited to 70000 kB (ulimit -v)"),
    ],
)
def test_a_limit_is_refused_in_one_line_that_names_it(limit: str, named: str, tmp_path: Path):
    line = f'{limit}; exec "$@"'
    command = ["/bin/sh", "-c", line, "sh", *RUN, NOWHERE, "--", "true"]
    env = os.environ | {"COORD_LOG_FORMAT": "text"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)

    assert done.returncode == 78
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"coord: {named}")
    assert "at least" in said


PYTHON = "/usr/bin/python3"
CHECK = """
import resource, sys
sys.path.insert(0, sys.argv[1])
resource.setrlimit(resource.RLIMIT_NPROC, (int(sys.argv[2]),) * 2)
from coordinator.errors import ConfigError
from coordinator.runtime.linux import limits
try:
    limits.check()
except ConfigError as error:
    print(error)
"""


def checked(processes: int) -> str:
    """Check as a user of whom nothing else runs, whose interpreter everybody may read."""
    ordinary = ["setpriv", "--reuid=64321", "--regid=64321", "--clear-groups"]
    arguments = [*ordinary, PYTHON, "-I", "-c", CHECK, str(ROOT), str(processes)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd="/")
    return done.stdout


def knows_enough() -> bool:
    if os.geteuid() != 0 or not os.path.exists(PYTHON):
        return False
    version = subprocess.run([PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])
    return version.returncode == 0


@pytest.mark.skipif(not knows_enough(), reason="needs root, and a Python that every user may run")
def test_too_few_processes_are_refused_and_enough_are_not():
    assert checked(3).startswith("processes of this user are limited to 3 (ulimit -u)")
    assert checked(12) == ""
