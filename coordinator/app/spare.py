"""The spare: a copy of the agent that waits, and what it does when it is needed."""

from __future__ import annotations

import os
import threading
from typing import Any

from coordinator.app import node_main
from coordinator.app.node_main import Legacy
from coordinator.app.settings import NodeSettings
from coordinator.errors import CoordError
from coordinator.protocol.requests import Leave
from coordinator.runtime.channel import Channel
from coordinator.runtime.clock import BoottimeClock
from coordinator.runtime.isolation import Handle, kill_all

#: Tries to kill what a dead guardian left, of 0.2 s each.
KILLS_MAX = 25
#: Ending a dead agent's session is tried for this long when nobody else is left to do it.
BURY_S = 5.0


def wait(channel: Channel, settings: Any) -> tuple[Legacy, int]:
    """Wait until this process is to be the agent; ends it when it is not needed any more."""
    handles: dict[int, Handle] = {}
    session: str | None = None
    while True:
        message, fds = channel.receive()
        match message:
            case None:
                # The guardian is dead, and the agent may be: nothing of any program may live.
                # Each try is bounded; a process that the kernel cannot end now may end later.
                any(not kill_all(handles) for _ in range(KILLS_MAX))
                if session is not None:
                    bury(settings, session)
                os._exit(1)
            case {"say": "quit"}:
                os._exit(0)
            case {"say": "runs", "runs": list(runs), "session": found}:
                handles, session = dict(runs), _text(found)
            case {"say": "running", "run": int(number), "handle": dict(handle)}:
                handles[number] = handle
            case {"say": "idle", "run": int(number)}:
                handles.pop(number, None)
            case {"say": "session", "session": found}:
                session = _text(found)
            case {"say": "become", "session": found, "term": int(term), "program": program}:
                return Legacy(_text(found), term, program == "dying"), fds[0]
            case _:
                pass


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def bury(settings: NodeSettings, session: str) -> None:
    """End a session whose guardian and agent are both dead; the program has been killed."""
    made, clock, pause = node_main.parts(settings), BoottimeClock(), threading.Event()
    give_up_at = clock.now() + BURY_S
    while clock.now() < give_up_at:
        try:
            connection = made.store.connect(1.0)
            connection.ask(Leave(session=session, reason="the node died"), 1.0)
        except CoordError:
            pause.wait(node_main.FIRST_RETRY_S)
        else:
            return
