"""Log of a node: a sentence for a person on a terminal, one JSON object a line otherwise."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Mapping

from coordinator.runtime.log.line_form import NO_EVENT, Voice, voice_for
from coordinator.runtime.log.line_writer import LineWriter

LOGGER = "coord"

#: Events that an operator may have to act on.
_WARNINGS = frozenset(
    {
        "database-lost",
        "trust-ended",
        "session-ended",
        "dead-branch",
        "unsettled",
        "suspended",
        "crash-loop",
        "hook-failed",
        "webhook-late",
        "hung",
        "task-crash-loop",
        "task-refused",
        "alert",
        "warning",
    }
)
_ERRORS = frozenset({"program-refused", "guardian-lost", "two-primaries", "second-primary"})


#: Seconds that a process which ends gives its last lines to be written.
END_MAX_S = 0.5


class _QueuedHandler(logging.Handler):
    """Passes whole lines to a writer: no caller waits for the reader of the log."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writer = LineWriter(2, self._told_of_loss)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a line less is no reason to end
            line = self.format(_record(logging.ERROR, f"a line could not be made: {error!r}"))
        self._writer.put(f"{line}\n")

    def flush(self) -> None:
        self._writer.flush(END_MAX_S)

    def _told_of_loss(self, lost: int) -> str:
        text = f"{lost} lines were lost here: the log did not take them"
        return f"{self.format(_record(logging.WARNING, text))}\n"


class _Stream(io.TextIOBase):
    """Replaces stderr, so that the interpreter's own output waits for no reader either."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger, self._begun = logger, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            self._logger.error("%s", line, extra={"event": "stderr"})
        return len(text)


def set_up(level: str, style: str, *, group: str = "", node: str = "") -> logging.Logger:
    """Configure the logger of this process; style is "auto", "text" or "json".

    Logging never waits for a reader, and every line names group and node.
    """
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level.upper())
    voice = voice_for(2, style, level, group=group, node=node)
    logger.handlers[:] = [_QueuedHandler(_Formatter(voice))]
    logger.propagate = False
    return logger


def take_stderr(logger: logging.Logger) -> None:
    """Redirect tracebacks and warnings of the interpreter, so that they wait for no reader."""
    sys.stderr = _Stream(logger)


def end() -> None:
    """Write the last lines, if that is possible at once."""
    for handler in logging.getLogger(LOGGER).handlers:
        handler.flush()


def _record(level: int, text: str) -> logging.LogRecord:
    record = logging.LogRecord(LOGGER, level, "", 0, text, None, None)
    record.event = "log-lost"
    return record


class _Formatter(logging.Formatter):
    """Formats a record in the form of its process, with everything given as `extra`."""

    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self._voice = voice

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        raised = self.formatException(record.exc_info) if record.exc_info else ""
        known = vars(record)
        fields = {key: known[key] for key in known.keys() - _USUAL}
        event = str(fields.pop("event", NO_EVENT))
        if raised and self._voice.style == "json":
            fields["exception"] = raised
        line = self._voice.line(text, record.levelname, event, fields, record.created)
        if raised and self._voice.style == "text":
            line += f"{raised}\n"
        return line.removesuffix("\n")


#: Attributes of every record.
_USUAL = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"}


def level_of(event: str) -> int:
    """Return the log level of an event of the machine."""
    if event in _ERRORS:
        return logging.ERROR
    return logging.WARNING if event in _WARNINGS else logging.INFO


def say(logger: logging.Logger, event: str, text: str, fields: Mapping[str, object]) -> None:
    """Log one event as one line: a text for people, fields for machines."""
    shown = {key: value for key, value in fields.items() if value is not None}
    logger.log(level_of(event), text, extra={"event": event, **shown})


def fail(logger: logging.Logger, event: str, text: str) -> None:
    """Log why this process cannot go on, or could not do what it was asked for."""
    logger.error("%s", text, extra={"event": event})
