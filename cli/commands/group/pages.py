"""Settings of a group for all its nodes, as a page and as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordinator.app.admin.planned_lines import LIVENESS, PlannedLine, sentence
from coordinator.cli.render import documents
from coordinator.cli.render.emit import emit
from coordinator.cli.render.units import safe
from coordinator.cli.shared import Shared

if TYPE_CHECKING:
    from coordinator.app.admin.group_settings import GroupSettings, NodeSettings
    from coordinator.app.admin.task_views import Asked as Answered

COLUMNS = ("NODE", "NOW", "FILE", "HEARTBEAT", "VERSION")


def show_settings(options: Shared, settings: GroupSettings, answered: Answered) -> None:
    """Print what is set, what is on its way, and what each live node has."""
    emit(
        options,
        table=lambda: _print(options, settings),
        rows=lambda: [
            ("node", "livenessCheckInterval", "file", "heartbeatFrequency", "version"),
            *(
                (one.node, one.liveness_s, one.file_liveness_s, one.heartbeat_s, one.version)
                for one in settings.nodes
            ),
        ],
        document={
            **documents.head("GroupSettings", answered),
            "groupId": settings.group,
            LIVENESS: _value(settings.in_force),
            "settings": [_setting(change) for change in settings.changes],
            "nodes": [_node(one) for one in settings.nodes],
        },
    )


def _print(options: Shared, settings: GroupSettings) -> None:
    from coordinator.cli.render.tables import show, table_of

    for change in settings.changes:
        print(safe(f"{settings.group}: {sentence(change)}"))
    if not settings.changes:
        print(safe(f"{settings.group}: {LIVENESS} is that of each node's own file"))
    rows = [
        (
            safe(one.node),
            f"{one.liveness_s:g} s",
            "" if one.file_liveness_s is None else f"{one.file_liveness_s:g} s",
            f"{one.heartbeat_s:g} s",
            safe(one.version or ""),
        )
        for one in settings.nodes
    ]
    if rows:
        show(options, table_of(COLUMNS, rows))


def _value(change: PlannedLine | None) -> float | None:
    return None if change is None or change.value is None else change.value / 1000


def _setting(change: PlannedLine) -> dict[str, Any]:
    return {
        "name": change.kind,
        "value": _value(change),
        "state": change.state,
        "change": change.id,
        "askedBy": change.asked_by,
        "askedAt": documents.moment_text(change.asked_at),
        "reason": change.reason,
        "agreedAt": documents.moment_text(change.agreed_at),
        "lacking": change.lacking or [],
        "contradicting": change.contradicting or [],
    }


def _node(one: NodeSettings) -> dict[str, Any]:
    return {
        "taskId": one.node,
        LIVENESS: one.liveness_s,
        "file": one.file_liveness_s,
        "heartbeatFrequency": one.heartbeat_s,
        "version": one.version,
    }
