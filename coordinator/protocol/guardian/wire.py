"""Every message between guardian, agent and spare, and the layout of the memory they share.

    build(word)    --> a message, as a channel carries it (one JSON object)
    parse(message) --> its value; None for an unknown message

Messages of the agent are events of the guardian and stand in events.py; messages of the guardian to
agent and spare stand here.

    agent    --> guardian   hello, start, open, extend, stop, kill, ping, session, exit
    guardian --> agent      echo, started, refused, waiting, stopping, ended, signal, leave
    guardian --> spare      runs, running, idle, session, quit, become
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from coordinator.protocol.guardian.events import (
    AgentEvent,
    ExitOrdered,
    ExtendOrdered,
    Greeted,
    KillOrdered,
    Message,
    Pinged,
    SessionTold,
    StartOrdered,
    StopOrdered,
    TellAgent,
    TellSpare,
)
from coordinator.protocol.guardian.gate_words import OpenOrdered
from coordinator.protocol.guardian.timing_words import Retimed

#: The trust board, which a program may read: until when it is trusted, and when that was written.
BOARD = struct.Struct("@dd")
#: One slot of the deadlines that agent and spare may read: the number of a run, 0 for none, and its
#: deadline. Both are doubles: the numbers of runs are far below 2**53.
SLOT = struct.Struct("@dd")


def board_name(marker: str) -> str:
    """Return the name of the trust board of one run; marker is the run's own part of its mark."""
    return f"coord-trust-{marker}"


# --- the guardian to the agent ------------------------------------------------------------------


class Echoed(NamedTuple):
    """The guardian is awake and has read the ping with this number."""

    n: int


class Started(NamedTuple):
    """The program of a run is being executed; its handle kills it from any process."""

    run: int
    pid: int
    handle: Message


class Refused(NamedTuple):
    """A run never started, with the reason; code is the node's exit code, 0 when trust was over."""

    run: int
    why: str
    code: int


class Waiting(NamedTuple):
    """The program of a run waits at its closed gate, or does not any more."""

    run: int
    waiting: bool


class Stopping(NamedTuple):
    """The program of a run was told to end."""

    run: int
    why: str


class Ended(NamedTuple):
    """No process of a run is left since `at`; `forced`: it was killed after its stop timeout."""

    run: int  #: or EVERY_RUN: all runs that dead agents had left
    status: int
    why: str
    at: float | None = None
    forced: bool = False


class Signalled(NamedTuple):
    """The guardian got a signal, the nth of its kind."""

    signum: int
    nth: int = 1


class LeaveOrdered(NamedTuple):
    """The node is to end with this code."""

    why: str
    code: int


# --- the guardian to the spare ------------------------------------------------------------------


class RunsTold(NamedTuple):
    """All runs with their handles, and the session that the agent holds."""

    runs: tuple[tuple[int, Message], ...]
    session: str | None
    term: int


class RunTold(NamedTuple):
    """One more run may have a process."""

    run: int
    handle: Message


class RunOver(NamedTuple):
    """Nothing of a run is left."""

    run: int


class QuitOrdered(NamedTuple):
    """The spare is no longer needed."""


class BecomeOrdered(NamedTuple):
    """The spare is the agent now; `dying`: programs of the dead agent may still live."""

    session: str | None
    term: int
    dying: bool


FromAgent = AgentEvent
ToAgent = Echoed | Started | Refused | Waiting | Stopping | Ended | Signalled | LeaveOrdered
ToSpare = RunsTold | RunTold | RunOver | SessionTold | QuitOrdered | BecomeOrdered
Word = FromAgent | ToAgent | ToSpare


def build(word: Word) -> Message:
    """Return the message of a value; fields that have their default are left out."""
    usual = word._field_defaults
    fields = {
        name: value for name, value in word._asdict().items() if usual.get(name, _NO) != value
    }
    if "env" in fields:
        fields["env"] = dict(fields["env"])
    return {"say": _SAYS[type(word)], **fields}


def to_agent(word: ToAgent) -> TellAgent:
    """Return the command that sends a message to the agent."""
    return TellAgent(build(word))


def to_spare(word: ToSpare) -> TellSpare:
    """Return the command that sends a message to the spare."""
    return TellSpare(build(word))


def parse(message: Mapping[str, Any]) -> Word | None:
    """Return the value of a message; None for an unknown message.

    A missing field has its default. Errors: KeyError, TypeError, ValueError for a known message
    that is ill-formed.
    """
    found = _WORDS.get(message.get("say", ""))
    if found is None:
        return None
    kind, readers = found
    fields = {}
    for field, read in readers.items():
        if field in message:
            fields[field] = read(message[field])
        elif field not in kind._field_defaults:
            raise KeyError(field)
    word: Word = kind(**fields)
    return word


def from_agent(message: Mapping[str, Any]) -> FromAgent | None:
    """Return a message of an agent; None for one that no agent sends. Errors: as `parse`."""
    word = parse(message)
    return word if isinstance(word, FromAgent) else None


def for_agent(message: Mapping[str, Any]) -> ToAgent | None:
    """Return a message to an agent; None for one that it does not understand."""
    word = _sensible(message)
    return word if isinstance(word, ToAgent) else None


def for_spare(message: Mapping[str, Any]) -> ToSpare | None:
    """Return a message to a spare; None for one that it does not understand."""
    word = _sensible(message)
    return word if isinstance(word, ToSpare) else None


def _sensible(message: Mapping[str, Any]) -> Word | None:
    """Parse a message of the guardian; one of a later version must not end an agent."""
    try:
        return parse(message)
    except (KeyError, TypeError, ValueError):
        return None


# --- readers of fields --------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"no text: {value!r}")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _number_or_none(value: Any) -> float | None:
    return None if value is None else float(value)


def _handle(value: object) -> Message:
    if not isinstance(value, dict):
        raise TypeError(f"no handle: {value!r}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in value)


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(int(item) for item in value)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    return tuple((_text(name), _text(content)) for name, content in dict(value).items())


def _runs(value: Any) -> tuple[tuple[int, Message], ...]:
    return tuple((int(run), _handle(handle)) for run, handle in value)


_Readers = dict[str, Callable[[Any], Any]]
_RUN: _Readers = {"run": int}
_SESSION: _Readers = {"session": _text_or_none, "term": int}
_START: _Readers = {
    **_RUN,
    "term": int,
    "trusted_until": float,
    "stop_timeout_s": float,
    "argv": _texts,
    "env": _pairs,
    "unset": _texts,
    "cwd": _text_or_none,
    "keep_fds": _numbers,
    "task": _text,
    "start_by": float,
    "forward": _numbers,
    "last_stop_s": _number_or_none,
    "gated": bool,
}
#: Name of each message, its type, and the readers of its fields.
_WORDS: dict[str, tuple[Any, _Readers]] = {
    "timing": (Retimed, {"silence_max_s": float, "room_s": float}),
    "hello": (Greeted, {"silence_max_s": float, "stop_timeout_s": float}),
    "start": (StartOrdered, _START),
    "open": (OpenOrdered, {**_RUN, "term": int, "session": _text, "trusted_until": float}),
    "extend": (ExtendOrdered, {**_RUN, "trusted_until": float}),
    "stop": (StopOrdered, {**_RUN, "grace_s": float}),
    "kill": (KillOrdered, _RUN),
    "ping": (Pinged, {"n": int}),
    "session": (SessionTold, _SESSION),
    "exit": (ExitOrdered, {"code": int}),
    "echo": (Echoed, {"n": int}),
    "started": (Started, {**_RUN, "pid": int, "handle": _handle}),
    "refused": (Refused, {**_RUN, "why": _text, "code": int}),
    "waiting": (Waiting, {**_RUN, "waiting": bool}),
    "stopping": (Stopping, {**_RUN, "why": _text}),
    "ended": (Ended, {**_RUN, "status": int, "why": _text, "at": _number_or_none, "forced": bool}),
    "signal": (Signalled, {"signum": int, "nth": int}),
    "leave": (LeaveOrdered, {"why": _text, "code": int}),
    "runs": (RunsTold, {"runs": _runs, **_SESSION}),
    "running": (RunTold, {**_RUN, "handle": _handle}),
    "idle": (RunOver, _RUN),
    "quit": (QuitOrdered, {}),
    "become": (BecomeOrdered, {**_SESSION, "dying": bool}),
}
_NO = object()  #: a default that no field has
_SAYS = {kind: say for say, (kind, _) in _WORDS.items()}
