"""Group of real nodes on the embedded server, for `coord demo`, which kills one now and then.

The nodes are ordinary `coord run` processes. They get a group of their own, so that nothing else
on the embedded server is touched, and they end when this process ends, whatever ends it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from coordinator.app.admin.page.process import PageProcess, installed
from coordinator.app.admin.status import GroupLine, Status, StatusReader, Takeover
from coordinator.app.config.database_choice import Resolved
from coordinator.app.config.settings import DEFAULT_SCHEMA
from coordinator.errors import CoordError, NotFoundError
from coordinator.runtime.linux import interpreter
from coordinator.runtime.linux.processes import Seen, descendants, everyone, look
from coordinator.runtime.linux.syscalls import set_death_signal

SCHEMA = DEFAULT_SCHEMA
HEARTBEAT_S = 1.0
LIVENESS_S = 3.0
#: A takeover is late if it begins later than this after the last heartbeat.
BOUND_S = LIVENESS_S + HEARTBEAT_S + 0.1
#: Time for all nodes to leave after SIGTERM.
LEAVE_TIMEOUT_S = 5.0
#: One request to the database.
ASK_TIMEOUT_S = 5.0
#: The program of the holder: it prints a line each second.
PROGRAM = (
    "n=0; while :; do n=$((n+1));"
    ' echo "$COORD_NODE works: term $COORD_TERM, step $n"; sleep 1; done'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Death of a whole node."""

    node: str
    term: int
    at: datetime  #: by the server's clock, just before
    processes: int


@dataclass(slots=True)
class _Node:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Demo:
    """Nodes and the server that they share; use it as a context manager."""

    def __init__(self, count: int) -> None:
        self.names = tuple(f"node-{number}" for number in range(1, count + 1))
        self.group = f"demo-{os.getpid()}"
        self._nodes: dict[str, _Node] = {}
        self._home = Path(tempfile.mkdtemp(prefix="coord-demo-"))
        self._reader: StatusReader | None = None
        self._started_server = False
        self._page: PageProcess | None = None

    def __enter__(self) -> Demo:
        """Start the server unless it is running, then all nodes.

        Errors: ConfigError, DatabaseUnreachableError of the embedded server.
        """
        from coordinator.store.embedded import server as embedded
        from coordinator.store.schema import migrate

        try:
            self._started_server = embedded.status() is None
            self.server = embedded.start()
            self._conninfo = self.server.conninfo
            migrate.upgrade(self._conninfo, SCHEMA)
            for name in self.names:
                self.start(name)
            self._reader = StatusReader(self._resolved(), schema=SCHEMA, timeout_s=ASK_TIMEOUT_S)
            if installed():
                self._page = PageProcess(self.group, self._home, self._environment())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all nodes, delete the group, and stop the server if it was started here."""
        with contextlib.suppress(CoordError):
            self._leave()
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self, name: str) -> None:
        """Start one node."""
        coord = interpreter.command("coordinator.cli")
        options = [
            *("--group", self.group, "--task-id", name, "--log-format", "text"),
            *("--heartbeat-frequency", f"{HEARTBEAT_S:g}"),
            *("--liveness-check-interval", f"{LIVENESS_S:g}"),
        ]
        path = self._home / f"{name}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                [*coord, "run", *options, "--", "/bin/sh", "-c", PROGRAM],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,  # no Config.toml
                env=self._environment(),
                start_new_session=True,  # Ctrl-C reaches the demonstration only
                preexec_fn=_end_with_parent,
            )
        self._nodes[name] = _Node(name, process, path)

    def page_address(self) -> str:
        """Return the address of the page; empty before there is one, or without the extra."""
        return "" if self._page is None else self._page.address()

    def read(self) -> tuple[Status, GroupLine | None]:
        """Read the group from the database; None before a node has joined."""
        assert self._reader is not None, "the demonstration is entered"
        try:
            status = self._reader.status(self.group)
        except NotFoundError:
            return Status(server=self._reader.server(), groups=()), None
        return status, status.groups[0]

    def kill(self, group: GroupLine) -> Kill:
        """Kill every process of the holder at once, as a power cut would."""
        assert self._reader is not None, "the demonstration is entered"
        assert group.holder is not None, "a node is active"
        at = self._reader.server().server_time
        victim = self._nodes[group.holder].process
        processes = _kill_tree(victim.pid)
        victim.wait()
        return Kill(node=group.holder, term=group.term, at=at, processes=processes)

    def takeover_after(self, kill: Kill) -> Takeover | None:
        """Return the first term after a kill; None before there is one."""
        assert self._reader is not None, "the demonstration is entered"
        takeovers = self._reader.history(self.group).takeovers
        later = [each for each in takeovers if each.term > kill.term]
        return later[-1] if later else None

    def ended(self) -> list[str]:
        """Name the nodes that ended by themselves."""
        return [node.name for node in self._nodes.values() if node.process.poll() is not None]

    def last_line(self, name: str) -> str:
        """Return the last line that a node or its program wrote."""
        node = self._nodes.get(name)
        if node is None:
            return ""
        lines = node.log.read_text(errors="replace").splitlines()
        # A node's line begins with a time, which the display shows itself.
        return lines[-1].rpartition(" coord: ")[2] if lines else ""

    def _resolved(self) -> Resolved:
        label = f"embedded PostgreSQL {self.server.version}"
        return Resolved(conninfo=self._conninfo, label=label, scope="this-machine")

    def _environment(self) -> dict[str, str]:
        """Return this process's environment without the settings of the user's own nodes."""
        ours = {
            key: value for key, value in os.environ.items() if not key.startswith(("COORD_", "PG"))
        }
        return ours | {"COORD_DATABASE_URL": self._conninfo, "PYTHONUNBUFFERED": "1"}

    def _leave(self) -> None:
        page = [] if self._page is None else [self._page.process]
        _end([*page, *(node.process for node in self._nodes.values())])
        if self._reader is not None:
            self._reader.close()
        if not hasattr(self, "server"):
            return
        from coordinator.store.admin.demo import count_other_clients, forget_group
        from coordinator.store.embedded import server as embedded

        with contextlib.suppress(CoordError):  # a schema that was refused has nothing of it
            forget_group(self._conninfo, SCHEMA, self.group)
        if self._started_server and count_other_clients(self._conninfo) == 0:
            embedded.stop()


def _end_with_parent() -> None:
    """Let a new node get SIGTERM when the demonstration dies; called in the child."""
    set_death_signal(signal.SIGTERM)


def _kill_tree(root: int) -> int:
    """SIGKILL a process and all its descendants; return their number.

    They are stopped first: otherwise a survivor would see another die and end the node's session in
    the database within a few ms, which a machine without power cannot do.
    """
    seen = look(root)
    tree: dict[int, Seen] = {} if seen is None else {root: seen}
    tree |= descendants(everyone(), [root])
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        _signal_all(tree, signum)
    return len(tree)


def _signal_all(pids: Iterable[int], signum: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask the nodes to leave, all at once; kill those that have not left in time."""
    living = [process for process in processes if process.poll() is None]
    waits = {os.pidfd_open(process.pid): process for process in living}
    for process in living:
        process.terminate()
    poll = select.poll()
    for descriptor in waits:
        poll.register(descriptor, select.POLLIN)
    left_ms = LEAVE_TIMEOUT_S * 1000
    while waits and left_ms > 0:
        ready = poll.poll(left_ms)
        if not ready:
            break
        for descriptor, _ in ready:
            poll.unregister(descriptor)
            os.close(descriptor)
            waits.pop(descriptor).wait()
    for descriptor, process in waits.items():
        os.close(descriptor)
        _kill_tree(process.pid)
        process.wait()
