"""Form of a log line, one for all processes of a node.

    on a terminal     coord: orders: ACTIVE term 7
    text elsewhere    2026-11-30T11:00:00.123Z coord: orders: ACTIVE term 7
    JSON              {"time": …, "level": "INFO", "event": "active", "message": …, "group": …,
                      "node": …, and the fields of the event}

The guardian uses it too, so it loads next to nothing: no `logging`, no `datetime`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import NamedTuple

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
#: Event of a line that was logged without one.
NO_EVENT = "log"


class Voice(NamedTuple):
    """Form of the lines of one process, with its group and node."""

    style: str = "text"  #: "text" or "json"
    level: str = "info"  #: lines below this level are not written
    group: str = ""
    node: str = ""
    timed: bool = False  #: text begins with the time, because it does not go to a terminal

    def line(
        self,
        text: str,
        level: str = "WARNING",
        event: str = NO_EVENT,
        fields: Mapping[str, object] | None = None,
        at_s: float | None = None,
    ) -> str:
        """Return one whole line; at_s: moment of the wall clock, now by default."""
        at = wall_clock(time.clock_gettime(time.CLOCK_REALTIME) if at_s is None else at_s)
        if self.style == "text":
            head = f"{at} coord: " if self.timed else "coord: "
            return "".join(f"{head}{line}\n" for line in text.split("\n"))
        said: dict[str, object] = {"time": at, "level": level, "event": event, "message": text}
        said |= {"group": self.group, "node": self.node}
        return json.dumps(said | dict(fields or {}), default=str) + "\n"

    def says(self, level: str) -> bool:
        """Say whether lines of this level are written."""
        return LEVELS.get(level, 0) >= LEVELS.get(self.level.upper(), 0)


def voice_for(fd: int, style: str, level: str, *, group: str = "", node: str = "") -> Voice:
    """Return the form for a descriptor; "auto" is text on a terminal and JSON elsewhere."""
    on_terminal = os.isatty(fd)
    if style == "auto":
        style = "text" if on_terminal else "json"
    return Voice(style, level, group, node, not on_terminal)


def wall_clock(at_s: float) -> str:
    """Format a moment as ISO-8601, in UTC and to the millisecond."""
    whole, milliseconds = divmod(round(at_s * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03}Z"
