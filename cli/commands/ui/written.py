"""Documents of the page: those of `-o json`, with the verdicts."""

from __future__ import annotations

import io
import json
from typing import Any

from coordinator.app.admin.documents.fields import event_fields
from coordinator.app.admin.page.readings import GroupReading, Reading
from coordinator.app.admin.page.verdict import Sentence
from coordinator.app.admin.planned_lines import sentence
from coordinator.app.admin.status import GroupLine, NodeLine
from coordinator.cli.render import documents, event_pages, task_documents
from coordinator.cli.render.operations.tables import task_document
from coordinator.cli.shared import Shared, TimeStyle

#: Width of the table for a terminal that asks with HTTP.
TABLE_COLUMNS = 120


def line(document: dict[str, Any]) -> bytes:
    """Write a document as one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def overview(reading: Reading) -> dict[str, Any]:
    """Return all groups with their verdicts, and of their nodes what a glance needs."""
    rows = reading.operations
    return {
        **documents.status_document(reading.status),
        "kind": "Overview",
        "groups": [
            _glance(group, verdict)
            for group, verdict in zip(reading.status.groups, reading.verdicts, strict=True)
        ],
        "operations": None if rows is None else [task_document(row) for row in rows],
    }


def group(reading: GroupReading) -> dict[str, Any]:
    """Return one group in full."""
    found, past = reading.explanation, reading.past
    observer = past.observer
    return {
        "kind": "GroupPage",
        **documents.group_fields(reading.group),
        "verdict": _verdict(reading.verdict),
        "planned": [
            {**documents.planned_fields(change), "sentence": sentence(change)}
            for change in reading.group.planned
        ],
        "explanation": [] if found is None else list(found.sentences),
        "expectedInSeconds": None if found is None else documents.seconds(found.expected_s),
        "takeovers": [documents.takeover_fields(each) for each in past.terms],
        "takeoversCut": past.cut,
        "tasks": [task_documents.task_fields(each) for each in past.tasks],
        "observer": None if observer is None else task_documents.observer_fields(observer),
        "jobs": [event_pages.job_fields(each) for each in past.jobs],
        "events": [event_fields(each) for each in reversed(past.events)],
    }


def status(reading: Reading) -> str:
    """Write the document of `coord status -o json`."""
    return documents.pretty(documents.status_document(reading.status)) + "\n"


def table(options: Shared, only: str | None, reading: Reading) -> str:
    """Write the table of `coord status`, without colours."""
    from rich.console import Console

    from coordinator.cli.render.status_tables import status_parts

    shown = only if reading.status.groups else None
    parts = status_parts(reading.status, shown, TimeStyle.AGO, everything=options.verbose)
    written = io.StringIO()
    screen = Console(
        file=written, width=TABLE_COLUMNS, highlight=False, markup=False, emoji=False, no_color=True
    )
    screen.print(*parts, sep="\n")
    return "".join(f"{each.rstrip()}\n" for each in written.getvalue().splitlines())


def _glance(group: GroupLine, verdict: Sentence) -> dict[str, Any]:
    return {
        **documents.group_fields(group),
        "verdict": _verdict(verdict),
        "nodes": [_dot(node) for node in group.nodes if node.state != "ended"],
    }


def _verdict(verdict: Sentence) -> dict[str, str]:
    return {"level": verdict.level, "text": verdict.text}


def _dot(node: NodeLine) -> dict[str, Any]:
    return {
        "taskId": node.node,
        "role": node.role,
        "state": node.state,
        "observer": node.observer,
        "heartbeatAgeSeconds": documents.seconds(node.beat_age_s),
    }
