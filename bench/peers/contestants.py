"""Contestants of the failover matrix: coord, and what a user would pick instead.

A contestant starts nodes around one and the same program (the recorder), names their processes,
and says when all of them stand ready. What it has no process for, it is not hurt in.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psycopg

from bench.measure import BenchError, Run, Tail, boottime
from bench.parts.startup import settled
from tests.support.networks.machines import Network
from tests.support.nodes.processes import RECORDER, Bed, descendants

NAMES = ("node-1", "node-2", "node-3")
LIVENESS_S, HEARTBEAT_S = 3.0, 0.5
#: The recorder reports progress ten times a second; a program that stands still is found out.
PROGRESS = ("--progress-timeout", "1")
END_S = 5.0
#: A lock script says to nobody that it waits; after so long it has asked once.
ASKED_S = 2.0


class Contestant(Protocol):
    """One way to keep one program running on three nodes."""

    tail: Tail
    last_beat: bool  #: true if a node's last beat can be read

    def start(self, node: str) -> None:
        """Start a node that is not there, or has ended."""
        ...

    def pids(self, node: str) -> dict[str, int]:
        """Return the node's processes by name; `agent` is the one that holds the lock."""
        ...

    def alive(self, node: str) -> bool:
        """Say whether the node's first process lives."""
        ...

    def ready(self) -> Run | None:
        """Return the one running program when every node stands ready; else None."""
        ...

    def command_of(self, node: str) -> tuple[list[str], dict[str, str]]:
        """Return the command and the environment with which a node is started."""
        ...

    def stands_by(self, node: str) -> bool:
        """Say whether a node that was started here lives and waits for the lock."""
        ...

    def leave(self, node: str) -> None:
        """End a node that was started here, with its program."""
        ...

    def last_beat_wall(self, node: str) -> float:
        """Return the moment of a node's last heartbeat by the server's clock."""
        ...

    def end(self) -> None:
        """Leave nothing running."""
        ...


@dataclass
class Coord:
    """Contestant coord: real nodes on a fresh database."""

    bed: Bed
    net: Network | None = None
    observer: psycopg.Connection[tuple[object, ...]] | None = None
    last_beat: bool = True
    tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self.tail = Tail(self.bed.record)

    def start(self, node: str) -> None:
        with at_node(self.net, node):
            self.bed.start(node, *PROGRESS)

    def pids(self, node: str) -> dict[str, int]:
        return self.bed.nodes[node].family()

    def alive(self, node: str) -> bool:
        return self.bed.nodes[node].process.poll() is None

    def ready(self) -> Run | None:
        if self.net is None:
            return settled(self.bed, self.tail)
        outside = Bed(self.bed.path, self.observer.info.dsn, self.bed.schema)  # type: ignore[union-attr]
        outside.nodes, outside.heartbeat_s = self.bed.nodes, self.bed.heartbeat_s
        return settled(outside, self.tail)

    def command_of(self, node: str) -> tuple[list[str], dict[str, str]]:
        return self.bed.command_of(node, *PROGRESS)

    def stands_by(self, node: str) -> bool:
        return self.bed.nodes[node].stands_by()

    def leave(self, node: str) -> None:
        self.bed.nodes[node].end()

    def last_beat_wall(self, node: str) -> float:
        assert self.observer is not None
        row = self.observer.execute(
            "SELECT extract(epoch FROM last_heartbeat)::float8 FROM health_check"
            " WHERE task_id = %s",
            [node],
        ).fetchone()
        assert row is not None
        return float(str(row[0]))

    def end(self) -> None:
        self.bed.end()
        if self.observer is not None:
            self.observer.close()


@dataclass
class Wrapped:
    """A peer: one process that takes a lock and runs the program as its child."""

    folder: Path
    command: tuple[str, ...]  #: the program is appended
    net: Network | None = None
    environ: dict[str, str] = field(default_factory=dict)
    last_beat: bool = False
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started_at: dict[str, float] = field(default_factory=dict)
    tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self.record = self.folder / "record"
        self.tail = Tail(self.record)

    def start(self, node: str) -> None:
        command, env = self.command_of(node)
        with (self.folder / f"{node}.log").open("ab") as log, at_node(self.net, node):
            self.nodes[node] = subprocess.Popen(
                command,
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started_at[node] = boottime()

    def pids(self, node: str) -> dict[str, int]:
        locker = self.nodes[node].pid
        found = {"agent": locker}
        for pid in descendants(locker):
            found["program"] = pid
        return found

    def alive(self, node: str) -> bool:
        return self.nodes[node].poll() is None

    def ready(self) -> Run | None:
        running = self.tail.running()
        whole = len(running) == 1 and all(map(self.stands_by, self.nodes))
        return running[0] if whole else None

    def command_of(self, node: str) -> tuple[list[str], dict[str, str]]:
        program = (sys.executable, "-S", str(RECORDER), str(self.record))
        env = {**os.environ, **self.environ, "COORD_NODE": node, "COORD_TERM": "0"}
        return [*self.command, *program], env

    def stands_by(self, node: str) -> bool:
        return self.alive(node) and boottime() - self.started_at[node] > ASKED_S

    def leave(self, node: str) -> None:
        self._end([node])

    def last_beat_wall(self, node: str) -> float:
        raise BenchError(f"{node} has no heartbeats that could be read")

    def end(self) -> None:
        self._end(list(self.nodes))
        for run in self.tail.running(within_s=1.0):
            _kill(run.pid)

    def _end(self, nodes: list[str]) -> None:
        """Kill nodes all at once, so that none of them gets the lock of another; then collect."""
        # Of one that was collected the number may be another's by now.
        left = [pid for node in nodes if self.alive(node) for pid in self.pids(node).values()]
        for pid in left:
            _kill(pid)
        for node in nodes:
            self.nodes[node].wait(END_S)


def at_node(net: Network | None, node: str) -> AbstractContextManager[None]:
    """Enter the network namespace of a node, if nodes have one."""
    return nullcontext() if net is None else net.inside(node)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return
