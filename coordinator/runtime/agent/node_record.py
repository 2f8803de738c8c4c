"""Record of a node for the last command of its unit, should all its processes be killed (G12).

    DIRECTORY/session    the session, the guardian, and where it was written: boot, unit, cgroup
    DIRECTORY/run-N      the handle of a run of which something may be left; null before it is known

The directory is the unit's own, in memory (RuntimeDirectory=), and has no secrets. A run is written
down before its start is ordered. So what is not there never ran. Where a file cannot be written,
the session's is removed: then nothing is ended early.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from coordinator.runtime.isolation import unit_cgroup
from coordinator.runtime.isolation.levels import Handle
from coordinator.runtime.linux import processes

SESSION, RUN = "session", "run-"


class RunRecord(Protocol):
    """Port that is told of every run of a node."""

    def ordered(self, run: int) -> None:
        """Note a run before its start is ordered."""
        ...

    def started(self, run: int, handle: Handle) -> None:
        """Note the handle of a run."""
        ...

    def over(self, run: int) -> None:
        """Forget a run of which nothing is left."""
        ...

    def inherited_over(self) -> None:
        """Forget all runs of dead agents: nothing of them is left."""
        ...


class NoRecord:
    """Keeps nothing: no service manager has started the node."""

    def ordered(self, run: int) -> None:
        """Ignore a run."""

    def started(self, run: int, handle: Handle) -> None:
        """Ignore a handle."""

    def over(self, run: int) -> None:
        """Ignore the end of a run."""

    def inherited_over(self) -> None:
        """Ignore the end of inherited runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Place and start of a record, by which it is told from any other."""

    machine: str
    start: str  #: id of the start of the unit
    place: str  #: cgroup of the unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A record as it was found; a run without a handle has None."""

    origin: Origin
    group: str
    node: str
    session: str
    guardian: tuple[int, int]  #: its pid, and when it was started
    runs: Mapping[int, Handle | None]


class NodeRecord:
    """The record of one node; a successor of a dead agent goes on with it.

    Errors: none; a record that cannot be kept is removed.
    """

    def __init__(
        self, directory: str, *, start: str, group: str, node: str, succeeds: bool = False
    ) -> None:
        self._directory = directory
        self._own: set[int] = set()
        self._session = ""
        self._lost = False
        self._names: dict[str, object] = {"group": group, "node": node}
        try:
            machine, place = unit_cgroup.machine(), unit_cgroup.place()
            pid = os.getppid()
            guardian = [pid, processes.started_exactly(pid)]
            if not succeeds:
                shutil.rmtree(directory, ignore_errors=True)
                os.mkdir(directory, 0o700)
            os.listdir(directory)
        except OSError:
            self._lose()
            return
        self._names |= {"machine": machine, "start": start, "place": place, "guardian": guardian}

    def entered(self, session: str | None) -> None:
        """Note the session to be ended; the last one stays until there is another."""
        if session is not None and session != self._session:
            self._session = session
            self._write(SESSION, self._names | {"session": session})

    def ordered(self, run: int) -> None:
        """Note a run before its start is ordered."""
        self._own.add(run)
        self._write(f"{RUN}{run}", None)

    def started(self, run: int, handle: Handle) -> None:
        """Note the handle of a run."""
        self._write(f"{RUN}{run}", dict(handle))

    def over(self, run: int) -> None:
        """Forget a run of which nothing is left."""
        self._own.discard(run)
        _remove(self._directory, f"{RUN}{run}")

    def inherited_over(self) -> None:
        """Forget all runs of dead agents: nothing of them is left."""
        kept = {f"{RUN}{run}" for run in self._own} | {SESSION}
        with contextlib.suppress(OSError):
            for name in set(os.listdir(self._directory)) - kept:
                _remove(self._directory, name)

    def end(self) -> None:
        """Remove the record of a node that has left in order."""
        self._lose()

    def _write(self, name: str, content: Mapping[str, Any] | None) -> None:
        """Write a file whole or not at all."""
        if self._lost:
            return
        path = os.path.join(self._directory, name)
        try:
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                json.dump(content, file)
            os.replace(f"{path}.new", path)
        except OSError:
            self._lose()

    def _lose(self) -> None:
        self._lost = True
        _remove(self._directory, SESSION)


def read(directory: str) -> Recorded | None:
    """Return the record in a directory; None when there is none, or it cannot be understood."""
    try:
        told = _load(os.path.join(directory, SESSION))
        runs = {
            int(name.removeprefix(RUN)): _load(os.path.join(directory, name))
            for name in os.listdir(directory)
            if name.startswith(RUN) and not name.endswith(".new")
        }
        return Recorded(
            origin=Origin(machine=told["machine"], start=told["start"], place=told["place"]),
            group=told["group"],
            node=told["node"],
            session=told["session"],
            guardian=(int(told["guardian"][0]), int(told["guardian"][1])),
            runs=runs,
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _load(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _remove(directory: str, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(directory, name))
