"""Task spreading: nodes die, come back and leave; coord and jobsync on the same server.

Everybody gets the same server, the same program (the beacon), and the same count of what it wrote.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bench import floor
from bench.measure import BenchError, Figures, boottime, pause, summary
from bench.page import spread_history
from bench.page.spread_history import STEP_MS, Change, Record
from bench.peers.contestants import PEERS_PYTHON, ROOT, lacking
from coordinator.protocol.messages.group_record import TaskDef
from tests.support.nodes.processes import RunningNode
from tests.support.nodes.task_nodes import TaskBed, TaskRun, beacon, task_bed
from tests.support.servers.postgres import Server

NODES = tuple(f"node-{number}" for number in range(1, 6))
TASKS = tuple(f"task-{number:02}" for number in range(50))
JOBSYNC_NODE = Path(__file__).with_name("jobsync_node.py")
#: jobsync with its defaults takes two minutes to start, and half a minute for most other things.
CHANGE_MAX_S = 300.0
#: Nothing has begun for so long: longer than anybody here waits between two looks at its tasks.
QUIET_S = 10.0
LOOK_S = 0.1
END_S = 15.0
GROUP = "spread"
CHANGES = ("killed", "returned", "left")


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
        _wait(lambda: bool(self.database.query(made)), 30.0, "jobsync's tables")
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


# --- measuring --------------------------------------------------------------------------------


def spreading(
    server: Server, *, runs: int, quick: bool, only: tuple[str, ...] | None = None
) -> Figures:
    """Return {entry: {change: figures}}; a reason in the place of what cannot be."""
    found: Figures = {"nodes": len(NODES), "tasks": len(TASKS), "entries": {}}
    for entry in entries(quick=quick):
        if only is not None and entry.key not in only:
            continue
        about: Figures = {"title": entry.title, "settings": entry.words()}
        missing = lacking(entry.needs)
        found["entries"][entry.key] = about | (
            {"skipped": missing} if missing else _tried(server, entry, runs)
        )
    return found


def merged(before: Figures, now: Figures) -> Figures:
    """Keep the entries that were not measured this time, in the order of the table."""
    known = {**before.get("entries", {}), **now["entries"]}
    order = [entry.key for entry in entries(quick=False) if entry.key in known]
    return now | {"entries": {key: known[key] for key in order}}


def _tried(server: Server, entry: Entry, runs: int) -> Figures:
    """Measure one entry; what goes wrong in it is its figure, and the others go on."""
    try:
        return _figures([_run(server, entry, number) for number in range(runs)])
    except (BenchError, AssertionError, OSError) as error:
        return {"skipped": f"failed: {str(error).splitlines()[0]}"}


@dataclass(frozen=True, slots=True)
class Told:
    """One run: what each change did, and how even the tasks were before all of them."""

    changes: Mapping[str, Change]
    evenness: float


def _run(server: Server, entry: Entry, number: int) -> Told:
    """Kill a node, start it again, and let another leave; each time wait until nothing moves.

    Every node has its turn: some of them lead or observe.
    """
    print(f"bench: spreading: {entry.key}, run {number + 1}", file=sys.stderr, flush=True)
    victim, leaver = NODES[number % len(NODES)], NODES[(number + 2) % len(NODES)]
    with entry.group(server) as group:
        watch = Watch(Record(group.record))
        group.begin()
        watch.settle()
        even = spread_history.evenness(watch.record.read(), len(NODES), boottime())

        at = boottime()
        group.node(victim).send(signal.SIGKILL, "all")
        killed = spread_history.left(watch.moved(victim, at), victim, at, boottime())

        group.node(victim).process.wait(END_S)
        at = boottime()
        group.start(victim)
        back = spread_history.returned(watch.came(victim, at), victim, at, boottime())

        at = boottime()
        group.node(leaver).process.terminate()
        gone = spread_history.left(watch.moved(leaver, at), leaver, at, boottime())
    return Told(dict(zip(CHANGES, (killed, back, gone), strict=True)), even)


@dataclass(frozen=True)
class Watch:
    """Waits for what happens to the tasks; gives up after CHANGE_MAX_S, which the figures show."""

    record: Record

    def settle(self) -> None:
        """Wait until each task runs exactly once and nothing has moved for a while."""
        what = "each task runs exactly once, and nothing moves"
        _wait(self._settled, CHANGE_MAX_S, what)

    def moved(self, node: str, at: float) -> list[TaskRun]:
        """Wait until what ran on the node runs elsewhere and nothing moves; return all runs."""
        return self._calm(lambda: spread_history.moved(self.record.read(), node, at))

    def came(self, node: str, at: float) -> list[TaskRun]:
        """Wait until the node runs something and nothing moves; return all runs."""
        return self._calm(
            lambda: any(run.node == node and run.first > at for run in self.record.read())
        )

    def _calm(self, happened: Callable[[], bool]) -> list[TaskRun]:
        give_up_at = boottime() + CHANGE_MAX_S
        while boottime() < give_up_at and not (happened() and self._settled()):
            pause(LOOK_S)
        return self.record.read()

    def _settled(self) -> bool:
        return spread_history.settled(self.record.read(), len(TASKS), boottime(), QUIET_S)


def _wait(condition: Callable[[], bool], within_s: float, what: str) -> None:
    give_up_at = boottime() + within_s
    while not condition():
        if boottime() > give_up_at:
            raise BenchError(f"not within {within_s:g} s: {what}")
        pause(LOOK_S)


def _figures(told: list[Told]) -> Figures:
    """Return the summary of an entry."""
    found: Figures = {"runs": len(told), "evenness": summary([each.evenness for each in told])}
    for name in CHANGES:
        changes = [each.changes[name] for each in told]
        found[name] = {
            "never": sum(change.done_s is None for change in changes),
            "done": summary([change.done_s for change in changes if change.done_s is not None]),
            "gap": summary([change.gap_s for change in changes]),
            "twice": sum(change.twice for change in changes),
            "twice_s_max": max((change.twice_s for change in changes), default=0.0),
            "needless": sum(change.needless for change in changes),
            "changes": [asdict(change) for change in changes],
        }
    return found
