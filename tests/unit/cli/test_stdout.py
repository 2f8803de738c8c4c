"""Standard output that cannot be written to: a clear end, whichever moment it is noticed at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COMMAND = (sys.executable, "-m", "coordinator.cli", "help", "run")


def test_a_reader_that_is_gone_is_told_from_a_failure():
    """141, as a shell reports SIGPIPE, and no word; 1 would be an unexpected error."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()

    assert (process.returncode, said) == (141, b"")


def test_a_full_disk_below_stdout_is_no_unexpected_error():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(COMMAND, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    said = "coord: the answer could not be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)
