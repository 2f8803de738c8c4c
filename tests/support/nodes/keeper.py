"""Program of a node that keeps one checkpoint after another, and writes down what was kept.

    python keeper.py RECORD

Each checkpoint is a directory that proves itself: `blob`, `sha` of it, and `told`, the term and the
number of the work in it. A line of the record is a `put` that returned 0, or BROKEN for a directory
that does not prove itself at the start.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

BYTES = 200_000


def main() -> None:
    record, home = Path(sys.argv[1]), Path(os.environ["COORD_CHECKPOINT_DIR"])
    number, term = 0, os.environ["COORD_TERM"]
    if (home / "told").exists():
        number = proved(home)[1]
        say(record, f"began {term} {number}")
    put = [sys.executable, "-m", "coordinator.cli", "-q", "checkpoint", "put"]
    while True:
        number += 1
        blob = os.urandom(BYTES)
        (home / "blob").write_bytes(blob)
        (home / "sha").write_text(hashlib.sha256(blob).hexdigest())
        (home / "told").write_text(f"{term} {number}")
        code = subprocess.run(put, check=False).returncode
        if code == 0:
            say(record, f"kept {term} {number}")
        elif code == 76:
            sys.exit(0)


def proved(home: Path) -> tuple[int, int]:
    """Return term and number of a directory that is what one `put` had."""
    sha = hashlib.sha256((home / "blob").read_bytes()).hexdigest()
    assert sha == (home / "sha").read_text(), f"BROKEN: {home}"
    term, number = map(int, (home / "told").read_text().split())
    return term, number


def say(record: Path, line: str) -> None:
    """Add a line, whole or not at all."""
    file = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{line}\n".encode())
    os.close(file)


if __name__ == "__main__":
    main()
