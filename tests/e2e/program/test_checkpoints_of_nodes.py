"""A program finds its predecessor's files when it starts, also after that one's disk is gone."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support.nodes.processes import Bed, RunningNode, bed, descendants, eventually

pytestmark = pytest.mark.real

#: Adds a line to the file of its predecessor, and keeps the directory.
ADDING = """
cd "$COORD_CHECKPOINT_DIR" || exit
while [ ! -e GO ]; do sleep 0.05; done
echo "$COORD_NODE" >> history
head -c 300000 /dev/zero > ballast
PYTHON -m coordinator.cli -q checkpoint put || exit
echo "$COORD_NODE: $(tr '\\n' ' ' < history)" >> RECORD
exec sleep 600
"""


def server_of(node: RunningNode) -> list[int]:
    """Return the processes that serve the node's disks."""
    return [
        pid
        for pid in descendants(node.process.pid)
        if b"checkpoints.serving" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_a_server_of_disks_that_dies_alone_is_started_again(database: Database, tmp_path: Path):
    """The disks show as online all the time: others must be able to reach them again."""
    served = "SELECT fingerprint FROM sys_storage_devices WHERE address IS NOT NULL"
    with bed(tmp_path, database.conninfo, database.schema) as made:
        config = str(config_of(tmp_path, "a"))
        node = made.start("a", command=("sleep", "600"), env={"COORD_CONFIG": config})
        (first,) = eventually(lambda: database.query(served), 60, made.story)
        (server,) = server_of(node)

        os.kill(server, signal.SIGKILL)

        eventually(lambda: database.query(served) != [first], 60, made.story)
        (another,) = server_of(node)
        assert another != server
        assert "the disks of this node are not served: their process ended by" in node.said()
        node.process.terminate()
        assert node.process.wait(20) == 0


def test_a_checkpoint_that_has_no_place_is_told_with_its_code(database: Database, tmp_path: Path):
    """It is not the program that is missing; nor is a program's 127 a lack of coord's own files."""
    with bed(tmp_path, database.conninfo, database.schema) as made:
        config = config_of(tmp_path, "a")
        (tmp_path / "a/state").write_text("a file, and no directory")
        node = made.start("a", command=("true",), env={"COORD_CONFIG": str(config)})
        assert node.process.wait(30) == 73
        told = f"the last checkpoint was not loaded: {tmp_path}/a/state/orders: Not a directory"
        assert told in node.said()
        node = made.start("b", command=("sh", "-c", "exit 127"))
        assert node.process.wait(30) == 127
        assert "cannot be executed" not in node.said()


def lines(record: Path) -> list[str]:
    return record.read_text().splitlines() if record.exists() else []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def config_of(place: Path, name: str) -> Path:
    (place / name / "disk").mkdir(parents=True)
    path = place / name / "Config.toml"
    path.write_text(
        f"""
[checkpoints]
rowsMax = 1000
listen = "127.0.0.1:{free_port()}"
directory = "{place / name}/state"
[[disks]]
url = "file://{place / name}/disk"
"""
    )
    return path


def sql(made: Bed, statement: str) -> str:
    """Run a statement to its end, as an administrator does."""
    command = [sys.executable, "-m", "coordinator.cli", "sql", "--wait", "-c", statement]
    env = {
        **os.environ,
        "COORD_DATABASE_URL": made.conninfo,
        "COORD_DATABASE_SCHEMA": made.schema,
    }
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr + made.story()
    return run.stdout


def repaired_by_statements(made: Bed, database: Database, disk: Path) -> None:
    """Flip a bit; check_disk finds it, rebuild makes the segment again."""
    (file,) = (disk / "segments").glob("??/*")
    whole = file.read_bytes()
    file.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    sql(made, "CREATE TASK TYPE check_disk LOCATION SYSTEM OPTIONS fix = true")
    found = "SELECT status FROM sys_segment_groups"
    assert database.query(found) == [("DAMAGED",)]
    sql(made, "CREATE TASK mend TYPE rebuild LOCATION CLUSTER orders")
    assert database.query(found) == [("INTACT",)]
    assert file.read_bytes() == whole


def test_a_program_begins_with_the_files_of_a_predecessor_whose_disk_is_gone(
    database: Database, tmp_path: Path
) -> None:
    """Warm takeover: SIGKILL of all processes of the holder, then its directory is deleted."""
    record, go = tmp_path / "record", tmp_path / "go"
    shell = (
        *("sh", "-c"),
        ADDING.replace("PYTHON", sys.executable)
        .replace("RECORD", str(record))
        .replace("GO", str(go)),
    )
    with bed(tmp_path, database.conninfo, database.schema) as made:
        for name in ("b", "c"):
            config = str(config_of(tmp_path, name))
            made.start(name, "--pass-database", command=shell, env={"COORD_CONFIG": config})
        both = "SELECT count(*) = 2 FROM sys_storage_devices WHERE address IS NOT NULL"
        eventually(lambda: database.query(both) == [(True,)], 60, lambda: f"disks{made.story()}")
        go.touch()
        eventually(lambda: len(lines(record)) == 1, 60, lambda: f"the first run{made.story()}")
        first = lines(record)[0].split(":")[0]
        second = {"b": "c", "c": "b"}[first]
        assert database.query("SELECT status FROM sys_segment_groups") == [("INTACT",)]
        repaired_by_statements(made, database, tmp_path / second / "disk")

        made.nodes[first].send(signal.SIGKILL, "all")
        shutil.rmtree(tmp_path / first)
        eventually(lambda: len(lines(record)) == 2, 60, lambda: f"a takeover{made.story()}")

    assert lines(record) == [f"{first}: {first} ", f"{second}: {first} {second} "]
