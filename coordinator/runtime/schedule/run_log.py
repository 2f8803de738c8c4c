"""Log lines of a schedule's runs: one event per line, with the user's own traceback."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType

from coordinator.errors import CoordError
from coordinator.runtime.log.logger import LOGGER

_Raised = tuple[type[BaseException], BaseException, TracebackType | None]

#: Packages whose frames lie between the start of a run and the user's own code.
_BETWEEN = ("coordinator", "tenacity", "concurrent", "asyncio")


def error_text(error: BaseException) -> str:
    """Return an error as one line; one without a readable text is named by its type."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a program's own __str__ may raise anything
        text = "(its text cannot be read)"
    if isinstance(error, CoordError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shown(moment: datetime) -> str:
    """Return a moment in the form for people and logs."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLog:
    """The log of one program under one holding; every line begins with the group.

    logger: name of the logger; code in an application's own process has another one.
    """

    group: str
    node: str
    term: int
    logger: str = LOGGER

    def say(self, event: str, text: str, **fields: object) -> None:
        """Log information for a person."""
        self._log(logging.INFO, event, text, fields)

    def warn(self, event: str, text: str, **fields: object) -> None:
        """Log an event that an operator may have to act on."""
        self._log(logging.WARNING, event, text, fields)

    def fail(self, event: str, text: str, error: Exception | None = None, **fields: object) -> None:
        """Log an event that an operator must act on, with the traceback in the user's code."""
        self._log(logging.ERROR, event, text, fields, _users_part(error))

    def _log(
        self,
        level: int,
        event: str,
        text: str,
        fields: dict[str, object],
        raised: _Raised | None = None,
    ) -> None:
        known = {"event": event, "group": self.group, "node": self.node, "term": self.term}
        logging.getLogger(self.logger).log(
            level, "%s: %s", self.group, text, exc_info=raised, extra=known | fields
        )


def _users_part(error: Exception | None) -> _Raised | None:
    """Return the part of a traceback to log; None for coord's own errors, whose text suffices."""
    if error is None or isinstance(error, CoordError):
        return None
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None and _is_between(frames):
        frames = frames.tb_next
    return (type(error), error, frames)


def _is_between(frames: TracebackType) -> bool:
    package = frames.tb_frame.f_globals.get("__package__") or ""
    return str(package).partition(".")[0] in _BETWEEN
