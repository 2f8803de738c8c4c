"""`coord group show` and `coord group set`: settings that all nodes of a group have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.commands.planned.answers import answer
from coordinator.cli.commands.planned.arguments import Group, NoWait, OneGroup, Reason, Yes
from coordinator.cli.commands.planned.following import PlannedConnection, followed, open_planned
from coordinator.cli.commands.task.common import confirm
from coordinator.cli.shared import shared
from coordinator.errors import ConditionFalseError

if TYPE_CHECKING:
    from coordinator.app.admin.planned import PlannedLine

LIVENESS = "livenessCheckInterval"
#: Upper limit of an interval, in seconds: a day.
LIVENESS_MAX_S = 86_400


def show(context: typer.Context, group: OneGroup = None) -> None:
    """Show the settings of a group for all its nodes, and what each live node has.

    A node whose file has another value goes by the group's, and says so once in its log.
    """
    from coordinator.cli.commands.group.pages import show_settings

    options = shared(context)
    with open_planned(options, group) as connection:
        settings = connection.bounded(lambda: connection.changes.settings(connection.group))
        answered = connection.bounded(connection.changes.answered)
    show_settings(options, settings, answered)


def set_group(
    context: typer.Context,
    group: Group,
    setting: Annotated[
        str | None,
        typer.Argument(
            metavar="[livenessCheckInterval=TIME]",
            help='Seconds, or a time such as "500ms"; it counts for all nodes of the group.',
        ),
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Take back a value that some node has not got yet.")
    ] = False,
    no_wait: NoWait = False,
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Set livenessCheckInterval for all nodes of a group, while they run.

    It is in force when every live node has it. Refused while another value is on its way, or where
    a live node's heartbeatFrequency does not allow it: exit 3.
    """
    if cancel == (setting is not None):
        raise typer.BadParameter(f"one of {LIVENESS}=TIME and --cancel is required")
    value_ms = 0 if setting is None else _milliseconds(setting)
    options = shared(context)
    with open_planned(options, group) as connection:
        if cancel:
            _take_back(connection, reason)
            return
        _set(connection, value_ms, no_wait=no_wait, reason=reason, yes=yes)


def _set(
    connection: PlannedConnection, value_ms: int, *, no_wait: bool, reason: str | None, yes: bool
) -> None:
    from coordinator.app.admin.planned import Asked, PlannedKind

    said = f"{LIVENESS} = {value_ms / 1000:g} s"
    if not yes:
        confirm(f"Set {said} for all nodes of {connection.group}?")
    asked = Asked(kind=PlannedKind.LIVENESS, value=value_ms, reason=reason)
    number = connection.bounded(lambda: connection.changes.ask(connection.group, asked))
    if no_wait:
        change = connection.bounded(lambda: connection.changes.look(number))
        answer(connection, change, f"{said} is asked for (change {number})")
        return
    change = followed(connection, number, _lacking)
    answer(connection, change, f"{said} for all nodes")


def _take_back(connection: PlannedConnection, reason: str | None) -> None:
    """Cancel the value that is on its way; each node goes back to the one before."""
    from coordinator.app.admin.planned import PlannedOutcome

    settings = connection.bounded(lambda: connection.changes.settings(connection.group))
    spreading = settings.spreading
    if spreading is None:
        raise ConditionFalseError(f"{connection.group}: no setting is on its way")
    number = spreading.id
    change = connection.bounded(
        lambda: connection.changes.end_one(
            connection.group, number, PlannedOutcome.CANCELLED, reason=reason
        )
    )
    said = f"{LIVENESS} = {(spreading.value or 0) / 1000:g} s"
    answer(connection, change, f"{said} is taken back (change {number})")


def _lacking(change: PlannedLine) -> str:
    """Return which nodes a setting still waits for."""
    from coordinator.app.admin.planned_lines import named

    return f"waiting for {named(change.lacking) or 'the nodes to agree'}"


def _milliseconds(setting: str) -> int:
    """Return the interval that livenessCheckInterval=TIME names."""
    from coordinator.cli.render.units import seconds_of

    key, equals, text = setting.partition("=")
    if key != LIVENESS:
        raise typer.BadParameter(
            f"{key!r} is no setting of a group: {LIVENESS} is the one that there is"
        )
    if not equals:
        raise typer.BadParameter(f"{setting!r} is not {LIVENESS}=TIME")
    try:
        interval_s = seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(f"{LIVENESS}: {error}") from None
    if not 0.1 <= interval_s <= LIVENESS_MAX_S:
        raise typer.BadParameter(f"{LIVENESS}: {text} is not from 100ms to 24h")
    return round(1000 * interval_s)
