"""The log lines of a node, as sentences for a person."""

from __future__ import annotations

from coordinator.protocol.events import Report
from coordinator.protocol.node import Node


def sentence(report: Report, node: Node) -> str:
    """Return the line for one report, without the leading "coord: "."""
    fields = dict(report.fields)
    group = node.policy.group
    match report.event:
        case "active":
            return f"{group}: ACTIVE term {fields['term']}"
        case "standby":
            return f"{group}: standby ({_holder(fields)})"
        case "stopping":
            why = node.run.stopping if node.run else ""
            return f"{group}: stopping the program of term {fields['term']}: {why}"
        case "candidate":
            return f"{group}: candidate (no session in the database)"
        case "left":
            return f"{group}: left the group"
        case "program-ended":
            return f"{group}: the program ended ({_status(fields['status'])}, {fields['why']})"
        case "program-refused":
            return f"{group}: the program was not started: {fields['why']}"
        case "database-lost":
            return f"{group}: no word from the database: {fields['why']}"
        case "database-back":
            return f"{group}: the database answers again"
        case "trust-ended":
            return f"{group}: no heartbeat was acknowledged for a whole lease: this session is over"
        case "session-ended":
            return f"{group}: another node ended this session"
        case "dead-branch":
            return (
                f"{group}: the server is on timeline {fields['timeline']}, which this node has"
                " seen left behind: an old primary, or a restore (then restart this node)"
            )
    return f"{group}: {report.event}"


def _holder(fields: dict[str, object]) -> str:
    if fields.get("holder"):
        return f"{fields['holder']} active, term {fields['term']}"
    return f"nobody active, term {fields['term']}" if fields["term"] else "nobody active yet"


def _status(status: object) -> str:
    if isinstance(status, int) and status < 0:
        return f"signal {-status}"
    return f"exit code {status}"
