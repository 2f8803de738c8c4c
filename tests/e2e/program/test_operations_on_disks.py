"""check_disk, rebuild and rebalance on the disks of real nodes, by `coord sql --wait`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.e2e.program.test_checkpoints_of_nodes import config_of
from tests.support.nodes.processes import bed, eventually

pytestmark = pytest.mark.real

NODES = ("a", "b", "c")
WAIT_S = 90
#: Keeps 300 kB as a checkpoint, and goes on.
KEEPING = """
cd "$COORD_CHECKPOINT_DIR" || exit
while [ ! -e GO ]; do sleep 0.05; done
head -c 300000 /dev/zero > ballast
PYTHON -m coordinator.cli -q checkpoint put || exit
exec sleep 600
"""


def sql(database: Database, text: str) -> tuple[int, str]:
    kept = {name: told for name, told in os.environ.items() if not name.startswith(("COORD", "PG"))}
    answer = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", "-q", "sql", "--wait", "-c", text],
        env=kept
        | {"COORD_DATABASE_URL": database.conninfo, "COORD_DATABASE_SCHEMA": database.schema},
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    return answer.returncode, answer.stdout + answer.stderr


def test_a_flipped_byte_is_found_and_its_segment_made_anew(database: Database, tmp_path: Path):
    status = "SELECT status, count(*) FROM sys.segments GROUP BY 1 ORDER BY 1"
    with bed(tmp_path, database.conninfo, database.schema) as group:
        group.liveness_s, group.heartbeat_s = 6.0, 1.0
        for name in NODES:
            text = KEEPING.replace("PYTHON", sys.executable).replace("GO", str(tmp_path / "go"))
            env = {"COORD_CONFIG": str(config_of(tmp_path, name))}
            group.start(name, "--pass-database", command=("sh", "-c", text), env=env)
        offered = "SELECT count(*) FROM operation_node WHERE cardinality(types) = 3"
        eventually(lambda: database.query(offered) == [(3,)], WAIT_S, group.story)
        served = "SELECT count(*) FROM sys.storage_devices WHERE address IS NOT NULL"
        eventually(lambda: database.query(served) == [(3,)], WAIT_S, group.story)
        (tmp_path / "go").touch()
        eventually(lambda: database.query(status) == [("INTACT", 2)], WAIT_S, group.story)

        assert sql(database, "CREATE TASK TYPE check_disk OPTIONS fix = true")[0] == 0
        assert database.query(status) == [("INTACT", 2)]

        ((segment, url),) = database.query(
            "SELECT storage_id::text, url FROM sys.segments ORDER BY place LIMIT 1"
        )
        (path,) = Path(str(url).removeprefix("file://")).rglob(f"*{segment}*")
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))

        check = f"CREATE TASK TYPE check_disk OPTIONS fix = true, storage_ids = ['{segment}']"
        code, said = sql(database, check)
        assert code == 0, said
        assert database.query(status) == [("DAMAGED", 1), ("INTACT", 1)]

        code, said = sql(database, "CREATE TASK TYPE rebuild LOCATION CLUSTER orders")
        assert code == 0, said
        assert database.query(status) == [("INTACT", 2)]
        code, said = sql(database, "CREATE TASK TYPE rebalance")
        assert code == 0, said
        assert database.query(status) == [("INTACT", 2)]
