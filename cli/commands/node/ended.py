"""`coord node ended`: the last command of a unit, after all processes of its node were killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from coordinator.cli.connect import database_of, database_settings_of
from coordinator.cli.errors import say
from coordinator.cli.shared import Shared, shared

if TYPE_CHECKING:
    from coordinator.app.config.settings import NodeSettings


def ended(context: typer.Context) -> None:
    """End the session of a node whose unit has ended: ExecStopPost= of systemd runs it.

    A standby then takes over at once, also when every process was killed. The session is left
    alone as long as a process of the node may live (exit 3); the lease then ends as ever. Without
    a session that is left to end, and outside a unit, nothing happens.
    """
    import os

    from coordinator.app.node.service import after_stop
    from coordinator.app.node.spare import bury
    from coordinator.errors import ConditionFalseError

    options = shared(context)
    records = after_stop.found(os.environ)
    if not records:
        return
    settings = _with_database(options)
    endings = [after_stop.end(path, record, os.environ, settings, bury) for path, record in records]
    for each in endings:
        if not each.hindrance and not options.quiet:
            say(f"{each.group}: the session of {each.node} is ended: all its processes are dead")
    left = [each for each in endings if each.hindrance]
    if left:
        raise ConditionFalseError(
            "; ".join(
                f"{each.group}: the session of {each.node} is left to its lease: {each.hindrance}"
                for each in left
            )
        )


def _with_database(options: Shared) -> NodeSettings:
    """Return the settings with the database that the node has used; no server is started."""
    from dataclasses import replace

    settings = database_settings_of(options)
    resolved = database_of(options, settings, footed=True)
    label = resolved.label or settings.database.label
    database = replace(settings.database, conninfo=resolved.conninfo, label=label)
    return replace(settings, database=database)
