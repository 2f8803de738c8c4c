"""Measure checkpoints against plain copies and against the erasure code alone.

    python -m bench.parts.checkpoints [--mib 256] [--rounds 5]

In MiB of content a second. `copies` writes the bytes of all segments (6/4 of the content) into as
many new files, one after the other, and brings each onto the disk; `encode` and `decode` are the
code in memory. Copies and code are measured right before each of ours, under the same load; a
ratio is ours to the slower of these two, of one round; the median of all rounds is told. `cpu_s`
is the CPU time of all processes together, for each GiB of content.

Seven nodes, 4 + 2, TLS between them, all on this machine and its one disk. Each node has a server
and a worker, which are processes and run before the clock does. So five receivers share the
processors with the sender: on machines of their own they do not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import floor
from bench.parts.disk_workers import GROUP, Database, DiskWorkers, disk_workers, peak_mib
from coordinator.app.checkpoints.making import Maker
from coordinator.app.checkpoints.material import bytes_content
from coordinator.app.checkpoints.restoring import Reader
from coordinator.segments.codec import codec_of
from coordinator.segments.layout import Layout
from coordinator.store.checkpoints.catalogue import Catalogue
from coordinator.store.checkpoints.records import Holding
from coordinator.store.schema import migrate

DATA, PARITY = 4, 2
SCHEMA = "coord"
KINDS = ("checkpoint", "restore", "check_disk", "rebuild")


@dataclass(slots=True)
class Found:
    """Measurements of all rounds, in the order of the rounds."""

    speeds: dict[str, list[float]] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    cpu_s: dict[str, list[float]] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    content = os.urandom(arguments.mib << 20)
    found = Found()
    with floor.bench_server() as server, tempfile.TemporaryDirectory() as folder:
        conninfo = server.conninfo()
        migrate.upgrade(conninfo, SCHEMA)
        with disk_workers(Database(conninfo, SCHEMA), Path(folder, "nodes"), 7) as group:
            bench = Bench(group, Path(folder), content, found)
            for _ in range(arguments.rounds):
                bench.round()
            memory = group.memory_mib()
    own = peak_mib()
    told = {
        "mib": arguments.mib,
        "rounds": arguments.rounds,
        "mib_per_s": _medians(found.speeds, 1),
        "ratio": _medians(found.ratios, 2),
        "ratios": {kind: [round(each, 2) for each in found.ratios[kind]] for kind in KINDS},
        "cpu_s": _medians(found.cpu_s, 2),
        "memory": {"sender_less_content_mib": own - arguments.mib, **memory},
    }
    print(json.dumps(told, indent=1))


class Bench:
    """Rounds of all kinds over one group."""

    def __init__(self, group: DiskWorkers, folder: Path, content: bytes, found: Found) -> None:
        self._group, self._folder, self._content, self._found = group, folder, content, found
        self._layout = Layout(data_count=DATA, parity_count=PARITY, length=len(content))
        self._mib = len(content) >> 20

    def round(self) -> None:
        group, database = self._group, self._group.database
        holding = _held(database)
        self._measured("checkpoint", self._encoded, lambda: self._put(holding))
        self._measured("restore", self._decoded, self._restored)
        self._measured("check_disk", self._encoded, lambda: group.operate("check_disk", {}))
        lost = self._path_of(0)
        lost.unlink()
        group.operate("check_disk", {"fix": True})
        # One segment is a quarter of the content; the other quarters are read for it.
        self._measured("rebuild", self._decoded, lambda: group.operate("rebuild", {}))
        for path in (self._folder / "nodes").glob("*/segments/*/*"):
            path.unlink()
        for table in ("segment", "segment_group", "segment_leaving"):
            database.query(f"DELETE FROM {table}")

    def _measured(self, kind: str, code: Callable[[], object], act: Callable[[], object]) -> None:
        # What was written before is on the disk: nobody's writing is in another's time.
        os.sync()
        copies = self._speed("copies", self._copied)
        for path in self._folder.glob("copy-*"):
            path.unlink()
        slower = min(copies, self._speed("decode" if code == self._decoded else "encode", code))
        os.sync()
        self._found.ratios.setdefault(kind, []).append(self._speed(kind, act) / slower)

    def _speed(self, kind: str, act: Callable[[], object]) -> float:
        cpu_s, began = self._group.cpu_s(), time.perf_counter()
        act()
        speed = self._mib / (time.perf_counter() - began)
        used_s = self._group.cpu_s() - cpu_s
        self._found.speeds.setdefault(kind, []).append(speed)
        self._found.cpu_s.setdefault(kind, []).append(used_s * 1024 / self._mib)
        return speed

    def _catalogue(self) -> Catalogue:
        return Catalogue(
            self._group.database.conninfo,
            schema=SCHEMA,
            group=GROUP,
            where="bench",
            timeout_s=30.0,
        )

    def _put(self, holding: Holding) -> None:
        settings = self._group.settings["n1"].checkpoints
        with self._catalogue() as catalogue:
            Maker(catalogue, holding, settings).put(bytes_content(self._content))

    def _restored(self) -> None:
        def discard(chunks: Iterator[bytes]) -> None:
            for _ in chunks:
                pass

        # From a machine that has no disk of the group: everything is sent.
        with self._catalogue() as catalogue:
            reader = Reader(catalogue, "nobody", 1)
            reader.content(reader.chosen(GROUP), discard)

    def _path_of(self, place: int) -> Path:
        ((segment,),) = self._group.database.query(
            "SELECT id::text FROM segment WHERE place = %s", place
        )
        (path,) = (self._folder / "nodes").glob(f"*/segments/*/{segment}")
        return path

    def _copied(self) -> None:
        share = self._layout.payload_bytes
        for place in range(self._layout.segment_count):
            part = memoryview(self._content)[place % DATA * share : (place % DATA + 1) * share]
            with (self._folder / f"copy-{place}").open("xb") as file:
                for start in range(0, len(part), 1 << 18):
                    file.write(part[start : start + (1 << 18)])
                file.flush()
                os.fsync(file.fileno())

    def _encoded(self) -> None:
        codec, layout = codec_of(self._layout), self._layout
        for stripe in range(layout.stripe_count):
            start = stripe * layout.stripe_bytes
            codec.encode(
                self._content[start : start + layout.stripe_bytes], layout.block_of(stripe)
            )

    def _decoded(self) -> None:
        codec, layout = codec_of(self._layout), self._layout
        blocks = dict(
            enumerate(codec.encode(self._content[: layout.stripe_bytes], layout.block_bytes))
        )
        kept = {place: blocks[place] for place in range(PARITY, DATA + PARITY)}
        for _ in range(layout.stripe_count):
            codec.restore(kept, range(PARITY))


def _held(database: Database) -> Holding:
    """Give n1 the group's token, under the next term."""
    ((session,),) = database.query(
        "SELECT session::text FROM health_check WHERE task_id = %s", "n1"
    )
    database.query(
        "INSERT INTO token_holder (group_id, task_id) VALUES (%s, 'n1') ON CONFLICT DO NOTHING",
        GROUP,
    )
    ((term,),) = database.query(
        "UPDATE token_holder SET task_id = 'n1', session = %s, term = term + 1"
        " WHERE group_id = %s RETURNING term",
        *(session, GROUP),
    )
    assert isinstance(term, int)
    return Holding(token=GROUP, term=term, session=str(session), node="n1")


def _medians(found: dict[str, list[float]], digits: int) -> dict[str, float]:
    return {key: round(statistics.median(each), digits) for key, each in found.items()}


if __name__ == "__main__":
    main()
