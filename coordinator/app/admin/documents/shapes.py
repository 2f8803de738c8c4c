"""Shapes of the documents that `-o json` and the HTTP endpoints of a node give.

The OpenAPI description is derived from them (`make config`), and mypy holds the functions that make
the documents to them. Fields are only ever added. Durations are in seconds, moments are texts in
ISO-8601 and UTC, keys are camelCase.
"""

from __future__ import annotations

from typing import TypedDict


class Wait(TypedDict):
    """Wait of a group after a failover of the database."""

    timeline: int
    why: str
    seconds: float | None


class PlannedChange(TypedDict):
    """Change that an administrator has asked for."""

    id: int
    groupId: str
    kind: str
    node: str | None
    value: int | None
    state: str
    askedAt: str | None
    askedBy: str
    reason: str | None
    dueAt: str | None
    untilAt: str | None
    endedAt: str | None
    endedBy: str | None
    outcomeReason: str | None


class Node(TypedDict):
    """Node of a group, by the database's clock."""

    taskId: str
    role: str
    state: str
    heartbeatAgeSeconds: float | None
    leaseRemainingSeconds: float | None
    heartbeatFrequency: float
    livenessCheckInterval: float
    host: str | None
    pid: int | None
    uptimeSeconds: float | None
    version: str | None
    configHash: str | None
    priority: int
    standing: str
    isolation: str | None
    endReason: str | None
    tasks: int | None
    observer: bool
    ready: bool | None
    programReady: bool | None
    address: str | None
    clockOffsetSeconds: float | None


class Webhook(TypedDict):
    """Webhook that has not taken the next event of its group."""

    failedDeliveries: int
    failingSeconds: float | None
    error: str


class Group(TypedDict):
    """Group with its nodes."""

    groupId: str
    state: str
    term: int
    holder: str | None
    since: str | None
    standbys: int
    heartbeatAgeSeconds: float | None
    leaseRemainingSeconds: float | None
    leaderlessSeconds: float | None
    wait: Wait | None
    lastHolder: str | None
    endReason: str | None
    nextStartSeconds: float | None
    spreadsTasks: bool
    paused: str | None
    webhook: Webhook | None
    planned: list[PlannedChange]
    nodes: list[Node]


#: "from" is a word of Python, so its class cannot be written as the others are.
_From = TypedDict("_From", {"from": str | None})


class Takeover(_From):
    """Term of a group: its holder, and the gap before it in which nobody was active."""

    groupId: str
    term: int
    at: str | None
    to: str
    how: str
    reason: str | None
    gapSeconds: float | None
    detectedSeconds: float | None
    endedAt: str | None
    endHow: str | None
    endReason: str | None


class Event(TypedDict):
    """Event of a group, or of a token below it."""

    id: int
    at: str | None
    token: str
    event: str
    taskId: str | None
    term: int | None
    reason: str | None
    by: str | None


class Primary(TypedDict):
    """Server of the database that takes writes."""

    address: str
    timeline: int


class Server(TypedDict):
    """Database that answered."""

    label: str
    schema: str
    roundTripSeconds: float
    primaries: list[Primary] | None


class Head(TypedDict):
    """Fields with which every document begins."""

    apiVersion: str
    kind: str
    asOf: str
    scope: str


class Status(Head):
    """Groups with their nodes."""

    server: Server
    groups: list[Group]


class History(Head):
    """Terms, newest first."""

    takeovers: list[Takeover]


class Events(Head):
    """Events, oldest first."""

    events: list[Event]


class GroupNodes(Head):
    """Nodes of a group."""

    groupId: str
    nodes: list[Node]
