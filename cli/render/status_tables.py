"""Groups and their nodes as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from coordinator.app.admin.planned_lines import sentence
from coordinator.cli.render.fitting import FittedTable
from coordinator.cli.render.tables import dim, footer_line, left_out, table_of
from coordinator.cli.render.units import age, safe, when

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coordinator.app.admin.status import GroupLine, NodeLine, Status
    from coordinator.cli.shared import TimeStyle

#: Differences are listed for so many nodes; during a rollout there are many.
DIFFERENCES_MAX = 5
#: Groups without a live node are shown up to this number, so that live ones stay on the screen.
IDLE_SHOWN_MAX = 10
#: Remarks below the table of groups; `coord explain GROUP` has each.
REMARKS_MAX = 5


def status_parts(
    status: Status, group: str | None, style: TimeStyle, *, everything: bool
) -> list[RenderableType]:
    """Return the output of `coord status`: the groups, or the nodes of one."""
    if group is None:
        shown = shown_first(status.groups, everything=everything)
        parts: list[RenderableType] = [groups_table(shown, style)]
        notes = _remarks(shown)
        if len(shown) < len(status.groups):
            count = len(status.groups) - len(shown)
            notes.append(f"{count} more groups without a live node are not shown (-v)")
        if not status.groups:
            notes.append("no groups yet: start a node with `coord run`")
    else:
        parts, notes = _nodes_parts(status.groups[0], everything=everything)
    parts += _two_primaries(status)
    return [*parts, *(dim(note) for note in notes), footer_line(status.server)]


def _two_primaries(status: Status) -> list[RenderableType]:
    """Return a warning if several hosts take writes: all but one will lose what was written."""
    from rich.text import Text

    primaries = status.primaries or ()
    if len(primaries) < 2:
        return []
    named = ", ".join(f"{each.address} (timeline {each.timeline})" for each in primaries)
    warning = f"{len(primaries)} primaries take writes at once: {named}; stop all but one"
    return [Text(warning, style="bold red")]


def shown_first(groups: Sequence[GroupLine], *, everything: bool) -> list[GroupLine]:
    """Return the groups to show: those with a live node first, of the others the latest ones."""
    living = [group for group in groups if _lives(group)]
    others = [group for group in groups if not _lives(group)]
    if not everything and len(others) > IDLE_SHOWN_MAX:
        latest = sorted(others, key=lambda group: group.since_age_s or 0.0)[:IDLE_SHOWN_MAX]
        others = [group for group in others if group in latest]
    return [*living, *others]


def _lives(group: GroupLine) -> bool:
    return any(node.state in ("ok", "late") for node in group.nodes)


def _remarks(groups: Sequence[GroupLine]) -> list[str]:
    """Return a sentence for each planned change, and for each group in which something is due."""
    found = [line for group in groups for line in (*planned_notes(group), *webhook_notes(group))]
    others = (group for group in groups if remark(group) and not group.paused)
    found += [f"{group.group}: {remark(group)}" for group in others]
    more = len(found) - REMARKS_MAX
    return found[:REMARKS_MAX] + ([f"{more} more: `coord explain GROUP`"] if more > 0 else [])


def planned_notes(group: GroupLine) -> list[str]:
    """Return a sentence for each open planned change of a group, for as long as it stands."""
    return [safe(f"{group.group}: {sentence(change)}") for change in group.planned]


def webhook_notes(group: GroupLine) -> list[str]:
    """Return a sentence if the webhook of a group does not take its events."""
    late = group.webhook
    if late is None:
        return []
    times = "once" if late.failed_count == 1 else f"{late.failed_count} times"
    why = f"the webhook {late.error}" if late.error else "the webhook takes none"
    return [safe(f"{group.group}: events wait for {age(late.failing_s)} ({times}): {why}")]


def remark(group: GroupLine) -> str:
    """Return why nobody is active, as far as one line can tell; empty for an active group."""
    if group.paused:
        return group.paused
    if group.state == "active":
        return ""
    if group.wait is not None:
        left = "" if group.wait.left_s is None else f"; {group.wait.left_s:.1f} s are left"
        return f"nobody takes the token yet on timeline {group.wait.timeline}{left}"
    if group.next_start_s is not None:
        return f"{group.end_reason}; started again in {age(group.next_start_s)}"
    why = f": {group.end_reason}" if group.end_reason else ""
    return f"given back by {group.last_holder}{why}" if group.end_reason else ""


def _named(group: GroupLine) -> str:
    """Return the active node; in parentheses the last one, where nobody is active."""
    if group.holder is not None:
        return f"{group.holder} (observer)" if group.hosts_tasks else group.holder
    return f"({group.last_holder})" if group.last_holder else "-"


def groups_table(groups: Sequence[GroupLine], style: TimeStyle) -> FittedTable:
    """Return a table with a line for each group."""
    columns = ("GROUP", "STATE", "ACTIVE", ">TERM", "SINCE", ">STANDBY", ">LAST BEAT", ">LEASE")
    rows = [
        (
            each.group,
            each.state,
            _named(each),
            each.term,
            when(each.since, each.since_age_s, style),
            each.standby_count,
            age(each.beat_age_s),
            age(each.lease_left_s),
        )
        for each in groups
    ]
    states = ["paused" if each.paused else each.state for each in groups]
    return table_of(columns, rows, states, names=("GROUP", "ACTIVE"))


def nodes_table(nodes: Sequence[NodeLine]) -> tuple[FittedTable, bool]:
    """Return a table with a line for each node, and True if any differs from the active one."""
    active = _active(nodes)
    of_tasks = any(node.task_count is not None for node in nodes)
    addressed = any(node.address for node in nodes)
    columns = (
        *("NODE", "ROLE", "STATE", *((">TASKS",) if of_tasks else ()), ">LAST BEAT", ">LEASE"),
        *("HOST:PID", ">UPTIME", "VERSION", "CONFIG"),
        *(("ADDRESS",) if addressed else ()),
    )
    rows, styles = [], []
    marked = False
    for node in nodes:
        version = _compared(node, active, "version")
        config = _compared(node, active, "config_hash")
        marked = marked or "!" in version + config
        styles.append(_style(node, active))
        rows.append(
            (
                node.node,
                _role(node, of_tasks=of_tasks),
                _state(node),
                *((node.task_count or 0,) if of_tasks else ()),
                age(node.beat_age_s),
                age(node.lease_left_s),
                f"{node.host or '-'}:{node.pid or '-'}",
                age(node.uptime_s),
                version,
                config,
                *((node.address or "-",) if addressed else ()),
            )
        )
    table = table_of(
        *(columns, rows, styles),
        names=("NODE",),
        ends=("HOST:PID",),
        extra=("ADDRESS",),
        droppable=("CONFIG", "VERSION"),
    )
    return table, marked


def _style(node: NodeLine, active: NodeLine | None) -> str:
    """Return the key of a node's colour: its role, unless its heartbeats are late or over."""
    if node.state != "ok":
        return node.state  # a holder whose heartbeats have stopped is not shown in green
    return "active" if node is active else node.role


def _nodes_parts(group: GroupLine, *, everything: bool) -> tuple[list[RenderableType], list[str]]:
    shown = [node for node in group.nodes if everything or node.state != "ended"]
    table, marked = nodes_table(shown)
    notes = ["! differs from the active node", *_differences(shown)] if marked else []
    hidden = len(group.nodes) - len(shown)
    if hidden:
        notes.append(left_out(hidden))
    of_tasks = any(node.task_count is not None for node in shown)
    if (wait := group.wait) is not None:
        from coordinator.app.admin.explain.unsettled import waits

        notes.insert(0, f"{group.group}: {waits(wait.timeline, wait.why, wait.left_s)}")
    if group.state != "active":
        notes.insert(0, nobody_line(group, of_tasks=of_tasks))
    return [table], [*planned_notes(group), *webhook_notes(group), *notes]


def _role(node: NodeLine, *, of_tasks: bool) -> str:
    """Return the role of a node; in a task group its standing, and the observer by its name."""
    if node.observer:
        return "observer" if node.role == "member" else f"observer, {node.role}"
    role = node.role if of_tasks or node.state != "ended" else "-"
    if node.program_ready is None:
        return role
    return f"{role}, ready" if node.program_ready else f"{role}, not ready"


def _state(node: NodeLine) -> str:
    return "not ready" if node.ready is False and node.state == "ok" else node.state


def nobody_line(group: GroupLine, *, of_tasks: bool) -> str:
    """Return a sentence: nobody is active, since when, who was, and what is due."""
    last = f"; the last was {group.last_holder}" if group.last_holder else ""
    more = f"; {remark(group)}" if remark(group) else ""
    return f"{group.group}: {nobody(group, of_tasks=of_tasks)} (term {group.term}){last}{more}"


def _differences(nodes: Sequence[NodeLine]) -> list[str]:
    """Return a sentence for each node whose settings differ from the active node's."""
    active = _active(nodes)
    found = []
    for node in nodes:
        if active is None or node.state == "ended" or node.config_hash == active.config_hash:
            continue
        keys = [
            f"{key} {mine:g} s, the active node's is {others:g} s"
            for key, mine, others in (
                ("livenessCheckInterval", node.liveness_s, active.liveness_s),
                ("heartbeatFrequency", node.heartbeat_s, active.heartbeat_s),
            )
            if mine != others
        ]
        what = "; ".join(keys) or "differs in stopTimeout, the program, its trigger or a policy"
        found.append(f"{node.node}: {what}")
    return found[:DIFFERENCES_MAX]


def _active(nodes: Sequence[NodeLine]) -> NodeLine | None:
    return next((node for node in nodes if node.role == "active" or node.observer), None)


def nobody(group: GroupLine, *, of_tasks: bool = False) -> str:
    """Return a clause: the group has no active node, and since when."""
    if group.leaderless_s is None:
        idle = "" if group.since_age_s is None else f", idle for {age(group.since_age_s)}"
        return f"{'nobody observes' if of_tasks else 'nobody is active'}{idle}"
    did = "observed" if of_tasks else "been active"
    return f"nobody has {did} for {age(group.leaderless_s)}"


def _compared(node: NodeLine, active: NodeLine | None, field: str) -> str:
    """Return a field of a node, marked if it differs from the active node's."""
    mine = getattr(node, field)
    differs = active is not None and node.state != "ended" and mine != getattr(active, field)
    return f"{mine or '-'}{' !' if differs else ''}"
