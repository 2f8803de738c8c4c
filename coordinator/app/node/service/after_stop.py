"""The last command of a unit: it ends the sessions of nodes that were killed as a whole (G12)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from coordinator.app.config.settings import NodeSettings
from coordinator.app.node.service.unit import RECORDS
from coordinator.protocol.rules.burial import Remains, hindrance
from coordinator.runtime.agent.node_record import Origin, Recorded, read
from coordinator.runtime.isolation import unit_cgroup
from coordinator.runtime.isolation.levels import Handle, kill_all
from coordinator.runtime.linux import processes

#: Looks for what may be left, and the seconds between two: what was killed may take a moment.
LOOKS_MAX, AGAIN_S = 20, 0.1
REASON = "all processes of the unit are dead"
#: Runs of a record that was removed meanwhile, because one could not be written down.
_NOT_KEPT: Mapping[int, Handle | None] = {0: None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of one node; hindrance: why its session was left alone, empty if it was ended."""

    group: str
    node: str
    hindrance: str


def found(environ: Mapping[str, str]) -> tuple[tuple[str, Recorded], ...]:
    """Return the records in the unit's RuntimeDirectory, each with its directory."""
    directory = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    try:
        names = sorted(os.listdir(directory)) if directory else []
    except OSError:
        return ()
    paths = [os.path.join(directory, name) for name in names if name.startswith(RECORDS)]
    records = ((path, read(path)) for path in paths)
    return tuple((path, record) for path, record in records if record is not None)


#: Ends a session with a reason; false when the database did not answer in time.
Bury = Callable[[NodeSettings, str, str], bool]


def end(
    path: str,
    record: Recorded,
    environ: Mapping[str, str],
    settings: NodeSettings,
    bury: Bury,
) -> Ending:
    """End the session of a record if every process of its node is dead.

    path: its directory.
    settings: their database is used; group and node are those of the record.
    Errors: none; a database that does not answer leaves the session to its lease.
    """
    start, pause = environ.get("INVOCATION_ID", ""), threading.Event()
    for _ in range(LOOKS_MAX):
        seen = remains(path, record, start)
        why = hindrance(seen)
        if not why or seen.others is None:
            break
        pause.wait(AGAIN_S)
    if not why:
        named = replace(settings, group_id=record.group, task_id=record.node)
        if not bury(named, record.session, REASON):
            why = "the database does not answer"
    return Ending(group=record.group, node=record.node, hindrance=why)


def remains(path: str, record: Recorded, start: str) -> Remains:
    """Look for everything that may be left of a node, and kill what its handles name.

    start: id of the start of the unit that this process belongs to.
    """
    try:
        here = Origin(machine=unit_cgroup.machine(), start=start, place=unit_cgroup.place())
    except OSError:
        here = Origin(machine="", start="", place="")
    origin = record.origin
    ours = origin == here and bool(start)
    others = unit_cgroup.others(origin.place) if ours else None
    guarded = processes.lives(*record.guardian) if ours else True
    # A node that lives has its programs. Handles of elsewhere name processes that are not its own.
    alone = others is not None and not others and not guarded
    # A run may have been ordered since the record was read; now nobody is left to order another.
    last = read(path) if alone else record
    runs: Mapping[int, Handle | None] = _NOT_KEPT if last is None else last.runs
    handles = {run: handle for run, handle in runs.items() if handle is not None}
    left = kill_all(handles) if alone else set(handles)
    return Remains(
        same_boot=origin.machine == here.machine,
        same_start=origin.start == here.start and bool(start),
        same_place=origin.place == here.place,
        guarded=guarded,
        others=others,
        unknown=frozenset(runs.keys() - handles.keys()),
        left=frozenset(left),
    )
