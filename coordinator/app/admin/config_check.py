"""Checks that only `coord config check` makes, and the start of a node does not."""

from __future__ import annotations

import json

from coordinator.app.config.settings import NodeSettings
from coordinator.app.program.import_check import check_callable
from coordinator.errors import ConfigError

#: The taskId in the file that `coord init` writes.
TEMPLATE_NAME = "add-unique-task"


def problems_of(settings: NodeSettings) -> tuple[str, ...]:
    """Return a line for each problem that a node with these settings will have."""
    found = []
    if settings.task_id == TEMPLATE_NAME:
        place = settings.origins.get("taskId", "taskId")
        found.append(
            f"{place}: taskId: {TEMPLATE_NAME!r} is the template's: give this node a name that no"
            " other node has, or delete the line"
        )
    for key, target in _callables(settings):
        try:
            check_callable(target)
        except ConfigError as error:
            place = settings.origins.get(key, settings.config_path or "settings")
            found.append(f"{place}: {str(error).splitlines()[0]}")
    return tuple(found)


def _callables(settings: NodeSettings) -> list[tuple[str, str]]:
    """Return the key and the name of each Python function that would be called."""
    program = settings.program
    found = [] if program is None else [("program.callable", program.callable)]
    for task in settings.tasks:
        found.append((f"tasks.{task.name}", json.loads(task.spec).get("callable")))
    return [(key, target) for key, target in found if target]
