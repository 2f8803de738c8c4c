"""Groups that spread tasks over five nodes: coord's, and jobsync's."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bench import floor
from bench.measure import BenchError, boottime, pause
from bench.page.spread_history import STEP_MS
from bench.peers.entries import PEERS_PYTHON, ROOT
from coordinator.protocol.messages.group_record import TaskDef
from tests.support.nodes.processes import RunningNode
from tests.support.nodes.task_nodes import TaskBed, beacon, task_bed
from tests.support.servers.postgres import Server

NODES = tuple(f"node-{number}" for number in range(1, 6))
TASKS = tuple(f"task-{number:02}" for number in range(50))
JOBSYNC_NODE = Path(__file__).parents[1] / "peers" / "jobsync_node.py"
LOOK_S = 0.1
GROUP = "spread"


def wait(condition: Callable[[], bool], within_s: float, what: str) -> None:
    give_up_at = boottime() + within_s
    while not condition():
        if boottime() > give_up_at:
            raise BenchError(f"not within {within_s:g} s: {what}")
        pause(LOOK_S)


class Group(Protocol):
    """One way to spread tasks over nodes."""

    @property
    def record(self) -> Path:
        """Return the file into which the tasks' programs write."""
        ...

    def begin(self) -> None:
        """Start all nodes, and the tasks."""
        ...

    def start(self, node: str) -> None:
        """Start one node again."""
        ...

    def node(self, node: str) -> RunningNode:
        """Return a node's processes."""
        ...


@dataclass
class CoordGroup:
    """Contestant coord: real nodes with nothing set but what a line of the table says."""

    bed: TaskBed

    @property
    def record(self) -> Path:
        return self.bed.record

    def begin(self) -> None:
        for node in NODES:
            self.start(node)
        self.bed.wait_for_members(*NODES, within_s=60)
        self.bed.add(*(TaskDef(name=task, spec=self.bed.spec(STEP_MS)) for task in TASKS))

    def start(self, node: str) -> None:
        self.bed.member(node, "hostsTasks = true\n")

    def node(self, node: str) -> RunningNode:
        return self.bed.nodes[node]


@dataclass
class JobsyncGroup:
    """Five workers written with jobsync."""

    folder: Path
    database: floor.Database
    settings: Mapping[str, Any]  #: arguments of CoordinationConfig and Job
    nodes: dict[str, RunningNode] = field(default_factory=dict)

    @property
    def record(self) -> Path:
        return self.folder / "record"

    def begin(self) -> None:
        self.start(NODES[0])
        # Five that create the tables at one moment would meet each other's.
        made = "SELECT 1 WHERE to_regclass('idx_sync_rebalance_triggered') IS NOT NULL"
        wait(lambda: bool(self.database.query(made)), 30.0, "jobsync's tables")
        for node in NODES[1:]:
            self.start(node)

    def start(self, node: str) -> None:
        program = (str(beacon()), str(self.record), str(STEP_MS))
        python = str(ROOT / PEERS_PYTHON)
        words = (node, json.dumps({"config": self._config(), "job": self.settings["job"]}))
        log = self.folder / f"{node}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                (python, str(JOBSYNC_NODE), *words, ",".join(TASKS), *program),
                env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.nodes[node] = RunningNode(node, process, log)

    def node(self, node: str) -> RunningNode:
        return self.nodes[node]

    def _config(self) -> dict[str, Any]:
        # jobsync makes a URL of these words; by its query SQLAlchemy reaches a Unix socket.
        server = self.database.server
        where = f"{self.database.name}?host={server.sockets}&port={server.port}"
        return {"dbname": where, "user": "coord", **self.settings["config"]}


# --- who takes part ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A column of the table: the settings that were changed from their defaults, and only those."""

    key: str
    title: str
    settings: Mapping[str, Any]
    needs: tuple[str, ...] = ()

    @contextmanager
    def group(self, server: Server) -> Iterator[Group]:
        """Make it on a fresh database, and leave nothing running behind it."""
        with tempfile.TemporaryDirectory(prefix="coord-bench-") as home:
            folder = Path(home)
            if "config" in self.settings:
                database = floor.new_database(server, migrated=False)
                peers = JobsyncGroup(folder, database, self.settings)
                try:
                    yield peers
                finally:
                    for node in peers.nodes.values():
                        node.end()
                return
            database = floor.new_database(server)
            with task_bed(folder, database.conninfo, floor.SCHEMA, GROUP) as bed:
                bed.liveness_s = self.settings["livenessCheckInterval"]
                bed.heartbeat_s = self.settings["heartbeatFrequency"]
                yield CoordGroup(bed)

    def words(self) -> str:
        """Return the settings as a person would write them."""
        said = {**self.settings, **self.settings.get("config", {}), **self.settings.get("job", {})}
        flat = [f"{key} {value:g}" for key, value in said.items() if not isinstance(value, Mapping)]
        return ", ".join(flat) or "nothing changed"


#: Its intervals are whole seconds and nothing is refused: these are the shortest of those, and a
#: node is dead after three heartbeats, as by default.
EACH_SECOND = {
    "heartbeat_interval_sec": 1,
    "heartbeat_timeout_sec": 3,
    "dead_node_check_interval_sec": 1,
    "rebalance_check_interval_sec": 1,
    "token_refresh_initial_interval_sec": 1,
    "token_refresh_steady_interval_sec": 1,
    "health_check_interval_sec": 1,
}
JOBSYNC_NEEDS = ("gcc", PEERS_PYTHON)


def entries(*, quick: bool) -> tuple[Entry, ...]:
    """Return who is measured; quick: a start of jobsync with its defaults takes 10 s, not 120."""
    patience = {"wait_on_enter": 10} if quick else {}
    return (
        Entry(
            key="coord",
            title="coord",
            settings={"livenessCheckInterval": 6, "heartbeatFrequency": 1},
            needs=("gcc",),
        ),
        Entry(
            key="coord-quick",
            title="coord, liveness 3 s",
            settings={"livenessCheckInterval": 3, "heartbeatFrequency": 0.5},
            needs=("gcc",),
        ),
        Entry(
            key="jobsync",
            title="jobsync, defaults" + (" but for its start" if quick else ""),
            settings={"config": {}, "job": patience},
            needs=JOBSYNC_NEEDS,
        ),
        Entry(
            key="jobsync-quick",
            title="jobsync, each second",
            settings={"config": EACH_SECOND, "job": {"wait_on_enter": 0}},
            needs=JOBSYNC_NEEDS,
        ),
    )
