"""Tasks, their nodes and their observer as tables and sentences for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from coordinator.cli.render.tables import dim, left_out, table_of
from coordinator.cli.render.units import age, safe, when

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coordinator.app.admin.task_views import (
        DecisionLine,
        ObserverPage,
        TaskHost,
        TaskLine,
        TaskPage,
    )
    from coordinator.cli.shared import TimeStyle

#: A longer error is cut here; `coord task show` has all of it.
ERROR_LETTERS_MAX = 60


def tasks_parts(tasks: Sequence[TaskLine], group: str, style: TimeStyle) -> list[RenderableType]:
    """Return the output of `coord task list`."""
    rows = [
        (
            task.definition.name,
            task.state,
            task.node or "-",
            task.term,
            when(task.since, task.since_age_s, style),
            _preferred(task),
            _short(task.last_error),
        )
        for task in tasks
    ]
    columns = ("TASK", "STATE", "NODE", ">TERM", "SINCE", "PREFERRED", "LAST ERROR")
    parts: list[RenderableType] = [table_of(columns, rows, [task.state for task in tasks])]
    if not tasks:
        parts.append(dim(f"{group} has no tasks yet: `coord task add NAME -- COMMAND`"))
    return parts


def page_parts(page: TaskPage, style: TimeStyle) -> list[RenderableType]:
    """Return the output of `coord task show`."""
    rows = [
        (each.node, each.state, each.standing, each.node_state, each.last_error or "-")
        for each in page.nodes
    ]
    table = table_of(
        ("NODE", "STATE", "STANDING", "NODE STATE", "LAST ERROR"),
        rows,
        [each.state for each in page.nodes],
    )
    return [*_facts(page, style), "", table]


def hosts_parts(hosts: Sequence[TaskHost], *, everything: bool) -> list[RenderableType]:
    """Return the output of `coord nodes`."""
    shown = [host for host in hosts if everything or host.state != "ended"]
    rows = [
        (
            host.node + (" *" if host.observer else ""),
            host.standing,
            host.state,
            host.task_count,
            age(host.beat_age_s),
            f"{host.host or '-'}:{host.pid or '-'}",
            host.version or "-",
            _seen(host),
        )
        for host in shown
    ]
    columns = (
        *("NODE", "STANDING", "STATE", ">TASKS", ">LAST BEAT", "HOST:PID", "VERSION", "SEEN"),
    )
    parts: list[RenderableType] = [table_of(columns, rows, [host.state for host in shown])]
    if any(host.observer for host in shown):
        parts.append(dim("* the observer"))
    hidden = len(hosts) - len(shown)
    if hidden:
        parts.append(dim(left_out(hidden)))
    return parts


def observer_parts(page: ObserverPage, style: TimeStyle) -> list[RenderableType]:
    """Return the output of `coord observer`."""
    if page.state == "active":
        since = when(page.since, page.since_age_s, style)
        first = f"{page.group}: {page.node} observes, term {page.term}, since {since}"
    else:
        first = f"{page.group}: nobody observes (term {page.term})"
    parts: list[RenderableType] = [safe(first)]
    if page.suspended_at is not None:
        by = f" by {page.suspended_by}" if page.suspended_by else ""
        why = f": {page.suspend_reason}" if page.suspend_reason else ""
        at = when(page.suspended_at, page.suspended_age_s, style)
        parts.append(safe(f"suspended since {at}{by}{why}; it decides nothing until resumed"))
    return [*parts, "", *decisions_parts(page.decisions, style)]


def policy_parts(fields: Mapping[str, float | None]) -> list[RenderableType]:
    """Return the output of `coord observer policy`."""
    rows = [(key, "-" if value is None else f"{value:.15g}") for key, value in fields.items()]
    parts: list[RenderableType] = [table_of(("KEY", "VALUE"), rows)]
    if None in fields.values():
        parts.append(dim("-: each node uses its own configuration, or its default"))
    return parts


def decisions_parts(decisions: Sequence[DecisionLine], style: TimeStyle) -> list[RenderableType]:
    """Return the output of `coord observer decisions`."""
    rows = [
        (
            when(each.at, each.age_s, style),
            each.observer,
            each.term,
            each.node,
            f"{each.before} -> {each.after}",
            each.reason,
        )
        for each in decisions
    ]
    columns = ("AT", "OBSERVER", ">TERM", "NODE", "DECISION", "REASON")
    if not rows:
        return [dim("no decisions in this time")]
    return [table_of(columns, rows, wraps=("REASON",))]


def _facts(page: TaskPage, style: TimeStyle) -> list[str]:
    from coordinator.app.config.task_spec import spec_text

    task, defined = page.task, page.task.definition
    alert = "  (needs an operator)" if page.alert else ""
    facts = {
        "task": f"{task.group}/{defined.name}  revision {defined.revision}, from {task.origin}",
        "runs": spec_text(defined.spec),
        "state": f"{task.state} since {when(task.since, task.since_age_s, style)}",
        "node": f"{task.node or '-'}, term {task.term}",
        "responsible": f"{page.responsible or 'nobody'}: {page.reason}{alert}",
        "nodes": ", ".join(defined.nodes) or "any",
        "preferred": _preferred(task),
        "failover": f"{_yes(defined.failover)}, failback {_yes(defined.failback)}",
        "onPartition": defined.on_partition.value,
        "onDone": defined.on_done.value,
        "progress": f"every {defined.progress_s:g} s" if defined.progress_s else "not reported",
        "lastError": task.last_error or "-",
    }
    if task.end_reason:
        facts["ended"] = task.end_reason
    width = max(len(word) for word in facts)
    return [f"{word.ljust(width)}  {safe(text)}" for word, text in facts.items()]


def _preferred(task: TaskLine) -> str:
    defined = task.definition
    return (defined.preferred or "-") + (" (pinned)" if defined.pinned else "")


def _short(error: str | None) -> str:
    text = error or "-"
    return text if len(text) <= ERROR_LETTERS_MAX else text[: ERROR_LETTERS_MAX - 1] + "…"


def _seen(host: TaskHost) -> str:
    """Return the version of the record that a node acts on, and the latest if it is behind."""
    if host.seen_version is None:
        return "-"
    behind = host.seen_version < host.group_version and host.state != "ended"
    return f"{host.seen_version}{f' of {host.group_version}' if behind else ''}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
