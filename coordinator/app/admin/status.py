"""Views of groups, nodes and takeovers for people, as plain values."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from coordinator.app.admin.planned_lines import PlannedLine
from coordinator.app.admin.planned_lines import line_of as planned_line
from coordinator.app.admin.primaries import Primaries, Primary
from coordinator.app.config.database_choice import Resolved
from coordinator.errors import NotFoundError
from coordinator.protocol.rules.restarts import CRASH_LOOP
from coordinator.store.admin import queries as store
from coordinator.store.admin.connection import AdminConnection, Row
from coordinator.store.admin.task_queries import TASK_HOSTS
from coordinator.store.driver.connect import VERSION_MIN_SAID

#: Row of each node that runs tasks, by group and node.
Hosts = Mapping[tuple[str, str], Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Server that answered."""

    label: str
    scope: str  #: "server" or "this-machine"
    revision: str  #: of the schema
    server_time: datetime
    round_trip_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLine:
    """One node of a group; ages by the server's clock."""

    node: str
    role: str  #: "active" or "standby"; of a task group the node's standing
    state: str  #: "ok", "late", "dead" or "ended"
    beat_age_s: float | None
    lease_left_s: float | None  #: of the active node alone
    heartbeat_s: float
    liveness_s: float
    host: str | None
    pid: int | None
    version: str | None
    priority: int
    standing: str
    config_hash: str | None
    isolation: str | None
    uptime_s: float | None
    end_reason: str | None
    task_count: int | None = None  #: tasks that it holds; None in a group of one program
    observer: bool = False
    ready: bool | None = None  #: it may run tasks; None in a group of one program
    program_ready: bool | None = None  #: the program of a standby waits at its gate
    address: str | None = None  #: for others, to reach it
    clock_offset_s: float | None = None  #: of its machine ahead of the database, when told last


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Wait of a group after a failover: no node takes a token before it is over (rule E3)."""

    timeline: int
    why: str  #: "failover" or "restart", as the log of the nodes has it
    left_s: float | None  #: at least; None: no live node is waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookLine:
    """Webhook that has not taken the next event of its group: since when, how often, and why."""

    failed_count: int
    failing_s: float
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLine:
    """One group; `holder` is None unless it is active.

    In a task group the observer counts as the holder: without one, dead sessions are not ended.
    """

    group: str
    state: str  #: "active", "leaderless" or "idle"
    holder: str | None
    term: int
    since: datetime | None
    since_age_s: float | None
    standby_count: int
    beat_age_s: float | None
    lease_left_s: float | None
    leaderless_s: float | None
    wait: Wait | None
    nodes: tuple[NodeLine, ...]
    hosts_tasks: bool = False
    last_holder: str | None = None  #: the holder, or the last one
    end_reason: str = ""  #: of the last term, if it has ended
    planned: tuple[PlannedLine, ...] = ()  #: asked for by administrators, and open
    next_start_s: float | None = None  #: of a program in a crash loop
    webhook: WebhookLine | None = None  #: None: it takes what it is sent, or there is none
    paused: str = ""  #: kind of the pause, who asked for it and why; empty: none

    @property
    def holder_address(self) -> str | None:
        """Return where others reach the holder; None: there is none, or none is known."""
        return next((it.address for it in self.nodes if it.node == self.holder), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All groups, or the one that was asked for.

    primaries: hosts of the database that take writes; None: it has only one address.
    """

    server: Server
    groups: tuple[GroupLine, ...]
    primaries: tuple[Primary, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """One term: its holder, the one before, and the gap between them in which none was active."""

    group: str
    term: int
    acquired_at: datetime
    age_s: float
    ended_at: datetime | None
    previous: str | None
    node: str
    how: str
    reason: str | None
    end_how: str | None
    end_reason: str | None
    gap_s: float | None
    detected_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The terms of all groups, or of the one that was asked for, newest first."""

    server: Server
    takeovers: tuple[Takeover, ...]


class StatusReader:
    """Connection that reads groups, nodes and takeovers for people; close it after use."""

    __slots__ = ("_database", "_resolved", "_revision")

    def __init__(self, resolved: Resolved, *, schema: str, timeout_s: float) -> None:
        self._resolved = resolved
        self._database = AdminConnection(resolved.conninfo, schema, resolved.label, timeout_s)
        try:
            self._revision = self._database.revision()
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def on(cls, database: AdminConnection, resolved: Resolved) -> Self:
        """Return a reader on a connection that is open."""
        reader = cls.__new__(cls)
        reader._resolved, reader._database = resolved, database
        reader._revision = database.revision()
        return reader

    def status(self, group: str | None = None, *, primaries: bool = True) -> Status:
        """Return all groups, or one; primaries: the other hosts of the database are asked, too.

        Errors: NotFoundError if there is no such group.
        """
        asked = Primaries(self._resolved.conninfo) if primaries else None
        groups, nodes, hosts, planned, webhooks = self._database.read_all(
            *(store.GROUPS, store.NODES, TASK_HOSTS, store.PLANNED, store.WEBHOOKS),
            group_id=group,
            id=None,
        )
        if group is not None and not groups:
            raise NotFoundError(f"there is no group {group!r} in {self._resolved.label}")
        known = {(row["group_id"], row["task_id"]): row for row in hosts}
        open_changes = tuple(map(planned_line, planned))
        late = {row.pop("group_id"): WebhookLine(**row) for row in webhooks}
        lines = tuple(
            replace(_group(row, nodes, known, open_changes), webhook=late.get(row["group_id"]))
            for row in groups
        )
        seen = None if asked is None else asked.found()
        return Status(server=self.server(), groups=lines, primaries=seen)

    def history(self, group: str | None = None, *, since_s: float | None = None) -> History:
        """Return the terms that began in the last `since_s` seconds, or all.

        Errors: NotFoundError if there is no such group.
        """
        rows, known = self._database.read_all(
            store.HISTORY, store.KNOWN, group_id=group, since_s=since_s
        )
        if group is not None and not rows and not known[0]["exists"]:
            raise NotFoundError(f"there is no group {group!r} in {self._resolved.label}")
        return History(server=self.server(), takeovers=tuple(Takeover(**row) for row in rows))

    def server(self) -> Server:
        """Ask the server for its time, and measure the round trip."""
        asked_at = time.monotonic()
        server_time = self._database.server_time()
        return Server(
            label=self._resolved.label,
            scope=self._resolved.scope,
            revision=self._revision,
            server_time=server_time,
            round_trip_s=time.monotonic() - asked_at,
        )

    def remarks(self) -> list[str]:
        """Return sentences about the server and the schema that an operator should read."""
        version = (
            f"PostgreSQL {self._database.version()}; coord supports {VERSION_MIN_SAID} and later"
        )
        return [version, *self._database.remarks()]

    def close(self) -> None:
        """Close the connection."""
        self._database.close()


def _group(
    row: Row, nodes: Iterable[Row], hosts: Hosts, planned: Iterable[PlannedLine]
) -> GroupLine:
    return GroupLine(
        group=row["group_id"],
        state=row["state"],
        holder=row["task_id"],
        term=row["term"],
        since=row["since"],
        since_age_s=row["since_age_s"],
        standby_count=row["standby_count"],
        beat_age_s=row["beat_age_s"],
        lease_left_s=row["lease_left_s"],
        leaderless_s=row["leaderless_s"],
        wait=_wait(row),
        hosts_tasks=bool(row["hosts_tasks"]),
        last_holder=row["last_task_id"],
        end_reason=row["end_reason"] or "",
        planned=tuple(each for each in planned if each.group == row["group_id"]),
        next_start_s=_next_start_s(row),
        paused=row["paused"] or "",
        nodes=tuple(
            _node(node, hosts.get((node["group_id"], node["task_id"])))
            for node in nodes
            if node["group_id"] == row["group_id"]
        ),
    )


def _next_start_s(row: Row) -> float | None:
    """Return when a program in a crash loop is started again on the node that gave it up last."""
    looping = (row["end_reason"] or "").startswith(CRASH_LOOP) and row["state"] == "leaderless"
    if not looping or row["ended_age_s"] is None or row["pause_s"] is None:
        return None
    return max(0.0, float(row["pause_s"]) - float(row["ended_age_s"]))


def _wait(row: Row) -> Wait | None:
    if row["unsettled_timeline"] is None:
        return None
    why = "restart" if row["restarted"] else "failover"
    left_s = None if row["wait_s"] is None else max(0.0, row["wait_s"])
    return Wait(timeline=row["unsettled_timeline"], why=why, left_s=left_s)


def _ready(row: Row, host: Row) -> bool:
    live = row["state"] in ("ok", "late")
    return live and row["standing"] == "member" and bool(host["caught_up"])


def _node(row: Row, host: Row | None) -> NodeLine:
    """Return a node; `host` is its row as a node that runs tasks, if its group has tasks."""
    active = row["role"] == "active" and row["beat_age_s"] is not None
    return NodeLine(
        node=row["task_id"],
        role=row["role"] if host is None else row["standing"],
        state=row["state"],
        beat_age_s=row["beat_age_s"],
        lease_left_s=max(0.0, row["lease_s"] - row["beat_age_s"]) if active else None,
        heartbeat_s=row["heartbeat_s"],
        liveness_s=row["liveness_s"],
        host=row["host"],
        pid=row["pid"],
        version=row["version"],
        priority=row["priority"],
        standing=row["standing"],
        config_hash=row["config_hash"],
        isolation=row["isolation"],
        uptime_s=row["uptime_s"],
        end_reason=row["end_reason"],
        task_count=None if host is None else host["task_count"],
        observer=host is not None and host["observer"],
        ready=None if host is None else _ready(row, host),
        program_ready=row["ready"],
        address=row["address"],
        clock_offset_s=row["clock_offset_s"],
    )
