"""End of the session of a node whose processes were all killed (rule G12).

A service manager that loses one process of its unit kills the others, and then runs a last command
(ExecStopPost). It ends the session, so that a standby need not wait, only when nothing of the node
can be alive. Whatever is not known for sure counts as alive: the lease then ends as it would
without this command.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """Findings after the end of a unit; each is about the unit that wrote the record.

    same_boot:  the machine has run since then, and its processes are seen from the same namespace.
    same_start: it is the same start of the same unit.
    same_place: the command runs in the same cgroup as the node did.
    guarded:    the node's guardian may live, in whichever cgroup: it could start a run at any time.
    others:     processes in that cgroup beside the command itself; None: they cannot be read.
    unknown:    runs that were ordered, and of which no handle is known.
    left:       runs of which a process is left, after all were killed by their handles.
    """

    same_boot: bool
    same_start: bool
    same_place: bool
    guarded: bool
    others: frozenset[int] | None
    unknown: frozenset[int]
    left: frozenset[int]


def hindrance(remains: Remains) -> str:
    """Return why the session must not be ended; empty when every process is dead."""
    if not remains.same_boot:
        return "the record was written in another boot or another namespace of processes"
    if not remains.same_start:
        return "the record is that of another start, or of another unit"
    if not remains.same_place:
        return "this command is not in the node's cgroup: only its own unit may run it"
    if _may_live(remains):
        return _who_may_live(remains)
    return ""


def _may_live(remains: Remains) -> bool:
    """Say whether a process of the node may be alive, by any source."""
    if remains.others is None or remains.guarded:
        return True
    return bool(remains.others or remains.unknown or remains.left)


def _who_may_live(remains: Remains) -> str:
    if remains.others is None:
        return "the processes of the unit's cgroup cannot be read"
    if remains.others:
        return f"processes of the unit live: {_numbers(remains.others)}"
    if remains.guarded:
        return "the node's guardian lives, outside of the unit's cgroup"
    if remains.unknown:
        return "a program was being started, and may live"
    return "a process of the program cannot be killed"


def _numbers(pids: frozenset[int]) -> str:
    first = sorted(pids)[:5]
    more = len(pids) - len(first)
    return ", ".join(map(str, first)) + (f" and {more} more" if more else "")
