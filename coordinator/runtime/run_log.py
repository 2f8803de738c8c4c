"""What a schedule says about its runs: one event, one line, and the user's own traceback."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from coordinator.errors import CoordError
from coordinator.runtime.log import LOGGER

logger = logging.getLogger(LOGGER)

#: Packages whose frames stand between the top of a run and the user's own code.
_BETWEEN = ("coordinator", "tenacity", "concurrent", "asyncio")


def error_text(error: BaseException) -> str:
    """Return an error as one line."""
    text = " ".join(str(error).split())
    if isinstance(error, CoordError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def tell_failure(slot: datetime, count: int, failure: Exception) -> None:
    """Log a failed run; with the user's own frames when it was the user's code that raised."""
    frames_shown = None
    if not isinstance(failure, CoordError):
        frames = failure.__traceback__
        while frames is not None and frames.tb_next is not None and _is_between(frames):
            frames = frames.tb_next
        frames_shown = (type(failure), failure, frames)
    logger.error(
        "run %d (%s) failed: %s",
        count,
        shown(slot),
        error_text(failure),
        exc_info=frames_shown,
        extra={"event": "run-failed", "count": count, "slot": shown(slot)},
    )


def _is_between(frames: Any) -> bool:
    name = frames.tb_frame.f_globals.get("__name__", "")
    return str(name).partition(".")[0] in _BETWEEN


def say(event: str, text: str, **fields: object) -> None:
    """Log what a person may want to know."""
    logger.info(text, extra={"event": event, **fields})


def warn(event: str, text: str, **fields: object) -> None:
    """Log what an operator may have to act on."""
    logger.warning(text, extra={"event": event, **fields})


def shown(moment: datetime) -> str:
    """Return a moment as people and logs read it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
