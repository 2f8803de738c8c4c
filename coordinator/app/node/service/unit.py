"""Variables that a service manager has given to `coord run`, taken out of the environment.

The node alone talks to it. No other process that the node starts gets these variables: a program
that said READY=1 or WATCHDOG=1 to the unit's socket would speak for the node.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from coordinator.app.config.settings import UnitSettings

#: Variables that are the node's alone; a program may get a NOTIFY_SOCKET of the node's own.
OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
#: First part of the name of a node's directory in the unit's RuntimeDirectory.
RECORDS = "node-"


def take_unit(environ: MutableMapping[str, str], pid: int) -> UnitSettings | None:
    """Take the variables of the service manager out of the environment; None without any.

    pid: this process, which becomes the guardian. A watchdog that is meant for another process is
    not ours. Errors: none; a watchdog that is no number is ignored, as sd_watchdog_enabled(3) does.
    """
    notify, usec, watched = (environ.pop(name, "") for name in OWN)
    watchdog_s = 0.0
    if usec.isdecimal() and watched in ("", str(pid)):
        watchdog_s = int(usec) / 1e6
    start, directory = environ.get("INVOCATION_ID", ""), environ.get("RUNTIME_DIRECTORY", "")
    record = _record(directory.partition(":")[0], pid) if directory and start else None
    if not notify and record is None:
        return None
    return UnitSettings(notify=notify, watchdog_s=watchdog_s, record=record, start=start)


def _record(directory: str, pid: int) -> str:
    """Return the directory of one node; a unit may start several, and a program another node."""
    return os.path.join(directory, f"{RECORDS}{pid}")


def too_short(unit: UnitSettings | None, heartbeat_s: float) -> tuple[str, ...]:
    """Return a warning about a watchdog that ends a node between two of its heartbeats."""
    if unit is None or not unit.watchdog_s or unit.watchdog_s >= 3 * heartbeat_s:
        return ()
    return (
        f"WatchdogSec of the unit is {unit.watchdog_s:g} s: a node that misses one heartbeat is"
        f" killed; use at least 3 x heartbeatFrequency ({3 * heartbeat_s:g} s)",
    )
