"""Nodes, workers, servers of disks and the database fail while operations run and files are kept.

Checked at the end: every committed checkpoint can be read and is what one `put` had (V2, V6); the
newest is not older than the last one that was acknowledged; terms rise with the sequence (V2); each
operation has ended, and once all nodes are back a check and a rebuild leave every segment INTACT.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from coordinator.app.checkpoints.restoring import Reader
from coordinator.errors import CoordError
from coordinator.store.checkpoints.catalogue import Catalogue
from coordinator.store.schema import migrate
from tests.e2e.program.test_checkpoints_of_nodes import config_of
from tests.support.nodes import keeper
from tests.support.nodes.processes import Bed, bed, descendants, eventually
from tests.support.servers.postgres import Server

NAMES = ("a", "b", "c")
WAIT_S = 120
TYPES = ("check_disk", "rebuild", "rebalance")
OPEN = "SELECT count(*) FROM operation WHERE finished_at IS NULL"


@dataclass(slots=True)
class Ground:
    """Three nodes with a disk each, their own database, and what the program has written down."""

    server: Server
    bed: Bed
    path: Path
    random: random.Random

    def start(self, name: str) -> None:
        command = (sys.executable, str(Path(keeper.__file__)), str(self.path / "kept"))
        env = {"COORD_CONFIG": str(self.path / name / "Config.toml")}
        self.bed.start(name, "--pass-database", "--restart", "always", command=command, env=env)

    def query(self, statement: str, *values: object) -> list[tuple]:
        return self.server.query(statement, *values)

    def kept(self, word: str = "kept") -> list[tuple[int, int]]:
        path = self.path / "kept"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [line.split() for line in lines]
        return [(int(term), int(number)) for told, term, number in found if told == word]

    def holder(self) -> str:
        """Return the node that holds; any where nobody does."""
        rows = self.query("SELECT task_id FROM token_holder WHERE session IS NOT NULL")
        return str(rows[0][0]) if rows else self.random.choice(NAMES)

    def owner(self) -> str | None:
        rows = self.query("SELECT owner FROM operation_subtask WHERE state = 'RUNNING' LIMIT 1")
        return str(rows[0][0]) if rows else None

    def pids(self, name: str, word: bytes) -> list[int]:
        """Return the processes of a node with a word in their command line."""
        found = []
        for pid in descendants(self.bed.nodes[name].process.pid):
            with suppress(OSError):
                if word in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def operate(self) -> None:
        """Begin an operation of any type, and cancel one now and then."""
        kind = self.random.choice(TYPES)
        fix = '{"fix": true}' if kind == "check_disk" else "{}"
        self.query("SELECT sys_create_task(%s, 'SYSTEM', NULL, %s::jsonb)", kind, fix)
        if self.random.random() < 0.2:
            self.query(
                "SELECT sys_cancel_task(id::text) FROM operation WHERE state = 'RUNNING' LIMIT 1"
            )

    def flip(self) -> None:
        """Damage the first copy of a checkpoint; the second is never touched."""
        files = [
            (Path(str(url).removeprefix("file://")) / "segments" / str(name)[:2] / str(name))
            for name, url in self.query(
                "SELECT storage_id::text, url FROM sys_segments WHERE place = 0"
            )
        ]
        there = [path for path in files if path.exists()]
        if there:
            with suppress(FileNotFoundError), self.random.choice(there).open("r+b") as file:
                file.seek(self.random.randrange(2_000, 150_000))
                file.write(b"\xee\xee")


def machine_dies(ground: Ground, name: str) -> None:
    ground.bed.nodes[name].send(signal.SIGKILL, "all")
    ground.bed.nodes[name].process.wait(20)
    ground.start(name)


def machine_stands_still(ground: Ground, name: str) -> None:
    holds = "SELECT count(*) FROM token_holder WHERE session IS NOT NULL AND task_id = %s"
    ground.bed.nodes[name].send(signal.SIGSTOP, "all")
    eventually(lambda: ground.query(holds, name) == [(0,)], WAIT_S, ground.bed.story)
    ground.bed.nodes[name].send(signal.SIGCONT, "all")


def worker_dies(ground: Ground, name: str) -> None:
    for pid in ground.pids(name, b"worker.process"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def server_of_disks_dies(ground: Ground, name: str) -> None:
    for pid in ground.pids(name, b"checkpoints.serving"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def program_dies(ground: Ground, name: str) -> None:
    """In the middle of a put, most of the time."""
    for pid in [*ground.pids(name, b"keeper.py"), *ground.pids(name, b"checkpoint")]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def database_restarts(ground: Ground, _name: str) -> None:
    ground.server.restart("immediate")


FAULTS: tuple[Callable[[Ground, str], None], ...] = (
    *(machine_dies, machine_stands_still, worker_dies),
    *(server_of_disks_dies, program_dies, database_restarts),
)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    server = Server.create()
    try:
        migrate.upgrade(server.conninfo(), "public")
        with bed(tmp_path, server.conninfo(), "public") as made:
            made.liveness_s, made.heartbeat_s = 3.0, 0.5
            found = Ground(server, made, tmp_path, random.Random(7))
            for name in NAMES:
                config_of(tmp_path, name)
                found.start(name)
            served = "SELECT count(*) FROM sys_storage_devices WHERE state = 'online'"
            eventually(lambda: found.query(served) == [(3,)], WAIT_S, made.story)
            eventually(lambda: len(found.kept()) > 1, WAIT_S, made.story)
            yield found
    finally:
        server.remove()


def struck(ground: Ground, fault: Callable[[Ground, str], None]) -> None:
    """Begin an operation, let a fault happen to one that takes part, and wait for the next put."""
    ground.flip()
    with suppress(psycopg.OperationalError):
        ground.operate()
    before = len(ground.kept())
    name = ground.random.choice([ground.owner() or ground.holder(), ground.holder()])
    fault(ground, name)
    eventually(
        lambda: len(ground.kept()) > before,
        WAIT_S,
        lambda: f"a checkpoint after {fault.__name__} of {name}{ground.bed.story()}",
    )


def checked(ground: Ground) -> None:
    """Look at all that is left."""
    for name in NAMES:
        if ground.bed.nodes[name].process.poll() is not None:
            ground.start(name)
    eventually(lambda: ground.query(OPEN) == [(0,)], WAIT_S, ground.bed.story)
    acknowledged = max(ground.kept(), key=lambda each: each[1])
    began = ground.kept("began")
    assert all(
        number >= max((n for term, n in ground.kept() if term < begun), default=0)
        for begun, number in began
    ), f"a program began with less than was acknowledged: {began}"
    with Catalogue(
        ground.server.conninfo(), schema="public", group="orders", where="test", timeout_s=20.0
    ) as catalogue:
        reader = Reader(catalogue, "nobody", 1)
        rows = reader.listed("orders")
        terms = [row["term"] for row in sorted(rows, key=lambda row: row["sequence"])]
        assert terms == sorted(terms)
        told = []
        for row in rows:
            place = ground.path / f"restored-{row['sequence']}"
            if not restored(reader, row, place):
                continue
            told.append(keeper.proved(place))
            assert told[-1][0] == row["term"], "a checkpoint has the content of its own holder"
        assert max(number for _, number in told) >= acknowledged[1]
    for statement in (
        "SELECT sys_create_task('check_disk', 'SYSTEM', NULL, '{\"fix\": true}')",
        "SELECT sys_create_task('rebuild', 'SYSTEM', NULL)",
    ):
        ground.query(statement)
        eventually(lambda: ground.query(OPEN) == [(0,)], WAIT_S, ground.bed.story)
    lost = "SELECT count(*) FROM sys_segment_groups WHERE state = 'COMMITTED' AND NOT readable"
    eventually(lambda: ground.query(lost) == [(0,)], WAIT_S, ground.bed.story)


def restored(reader: Reader, row: dict, place: Path) -> bool:
    """Restore a checkpoint once its nodes are back; false when it has expired meanwhile.

    A copy may be damaged while the node of the other one is only starting.
    """
    faults: list[str] = []

    def there() -> bool:
        try:
            reader.save_to(row, place)
        except CoordError as error:
            faults.append(str(error))
        return place.exists() or row["sequence"] not in sequences()

    def sequences() -> list[int]:
        return [each["sequence"] for each in reader.listed("orders")]

    eventually(there, WAIT_S, lambda: f"checkpoint {row['sequence']}: {faults[-1:]}")
    return place.exists()


@pytest.mark.real
def test_a_holder_and_a_worker_die_and_what_was_kept_stays(ground: Ground):
    """V2, V6, Q3 in CI's short form."""
    struck(ground, worker_dies)
    struck(ground, machine_dies)

    checked(ground)


@pytest.mark.long
@pytest.mark.timeout(1_500)
@pytest.mark.real
def test_thirty_faults_of_every_kind(ground: Ground):
    for _ in range(5):
        for fault in ground.random.sample(FAULTS, len(FAULTS)):
            struck(ground, fault)

    checked(ground)


@pytest.mark.long
@pytest.mark.timeout(1_500)
@pytest.mark.real
@pytest.mark.parametrize("kind", TYPES)
def test_a_cancel_at_any_of_ten_moments_leaves_nothing_half(ground: Ground, kind: str):
    """Q6: a moment is a count of reports, ends and claims in the database, and no time."""
    seen = "SELECT coalesce(sum(version + reports), 0) FROM operation_subtask WHERE operation = %s"
    ended = []
    for moment in range(10):
        for _ in range(3):
            ground.flip()
        ground.query("SELECT sys_create_task('check_disk', 'SYSTEM', NULL, '{\"fix\": true}')")
        eventually(lambda: ground.query(OPEN) == [(0,)], WAIT_S, ground.bed.story)
        ((operation,),) = ground.query("SELECT sys_create_task(%s, 'SYSTEM', NULL)::text", kind)
        state = "SELECT state FROM operation WHERE id = %s"

        def due(operation: str = operation, moment: int = moment) -> bool:
            over = ground.query(state, operation)[0][0] not in ("PENDING", "RUNNING")  # noqa: B023
            return over or ground.query(seen, operation)[0][0] >= 1 + moment

        eventually(due, WAIT_S, ground.bed.story)
        with suppress(psycopg.errors.ObjectNotInPrerequisiteState):  # 55000: it was faster
            ground.query("SELECT sys_cancel_task(%s)", operation)
        eventually(lambda: ground.query(OPEN) == [(0,)], WAIT_S, ground.bed.story)
        ended.append(ground.query(state, operation)[0][0])
        half = "SELECT count(*) FROM segment WHERE state = 'REBUILDING'"
        assert ground.query(half) == [(0,)]
        term = "SELECT max(term) FROM operation_subtask WHERE operation = %s AND state = 'SKIPPED'"
        assert ground.query(term, operation)[0][0] in (None, 0, 1)
    assert "CANCELLED" in ended, ended

    checked(ground)


@pytest.mark.long
@pytest.mark.timeout(1_500)
@pytest.mark.real
def test_a_worker_that_stands_still_loses_its_claim_to_another_node(ground: Ground):
    """Q9: its node lives, and another one ends the operation."""
    ((operation,),) = ground.query("SELECT sys_create_task('check_disk', 'SYSTEM', NULL)::text")
    owner = str(eventually(ground.owner, WAIT_S, lambda: f"a claim{ground.bed.story()}"))
    stopped = ground.pids(owner, b"worker.process")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    told = "SELECT reason FROM operation_subtask WHERE operation = %s AND avoided = %s"
    states = "SELECT state FROM operation_subtask WHERE operation = %s AND kind = 'plan'"
    try:
        if ground.query(states, operation) == [("RUNNING",)]:
            eventually(
                lambda: ground.query(told, operation, owner), WAIT_S, lambda: ground.bed.story()
            )
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    eventually(lambda: ground.query(OPEN) == [(0,)], WAIT_S, ground.bed.story)
