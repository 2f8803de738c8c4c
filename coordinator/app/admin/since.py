"""Last line of a node that gave up: the time since when another node has the token or the name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from coordinator.app.admin.status import Status, StatusReader
from coordinator.app.config.database_choice import Resolved
from coordinator.app.config.settings import NodeSettings
from coordinator.errors import CoordError
from coordinator.protocol.node.events import Finish
from coordinator.protocol.node.join import NAME_TAKEN_CODE

#: The line waits for the database for no longer than this.
READ_MAX_S = 1.0


def trouble_of(settings: NodeSettings, finish: Finish) -> str:
    """Return the reason for a node's end, with the time when another took the token or the name."""
    gave_up = settings.nonblock or settings.wait_s is not None
    conflict = gave_up and finish.code == settings.conflict_exit_code
    if not finish.trouble or not (conflict or finish.code == NAME_TAKEN_CODE):
        return finish.trouble
    found = _read(settings)
    if found is None:
        return finish.trouble
    return since_when(finish.trouble, found, settings.task_id)


def since_when(trouble: str, found: Status, node: str) -> str:
    """Add the time, which only the rows of the database hold, to the machine's sentence."""
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


def _read(settings: NodeSettings) -> Status | None:
    database = settings.database
    resolved = Resolved(conninfo=database.conninfo, label=database.label, scope="server")
    try:
        reader = StatusReader(resolved, schema=database.schema, timeout_s=READ_MAX_S)
    except CoordError:
        return None
    try:
        return reader.status(settings.group_id)
    except CoordError:
        return None
    finally:
        reader.close()


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
