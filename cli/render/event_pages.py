"""Events and schedules as documents, rows, tables and lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from coordinator.app.admin.documents.fields import event_fields
from coordinator.cli.render.documents import API_VERSION, moment_text, seconds
from coordinator.cli.render.tables import dim, table_of
from coordinator.cli.render.units import age, safe, when

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coordinator.app.admin.events import EventLine, JobLine
    from coordinator.cli.shared import TimeStyle

EVENT_COLUMNS = ("id", "at", "token", "event", "taskId", "term", "reason", "by")
JOB_COLUMNS = (
    *("job", "taskId", "lastAt", "lastOutcome", "lastSeconds", "nextAt", "nextInSeconds"),
    *("runs", "skipped", "ended", "lastError", "endReason"),
)


def event_line(event: EventLine) -> dict[str, Any]:
    """Return the document of `-o jsonl`."""
    return {"apiVersion": API_VERSION, "kind": "Event", **event_fields(event)}


def event_text(event: EventLine, style: TimeStyle) -> str:
    """Return the line of `coord events -f`."""
    cells = (
        when(event.at, event.age_s, style),
        event.token,
        event.kind,
        event.node or "-",
        "" if event.term is None else f"term {event.term}",
        event.reason or "",
    )
    return safe("  ".join(cell for cell in cells if cell))


def events_parts(events: Sequence[EventLine], style: TimeStyle) -> list[RenderableType]:
    """Return the output of `coord events`."""
    rows = [
        (
            when(each.at, each.age_s, style),
            each.token,
            each.kind,
            each.node or "-",
            "-" if each.term is None else each.term,
            each.reason or "-",
        )
        for each in events
    ]
    if not rows:
        return [dim("no events in this time")]
    columns = ("AT", "TOKEN", "EVENT", "NODE", ">TERM", "REASON")
    return [table_of(columns, rows, names=("TOKEN", "NODE"), wraps=("REASON",))]


def job_fields(job: JobLine) -> dict[str, Any]:
    """Return one schedule."""
    return {
        "job": job.job,
        "taskId": job.node,
        "lastAt": moment_text(job.fired_at),
        "lastOutcome": job.outcome,
        "lastSeconds": seconds(job.duration_s),
        "lastError": job.error,
        "nextAt": moment_text(job.next_at),
        "nextInSeconds": seconds(job.next_in_s),
        "runs": job.fired_count,
        "skipped": job.skipped_count,
        "ended": job.ended,
        "endReason": job.end_reason or None,
    }


def jobs_parts(jobs: Sequence[JobLine], style: TimeStyle) -> list[RenderableType]:
    """Return the output of `coord jobs`."""
    rows = [
        (
            each.job,
            each.node or "-",
            when(each.fired_at, each.fired_age_s, style),
            each.outcome or "-",
            age(each.duration_s),
            next_text(each),
            each.fired_count,
            each.skipped_count,
        )
        for each in jobs
    ]
    if not rows:
        return [dim("no schedule has begun yet: [program.trigger], or `coord task add --every`")]
    columns = ("JOB", "NODE", "LAST", "OUTCOME", ">TOOK", "NEXT", ">RUNS", ">SKIPPED")
    styles = ["stuck" if each.outcome in ("failed", "died") else "" for each in jobs]
    parts: list[RenderableType] = [table_of(columns, rows, styles, names=("JOB", "NODE"))]
    parts += [dim(safe(f"{each.job}: {each.error}")) for each in jobs if each.error]
    return parts


def next_text(job: JobLine) -> str:
    """Return when a schedule runs next, for people."""
    if job.ended:
        return "ended"
    if job.next_in_s is None:
        return "-"
    if job.next_in_s >= 0:
        return f"in {age(job.next_in_s)}"
    return f"overdue {age(-job.next_in_s)}" if job.node else "when a node is active"
