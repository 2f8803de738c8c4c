"""Lines that a node logs once, at its start: the level that it reached on this machine."""

from __future__ import annotations

import logging

from coordinator.app.config.settings import NodeSettings
from coordinator.runtime.isolation.levels import reach
from coordinator.runtime.log import logger as log


def say_warnings(logger: logging.Logger, settings: NodeSettings) -> None:
    """Say what is odd in the configuration, and that the embedded server is the database."""
    for line in settings.warnings:
        log.say(logger, "warning", line, {})


def first_words(
    logger: logging.Logger, settings: NodeSettings, level: str, *, listening: bool
) -> None:
    """Say which level of isolation was reached, and whether notifications come."""
    group = settings.group_id
    fields = {"group": group, "node": settings.task_id}
    text = f"{group}: isolation {level}: it kills {reach(level)}"
    log.say(logger, "isolation", text, fields | {"isolation": level})
    if not listening:
        text = (
            f"{group}: a pooler stands before the database and passes no notifications on:"
            " a handover takes up to one heartbeat"
        )
        log.say(logger, "no-push", text, fields)
