"""Warm takeover of a holder with 1 GB of state, which dies with its disk.

    COORD_LARGE_BYTES=1000000000 pytest -s -m long tests/faults/test_large_takeover.py

prints how long each part took; docs/checkpoints.md has the figures of one run.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.e2e.program.test_checkpoints_of_nodes import config_of
from tests.support.nodes.processes import bed, eventually

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(1_500)]

SIZE = int(os.environ.get("COORD_LARGE_BYTES", 1_000_000_000))
WAIT_S = 600
#: Makes its bytes from a seed, and keeps them; the next one reads every byte of them first.
PROGRAM = """
import hashlib, os, pathlib, subprocess, sys, time
record, size, go = pathlib.Path(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
place = pathlib.Path(os.environ["COORD_CHECKPOINT_DIR"], "blob")
def say(*words):
    with record.open("a") as file:
        print(os.environ["COORD_NODE"], time.monotonic(), *words, file=file, flush=True)
say("started")
if place.exists():
    whole = hashlib.blake2b()
    with place.open("rb") as file:
        while part := file.read(1 << 20):
            whole.update(part)
    say("found", place.stat().st_size, whole.hexdigest())
else:
    while not go.exists():
        time.sleep(0.05)
    whole, block = hashlib.blake2b(), os.urandom(1 << 20)
    with place.open("wb") as file:
        for at in range(0, size, 1 << 20):
            part = (at.to_bytes(8, "little") + block)[: min(1 << 20, size - at)]
            whole.update(part)
            file.write(part)
    say("putting")
    code = subprocess.run([sys.executable, "-m", "coordinator.cli", "-q", "checkpoint", "put"])
    say("kept", code.returncode, whole.hexdigest())
time.sleep(3600)
"""


def test_a_gigabyte_survives_its_holder_and_its_disk(database: Database, tmp_path: Path):
    record, go = tmp_path / "record", tmp_path / "go"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    record.touch()
    with bed(tmp_path, database.conninfo, database.schema) as made:
        made.liveness_s, made.heartbeat_s = 6.0, 1.0
        for name in ("a", "b"):
            command = (sys.executable, str(program), str(record), str(SIZE), str(go))
            env = {"COORD_CONFIG": str(config_of(tmp_path, name))}
            made.start(name, "--pass-database", command=command, env=env)
        both = "SELECT count(*) = 2 FROM sys_storage_devices WHERE address IS NOT NULL"
        eventually(lambda: database.query(both) == [(True,)], WAIT_S, made.story)
        go.touch()
        kept = eventually(lambda: line_of(record, "kept"), WAIT_S, made.story)
        assert kept[3] == "0", made.story()

        killed_at = time.monotonic()
        made.nodes[kept[0]].send(signal.SIGKILL, "all")
        shutil.rmtree(tmp_path / kept[0])
        found = eventually(lambda: line_of(record, "found"), WAIT_S, made.story)

        assert found[0] != kept[0]
        assert found[3:] == [str(SIZE), kept[4]]
    putting, started = line_of(record, "putting"), line_of(record, "started", node=found[0])
    print(
        f"\n{SIZE} bytes: put {float(kept[1]) - float(putting[1]):.1f} s; from the kill to the"
        f" start of the next program {float(started[1]) - killed_at:.1f} s (interval"
        f" {made.liveness_s:.0f} s), to its last byte read {float(found[1]) - killed_at:.1f} s"
    )


def line_of(record: Path, word: str, node: str | None = None) -> list[str]:
    """Return the words of the first line with a word; none yet: an empty list."""
    lines = [line.split() for line in record.read_text().splitlines()]
    return next((each for each in lines if each[2] == word and node in (None, each[0])), [])
