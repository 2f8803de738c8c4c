"""Since when somebody has what this node wanted: a look, for the last line of a node."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from coordinator.app.admin.status import Status, StatusReader
from coordinator.app.config.database_choice import Resolved
from coordinator.app.config.settings import NodeSettings
from coordinator.errors import CoordError
from coordinator.protocol.node.events import Finish
from coordinator.protocol.node.join import NAME_TAKEN_CODE

#: The line is worth a moment, not an outage of the database.
LOOK_S = 1.0


def trouble_of(settings: NodeSettings, finish: Finish) -> str:
    """Return why a node ended, with since when the token or the name has been somebody else's."""
    gave_up = settings.nonblock or settings.wait_s is not None
    conflict = gave_up and finish.code == settings.conflict_exit_code
    if not finish.trouble or not (conflict or finish.code == NAME_TAKEN_CODE):
        return finish.trouble
    found = _look(settings)
    if found is None:
        return finish.trouble
    return since_when(finish.trouble, found, settings.task_id)


def since_when(trouble: str, found: Status, node: str) -> str:
    """Add to the words of the machine what only the database's rows tell."""
    group = found.groups[0]
    held = f"(term {group.term})"
    if group.state == "active" and group.since is not None and held in trouble:
        return trouble.replace(held, f"{held} since {_moment(group.since)}", 1)
    beat = f"{node!r} is live on "
    namesake = next((each for each in group.nodes if each.node == node), None)
    if beat in trouble and namesake is not None and namesake.uptime_s is not None:
        since = found.server.server_time - timedelta(seconds=namesake.uptime_s)
        return trouble.replace(" (beat ", f" since {_moment(since)} (beat ", 1)
    return trouble


def _look(settings: NodeSettings) -> Status | None:
    database = settings.database
    resolved = Resolved(conninfo=database.conninfo, label=database.label, scope="server")
    try:
        look = StatusReader(resolved, schema=database.schema, timeout_s=LOOK_S)
    except CoordError:
        return None
    try:
        return look.status(settings.group_id)
    except CoordError:
        return None
    finally:
        look.close()


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
