"""The messages of the agent, read as events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coordinator.protocol.guardian import events as words
from coordinator.protocol.guardian.events import Event


def understand(message: Mapping[str, Any]) -> Event | None:
    """Return the event that a message means; None for a word that is not known.

    Errors: KeyError, TypeError, ValueError for a known word that is ill-formed.
    """
    match message.get("say"):
        case "hello":
            return words.Greeted(float(message["silence_max_s"]), float(message["stop_timeout_s"]))
        case "ping":
            return words.Pinged(int(message["n"]))
        case "session":
            return words.SessionTold(message["session"], int(message["term"]))
        case "start":
            return _start(message)
        case "extend":
            return words.ExtendOrdered(int(message["run"]), float(message["trusted_until"]))
        case "stop":
            return words.StopOrdered(int(message["run"]), float(message["grace_s"]))
        case "kill":
            return words.KillOrdered(int(message["run"]))
        case "exit":
            return words.ExitOrdered(int(message["code"]))
        case _:
            return None


def _start(message: Mapping[str, Any]) -> words.StartOrdered:
    return words.StartOrdered(
        run=int(message["run"]),
        term=int(message["term"]),
        trusted_until=float(message["trusted_until"]),
        start_by=float(message.get("start_by", "inf")),
        stop_timeout_s=float(message["stop_timeout_s"]),
        last_stop_s=float(message.get("last_stop_s", message["stop_timeout_s"])),
        argv=tuple(message["argv"]),
        env=tuple(message.get("env", {}).items()),
        unset=tuple(message.get("unset", ())),
        cwd=message.get("cwd"),
        keep_fds=tuple(message.get("keep_fds", ())),
        forward=tuple(int(signum) for signum in message.get("forward", ())),
        task=str(message.get("task", "")),
    )
