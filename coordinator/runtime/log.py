"""What a node says: a sentence for a person on a terminal, one JSON object a line otherwise."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

LOGGER = "coord"

#: Words of the log that an operator may have to act on.
_WARNINGS = frozenset(
    {
        "database-lost",
        "trust-ended",
        "session-ended",
        "dead-branch",
        "left",
        "suspended",
    }
)
_ERRORS = frozenset({"program-refused", "guardian-lost", "two-primaries"})


def set_up(level: str, style: str) -> logging.Logger:
    """Configure the logger of this process; style is "auto", "text" or "json"."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level.upper())
    handler = logging.StreamHandler(sys.stderr)
    if style == "json" or (style == "auto" and not os.isatty(2)):
        handler.setFormatter(_json_formatter())
    else:
        handler.setFormatter(logging.Formatter("coord: %(message)s"))
    logger.handlers[:] = [handler]
    logger.propagate = False
    return logger


def _json_formatter() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        "{levelname}{message}",
        style="{",
        timestamp=True,
        rename_fields={"levelname": "level", "message": "text"},
    )


def level_of(event: str) -> int:
    """Return the level that an event of the machine is logged with."""
    if event in _ERRORS:
        return logging.ERROR
    return logging.WARNING if event in _WARNINGS else logging.INFO


def say(logger: logging.Logger, event: str, text: str, fields: Mapping[str, object]) -> None:
    """Log one event as one line: a text for people, fields for machines."""
    shown = {key: value for key, value in fields.items() if value is not None}
    logger.log(level_of(event), text, extra={"event": event, **shown})
