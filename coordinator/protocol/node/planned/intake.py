"""Intake of planned changes: what a view shows of them, and answers that concern them."""

from __future__ import annotations

from dataclasses import replace

from coordinator.protocol.messages.planned import EndPlanned, PlannedChange, TellInterval
from coordinator.protocol.messages.requests import Answer, ReadRoster, View
from coordinator.protocol.node.events import Command, LogLine
from coordinator.protocol.node.planned import interval
from coordinator.protocol.node.state.node import Node
from coordinator.protocol.rules.planned import draining, handover, said
from coordinator.protocol.rules.ranking import rank, ready_rival

Step = tuple[Node, tuple[Command, ...]]


def note(node: Node, view: View, now: float) -> Step:
    """Note a reading of the planned changes, and report what is new in it.

    A heartbeat that checks the holder only shows an earlier reading once more: its alarms stand.
    """
    before, shown = node.planned, view.planned
    if shown.read_us == before.read.read_us:
        return node, ()
    known = {change.id for change in before.reported}
    there = {change.id for change in shown.changes}
    lines = (
        *(_line("planned", one) for one in shown.changes if one.id not in known),
        *(_line("planned-over", one) for one in before.reported if one.id not in there),
    )
    after = replace(before, read=shown, read_at=now, reported=shown.changes)
    return replace(node, planned=after), lines


def answered(
    node: Node, request: ReadRoster | EndPlanned | TellInterval, answer: Answer, now: float
) -> Step:
    """Apply the answer to a request that planned changes may have caused."""
    if isinstance(request, TellInterval):
        return interval.answered(node, request, answer, now), ()
    if isinstance(request, EndPlanned):
        return _note_end(node, request, answer, now)
    return _note_roster(node, answer, now), ()


def _note_roster(node: Node, answer: Answer, now: float) -> Node:
    """Take in who could take the token: this node's place, and who is ready for a switchover."""
    view = answer.view
    drained = draining(view.planned)
    able = [one for one in answer.roster if one.node not in drained]
    place = rank(node.policy.group, node.policy.node, view.token.node, able)
    planned = node.planned
    if handover(view.planned) is not None:
        planned = replace(planned, roster=answer.roster, roster_at=now)
    return replace(
        node,
        place=place,
        ready_rival=ready_rival(node.policy.node, view.token.node, able),
        roster_version=view.group_version,
        roster_at=now,
        planned=planned,
    )


def _note_end(node: Node, request: EndPlanned, answer: Answer, now: float) -> Step:
    """Take in the answer to a recorded end: the next view tells what is still open.

    What was not done is tried again after a heartbeat: the server's clock may be behind (O7).
    """
    retry_at = node.planned.retry_at if answer.done else now + node.timing.heartbeat_s
    node = replace(node, planned=replace(node.planned, retry_at=retry_at))
    if not answer.done:
        return node, ()
    fields = (("id", request.id), ("outcome", str(request.outcome)), ("why", request.reason))
    return node, (LogLine("planned-ended", fields),)


def _line(event: str, change: PlannedChange) -> LogLine:
    fields = (
        ("id", change.id),
        ("what", said(change)),
        ("wait_s", round(change.wait_s, 3)),
        ("left_s", None if change.left_s is None else round(change.left_s, 3)),
    )
    return LogLine(event, fields)
