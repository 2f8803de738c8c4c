"""Measure checkpoints against plain copies and against the erasure code alone.

    python -m bench.parts.checkpoints [--mib 64] [--rounds 3]

In MiB of content a second: `copies` writes the bytes of all segments (6/4 of the content) into as
many files and brings them onto the disk; `encode` and `decode` are the code in memory; `reads`
reads the copies from the disk. A ratio is to the slower of copies and code. All nodes are threads
of one machine, with one disk; seven nodes, 4 + 2, TLS between them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import floor
from coordinator.app.checkpoints.operations.check_disk import CheckDisk
from coordinator.app.checkpoints.operations.rebuild import Rebuild
from coordinator.segments.codec import codec_of
from coordinator.segments.layout import Layout
from coordinator.store.schema import migrate
from tests.support.nodes.disk_nodes import DiskNodes, disk_nodes
from tests.support.operations.claimed import Claimed

DATA, PARITY = 4, 2
SCHEMA = "coord"


@dataclass(frozen=True)
class Database:
    """As the tests' own: what disk_nodes asks of it."""

    conninfo: str
    schema: str = SCHEMA

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(
            self.conninfo, autocommit=True, options=f"-c search_path={self.schema}"
        ) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    content = os.urandom(arguments.mib << 20)
    with floor.bench_server() as server, tempfile.TemporaryDirectory() as folder:
        conninfo = server.conninfo()
        migrate.upgrade(conninfo, SCHEMA)
        rounds = [
            measured(Database(conninfo), Path(folder, str(number)), content, arguments.mib)
            for number in range(arguments.rounds)
        ]
    medians = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    code = {"restore": "decode", "rebuild": "decode"}
    kinds = ("checkpoint", "restore", "check_disk", "rebuild")
    slower = {kind: min(medians["copies"], medians[code.get(kind, "encode")]) for kind in kinds}
    found = {
        "mib": arguments.mib,
        "mib_per_s": {key: round(value, 1) for key, value in medians.items()},
        "ratio": {key: round(medians[key] / value, 2) for key, value in slower.items()},
        "check_disk_to_reads": round(medians["check_disk"] / medians["reads"], 2),
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    print(json.dumps(found, indent=1))


def measured(database: Database, folder: Path, content: bytes, mib: int) -> dict[str, float]:
    folder.mkdir()
    layout = Layout(data_count=DATA, parity_count=PARITY, length=len(content))
    found = {
        "copies": mib / timed(lambda: copies(folder, content, layout)),
        "encode": mib / timed(lambda: encoded(content, layout)),
        "decode": mib / timed(lambda: decoded(content, layout)),
        "reads": mib / timed(lambda: read_again(folder)),
    }
    for table in ("segment", "segment_group", "segment_leaving", "storage_device", "storage_node"):
        database.query(f"DELETE FROM {table}")
    database.query("DELETE FROM health_check")
    with disk_nodes(database, folder / "nodes", 7) as group:
        holding = group.hold("n1")
        found["checkpoint"] = mib / timed(lambda: group.put(holding, content))
        found["restore"] = mib / timed(lambda: restored(group))
        # It reads 6/4 of the content; `reads` read as much.
        found["check_disk"] = mib / timed(lambda: operated(group, CheckDisk(), {}))
        lost = group.path(1, 0)
        size = lost.stat().st_size / (1 << 20)
        lost.unlink()
        operated(group, CheckDisk(), {"fix": True})
        # One segment is a quarter of the content.
        found["rebuild"] = size * DATA / timed(lambda: operated(group, Rebuild(), {}))
    return found


def restored(group: DiskNodes) -> None:
    def discard(chunks: Iterator[bytes]) -> None:
        for _ in chunks:
            pass

    from coordinator.app.checkpoints.restoring import Reader

    with group.catalogue() as catalogue:
        reader = Reader(catalogue, "nobody", group.term)
        reader.content(reader.chosen("orders"), discard)


def operated(group: DiskNodes, kind: object, options: dict[str, object]) -> None:
    planning = Claimed(group.database, "n1", group.nodes["n1"].settings, options=options)
    for planned in kind.plan(planning).subtasks:  # type: ignore[attr-defined]
        node = planned.node or "n1"
        kind.run(  # type: ignore[attr-defined]
            Claimed(
                group.database,
                node,
                group.nodes[node].settings,
                options=options,
                entity=planned.entity,
                argument=planned.argument,
            )
        )


def copies(folder: Path, content: bytes, layout: Layout) -> None:
    share = layout.payload_bytes
    for place in range(layout.segment_count):
        part = memoryview(content)[(place % DATA) * share : (place % DATA + 1) * share]
        with (folder / f"copy-{place}").open("wb") as file:
            for start in range(0, len(part), 1 << 18):
                file.write(part[start : start + (1 << 18)])
            file.flush()
            os.fsync(file.fileno())


def read_again(folder: Path) -> None:
    for path in sorted(folder.glob("copy-*")):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.read(1 << 18):
                pass


def encoded(content: bytes, layout: Layout) -> None:
    codec = codec_of(layout)
    for stripe in range(layout.stripe_count):
        start = stripe * layout.stripe_bytes
        codec.encode(content[start : start + layout.stripe_bytes], layout.block_of(stripe))


def decoded(content: bytes, layout: Layout) -> None:
    codec = codec_of(layout)
    blocks = dict(enumerate(codec.encode(content[: layout.stripe_bytes], layout.block_bytes)))
    kept = {place: blocks[place] for place in range(PARITY, DATA + PARITY)}
    for _ in range(layout.stripe_count):
        codec.restore(kept, range(PARITY))


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
