"""Group of real nodes for one test: see who holds the token, and hurt whoever you like."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg import sql

from coordinator.app.api.coordinator import Coordinator
from coordinator.app.config.settings import DEFAULT_SCHEMA
from coordinator.testing.nodes.link import Link
from coordinator.testing.nodes.node import RealNode

T = TypeVar("T")

#: Bound on every wait of a group, for a machine that has much else to do.
WITHIN_S = 60.0
LOOK_EVERY_S = 0.05
#: A program that goes on until it is told to end.
REST = ("/bin/sh", "-c", "while :; do sleep 0.1; done")
HOLDER = sql.SQL(
    "SELECT task_id, term FROM {}.token_holder WHERE group_id = %s AND session IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Holder:
    """Node that holds the group's token, and the term of its holding."""

    node: str
    term: int


class CoordGroup:
    """Nodes `node-1`, `node-2` and so on, which run one program, on a real database.

    Attributes:
    group_id:     the name of the group, which no other test has.
    database_url: the database, for connections of the test's own.
    path:         the folder in which the nodes and their programs run.
    """

    def __init__(
        self,
        conninfo: str,
        group_id: str,
        path: Path,
        *,
        command: Sequence[str] = REST,
        heartbeat_frequency: float = 0.5,
        liveness_check_interval: float = 3.0,
        options: Sequence[str] = (),
    ) -> None:
        self.database_url, self.group_id, self.path = conninfo, group_id, path
        self._command, self._options = tuple(command), tuple(options)
        self._intervals = (heartbeat_frequency, liveness_check_interval)
        self._nodes: dict[str, RealNode] = {}
        self._links: list[Link] = []
        self._coordinators: list[Coordinator] = []

    # --- nodes ----------------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes that were started and not killed, in the order of their start."""
        return tuple(self._nodes)

    def start(self, count: int = 1) -> None:
        """Start more nodes, each as `coord run -- COMMAND`."""
        heartbeat, liveness = self._intervals
        arguments = [
            *("--group", self.group_id, "--log-format", "text", "--require-database"),
            *("--heartbeat-frequency", f"{heartbeat:g}"),
            *("--liveness-check-interval", f"{liveness:g}"),
            *(*self._options, "--", *self._command),
        ]
        foreign = ("COORD_", "PG")
        environ = {key: text for key, text in os.environ.items() if not key.startswith(foreign)}
        for _ in range(count):
            link = Link(self.database_url)
            self._links.append(link)
            name = f"node-{len(self._links)}"
            self._nodes[name] = RealNode(name, arguments, environ, link, self.path)

    def log(self, node: str) -> str:
        """Return what a node and its program have written so far, also of a killed one."""
        return (self.path / f"{node}.log").read_text(errors="replace")

    def holder(self, *, after: int = 0) -> Holder:
        """Return who holds the token; wait until somebody does, under a term above `after`.

        Errors: AssertionError with the logs of all nodes when nobody does in time.
        """

        def held() -> Holder | None:
            row = self._row()
            return Holder(*row) if row is not None and row[1] > after else None

        return self.wait_for(held, f"a holder with a term above {after}")

    def coordinator(self, task_id: str = "test") -> Coordinator:
        """Return a coordinator of this group, for tokens that the test holds itself.

        It is closed with the group.
        """
        heartbeat, liveness = self._intervals
        made = Coordinator(
            group_id=self.group_id,
            task_id=task_id,
            database_url=self.database_url,
            heartbeat_frequency=heartbeat,
            liveness_check_interval=liveness,
        )
        self._coordinators.append(made)
        return made

    def wait_for(self, fact: Callable[[], T | None], what: str) -> T:
        """Ask again and again until the answer is true, and return it.

        Errors: AssertionError with the logs of all nodes when that takes too long.
        """
        pause, give_up_at = threading.Event(), time.monotonic() + WITHIN_S
        while True:
            found = fact()
            if found:
                return found
            if time.monotonic() > give_up_at:
                logs = "".join(f"\n--- {name}\n{self.log(name)}" for name in self._nodes)
                raise AssertionError(f"not within {WITHIN_S:g} s: {what}{logs}")
            pause.wait(LOOK_EVERY_S)

    # --- faults ---------------------------------------------------------------------------------

    def kill_holder(self) -> Holder:
        """Kill all processes of the holder at once; return who it was."""
        victim = self.holder()
        self.kill(victim.node)
        return victim

    def kill(self, node: str) -> None:
        """Kill all processes of a node at once, the program too, as a power cut does."""
        self._nodes.pop(node).kill()

    @contextmanager
    def freeze(self, node: str | None = None) -> Iterator[Holder]:
        """Let a node, the holder if none is named, stand still for the body of a `with`.

        Its program stands still, too. Yields who held the token before.
        """
        before, stopped = self._victim(node)
        stopped.freeze()
        try:
            yield before
        finally:
            stopped.thaw()

    @contextmanager
    def cut(self, node: str | None = None) -> Iterator[Holder]:
        """Cut a node, the holder if none is named, off from the database in a `with`.

        Nothing passes and nothing is closed, as when a cable is pulled. Yields who held the token
        before.
        """
        before, cut_off = self._victim(node)
        cut_off.link.cut()
        try:
            yield before
        finally:
            cut_off.link.heal()

    def end(self) -> None:
        """End all nodes."""
        for coordinator in self._coordinators:
            coordinator.close()
        for link in self._links:
            link.heal()
        for node in self._nodes.values():
            node.end()
        for link in self._links:
            link.close()

    def _victim(self, node: str | None) -> tuple[Holder, RealNode]:
        before = self.holder()
        return before, self._nodes[node or before.node]

    def _row(self) -> tuple[str, int] | None:
        with (
            suppress(psycopg.errors.UndefinedTable),
            psycopg.connect(self.database_url) as connection,
        ):
            cursor = connection.execute(
                HOLDER.format(sql.Identifier(DEFAULT_SCHEMA)), (self.group_id,)
            )
            found: tuple[str, int] | None = cursor.fetchone()
            return found
        return None
