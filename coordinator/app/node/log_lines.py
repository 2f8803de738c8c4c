"""Log lines of a node, as sentences for a person."""

from __future__ import annotations

import signal

from coordinator.app.admin.explain.unsettled import BECAUSE, UNSETTLED
from coordinator.protocol.node.events import LogLine
from coordinator.protocol.node.state.node import Node

#: A sentence for each event of the machine; the names in braces are the report's fields.
SENTENCES = {
    "active": "ACTIVE term {term}",
    "standby": "standby ({holding})",
    "stopping": "stopping the program of term {term}: {stopping}",
    "candidate": "candidate (no session in the database)",
    "promotable": "Promotable: new in the group, not yet a Member",
    "member": "Member: may run tasks",
    "rehab": "Rehab: catching up before it may run tasks again",
    "observing": "this node is the observer of the group",
    "observing-no-more": "this node is no longer the observer of the group",
    "decided": "decision about {about}: {what} ({why})",
    "alert": "ALERT: task {task}: {why}",
    "task-taken": "task {task}: taken, term {term}",
    "task-ended": "task {task}: its program ended ({status}, {why})",
    "task-crash-loop": "task {task}: {why}: it is given back, and other nodes go first",
    "task-refused": "task {task}: its program was not started: {why}",
    "task-lost": "task {task}: lost: in the database the token is not held under term {term}",
    "task-apart": 'task {task}: goes on without the database (onPartition = "continue")',
    "tasks-removed": "all tasks of this node have ended",
    "left": "left the group",
    "program-ended": "the program ended ({status}, {why})",
    "crash-loop": (
        "the program ended {count} times in a row soon after its start: the token is given back;"
        " this node takes it again after {wait_s:.1f} s, if no other node has it then"
    ),
    "hung": (
        "HUNG: {why}: the program is stopped, and the token given back; this node takes it again"
        " after {wait_s:g} s, if no other node has it then"
    ),
    "one-off": "a one-off command begins under term {term}, for {asker}",
    "hook-failed": "the hook {hook} failed: {why}",
    "ready": "ready: the program waits at its gate",
    "not-ready": "not ready: the program does not wait at its gate any more",
    "prepared-ended": (
        "not ready: the program that was to wait at its gate ended ({status}); it is started again"
        " in {wait_s:.1f} s"
    ),
    "program-refused": "the program was not started: {why}",
    "planned": "planned change {id}: {what}{when}",
    "planned-over": "planned change {id} is over: {what}",
    "planned-ended": "planned change {id} is {outcome}: {why}",
    "interval": (
        "livenessCheckInterval is {interval_s:g} s from now on for this node's lease, after"
        " {before_s:g} s (change {change})"
    ),
    "interval-overrules": (
        "the group has livenessCheckInterval = {interval_s:g} s (change {change}): the"
        " {configured_s:g} s of this node's own configuration do not count"
    ),
    "interval-unfit": (
        "this node does not take over livenessCheckInterval = {interval_s:g} s (change {change}):"
        " its heartbeatFrequency of {heartbeat_s:g} s needs more; the group waits for it"
    ),
    "worker-failed": "the worker of operations failed: {why}; started again after {wait_s:g} s",
    "database-lost": "the database does not answer: {why}",
    "database-back": "the database answers again",
    "idle-limit": (
        "the last {breaks} connections ended between two heartbeats: an idle limit of the server,"
        " a pooler or a firewall is below heartbeatFrequency; each heartbeat connects anew"
    ),
    "trust-ended": "no heartbeat was acknowledged for a whole lease: this session is over",
    "session-ended": "another node ended this session",
    "unsettled": f"{UNSETTLED}, so this node waits {{wait_s:.1f}} s",
    "settled": "the wait on timeline {timeline} of the database is over",
    "two-primaries": (
        "two primaries: another server takes writes on timeline {later}, and this node's server, on"
        " timeline {timeline}, is an old primary that still answers; the program is stopped, and"
        " the node changes to the other server"
    ),
    "second-primary": (
        "two primaries: a server on timeline {timeline} takes writes beside this node's server, on"
        " the later timeline {ours}; what is written to the former will be lost: stop that server"
    ),
    "dead-branch": (
        "the server that answers, on timeline {timeline}, was left behind by one on timeline"
        " {later}: it is an old primary, or the other was promoted by mistake; if the other stays"
        " away, this one is used after {wait_s:.1f} s"
    ),
}

#: Sentence about the end of a run, by the guardian's reason.
CAUSES = {
    "itself": "by itself",
    "stopped": "as requested",
    "killed": "it was killed",
    "agent": "the agent had died",
}
#: Sentence about the stop of a program, for those reasons of the machine that are one word.
STOPPING = {
    "trust": "no heartbeat was acknowledged in time",
    "trust ended": "no heartbeat was acknowledged in time",
}


def sentence(report: LogLine, node: Node) -> str:
    """Return the line for one report, without "coord: " at its beginning."""
    fields = dict(report.fields)
    if report.event in ("program-ended", "task-ended", "prepared-ended"):
        fields["status"] = _status(fields["status"])
    if report.event in ("program-ended", "task-ended"):
        fields["why"] = _cause(str(fields["why"]))
    if report.event == "planned":
        fields["when"] = _when(fields["wait_s"], fields["left_s"])
    if report.event == "unsettled":
        fields["because"] = BECAUSE[str(fields["why"])]
    line = SENTENCES[report.event].format(
        **fields,
        holding=_holding(fields),
        stopping=STOPPING.get(node.run.stopping, node.run.stopping) if node.run else "",
    )
    if fields.get("forced"):
        line += "; it did not end within stopTimeout, and was killed"
    return f"{node.policy.group}: {line}"


def _holding(fields: dict[str, object]) -> str:
    if fields.get("holder"):
        return f"{fields['holder']} active, term {fields['term']}"
    return f"nobody active, term {fields['term']}" if fields.get("term") else "nobody active yet"


def _when(wait_s: object, left_s: object) -> str:
    """Return from when and until when a planned change counts."""
    begins = f", in {wait_s:.1f} s" if isinstance(wait_s, float) and wait_s > 0 else ""
    ends = f", for {left_s:.1f} s at most" if isinstance(left_s, float) else ""
    return begins + ends


def _status(status: object) -> str:
    if isinstance(status, int) and status < 0:
        try:
            return f"signal {-status} ({signal.Signals(-status).name})"
        except ValueError:
            return f"signal {-status}"
    return f"exit code {status}"


def _cause(why: str) -> str:
    """Return why a program ended; a reason that is not the guardian's is why it was stopped."""
    return CAUSES.get(why, f"stopped: {STOPPING.get(why, why)}")
