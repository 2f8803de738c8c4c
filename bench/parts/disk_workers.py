"""Nodes with disks as they are in production: a server of segments and a worker, each a process.

A server and a worker of each node are started once, before anything is measured: a node has its
server as long as it lives, and its worker as long as an operation is open.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg

from coordinator.app.checkpoints.operations.check_disk import CheckDisk
from coordinator.app.checkpoints.operations.rebuild import Rebuild
from coordinator.app.checkpoints.serving import OwnDisks, served_by
from coordinator.app.config.settings import CheckpointSettings, DatabaseSettings, NodeSettings
from coordinator.store.driver import connect as driver
from tests.support.operations.claimed import Claimed

GROUP = "orders"
KINDS: Mapping[str, Any] = {"check_disk": CheckDisk, "rebuild": Rebuild}


@dataclass(frozen=True)
class Database:
    """As the tests' own: what a claim asks of it."""

    conninfo: str
    schema: str

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(
            self.conninfo, autocommit=True, options=f"-c search_path={self.schema}"
        ) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []


class Kept(Claimed):
    """A claim whose transactions have one connection, as the engine's have."""

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        connection = _connection(self.database.conninfo)
        with connection.transaction():
            yield connection


@dataclass(slots=True)
class Process:
    """A process that answers calls, one after the other, each with its CPU time in all."""

    pipe: Connection
    process: Any

    def begin(self, *call: object) -> None:
        self.pipe.send(call)

    def ended(self) -> Any:
        answer = self.pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def call(self, *call: object) -> Any:
        self.begin(*call)
        return self.ended()


@dataclass(slots=True)
class DiskWorkers:
    """Nodes n1, n2, ... of one group, and the processes of each."""

    database: Database
    settings: dict[str, NodeSettings] = field(default_factory=dict)
    servers: dict[str, Process] = field(default_factory=dict)
    workers: dict[str, Process] = field(default_factory=dict)

    def operate(self, kind: str, options: dict[str, object]) -> None:
        """Plan an operation, and let each node's worker run its subtasks; all nodes at once."""
        planning = Kept(self.database, "n1", self.settings["n1"], options=options)
        planned = KINDS[kind]().plan(planning).subtasks
        busy = []
        for each in planned:
            worker = self.workers[each.node or "n1"]
            worker.begin("run", kind, options, each.entity, dict(each.argument))
            busy.append(worker)
        for worker in busy:
            worker.ended()

    def cpu_s(self) -> float:
        """Return the CPU time of this process and of all processes of the nodes."""
        others = (*self.servers.values(), *self.workers.values())
        return time.process_time() + sum(each.call("cpu") for each in others)

    def memory_mib(self) -> dict[str, int]:
        """Return the largest resident size of any server, and of any worker."""
        return {
            "server_mib": max(each.call("memory") for each in self.servers.values()),
            "worker_mib": max(each.call("memory") for each in self.workers.values()),
        }


@contextmanager
def disk_workers(database: Database, folder: Path, count: int) -> Iterator[DiskWorkers]:
    """Start the nodes, each with one disk; end their processes afterwards."""
    database.query("INSERT INTO group_record (group_id) VALUES (%s)", GROUP)
    made = DiskWorkers(database)
    try:
        for number in range(1, count + 1):
            name = f"n{number}"
            root = folder / name
            root.mkdir(parents=True)
            made.settings[name] = NodeSettings(
                task_id=name,
                group_id=GROUP,
                database=DatabaseSettings(conninfo=database.conninfo, schema=database.schema),
                checkpoints=CheckpointSettings(
                    rows_max=0, disks=(f"file://{root}",), listen="127.0.0.1:0"
                ),
            )
            database.query(
                "INSERT INTO health_check (group_id, task_id, session, last_heartbeat,"
                " liveness_ms, heartbeat_ms) VALUES (%s, %s, %s, now(), 3600000, 1000000)",
                *(GROUP, name, str(uuid.uuid4())),
            )
            made.servers[name] = _started(_serve, made.settings[name])
            made.workers[name] = _started(_work, database, name, made.settings[name])
        for process in (*made.servers.values(), *made.workers.values()):
            process.ended()
        yield made
    finally:
        everything: Sequence[Process] = (*made.servers.values(), *made.workers.values())
        for process in everything:
            process.pipe.close()
        for process in everything:
            process.process.join(10.0)


def peak_mib() -> int:
    """Return the largest resident size of this process; rusage has its parent's in it."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1]) >> 10


def _started(target: Any, *arguments: object) -> Process:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    return Process(ours, process)


def _serve(pipe: Connection, settings: NodeSettings) -> None:
    own_disks = OwnDisks(settings)
    own_disks.silent_s = 3_600.0
    with own_disks.open() as catalogue:
        own_disks.look(catalogue)
        served_by(settings, catalogue, own_disks.disks)
    pipe.send("ready")
    _answer(pipe, lambda *_: None)


def _work(pipe: Connection, database: Database, node: str, settings: NodeSettings) -> None:
    _connection(database.conninfo)
    pipe.send("ready")

    def run(kind: str, options: dict[str, object], entity: str, argument: object) -> None:
        claim = Kept(database, node, settings, options=options)
        claim.entity, claim.argument = entity, argument  # type: ignore[assignment]
        KINDS[kind]().run(claim)

    _answer(pipe, run)


def _answer(pipe: Connection, run: Any) -> None:
    while True:
        try:
            what, *arguments = pipe.recv()
        except EOFError:
            return
        if what == "cpu":
            pipe.send(time.process_time())
        elif what == "memory":
            pipe.send(peak_mib())
        else:
            try:
                pipe.send(run(*arguments))
            except Exception as error:  # noqa: BLE001 - it is told to the caller, who raises it
                pipe.send(error)


_OWN = threading.local()


def _connection(conninfo: str) -> psycopg.Connection[Any]:
    if not hasattr(_OWN, "opened"):
        _OWN.manager = driver.open_session(conninfo)
        _OWN.opened = _OWN.manager.__enter__()
    return _OWN.opened  # type: ignore[no-any-return]
