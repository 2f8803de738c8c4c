"""`coord switchover` and `coord resign`: let another node become the active one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import complete
from coordinator.cli.commands.planned.answers import answer
from coordinator.cli.commands.planned.arguments import NoWait, OneGroup, Reason, Yes, span_s
from coordinator.cli.commands.planned.following import (
    PlannedConnection,
    followed,
    noun,
    open_planned,
)
from coordinator.cli.commands.task.common import confirm
from coordinator.cli.shared import shared
from coordinator.errors import ConditionFalseError

if TYPE_CHECKING:
    from coordinator.app.admin.planned import Asked, PlannedLine


def switchover(
    context: typer.Context,
    group: OneGroup = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="NODE", help="Default: the best standby.", autocompletion=complete.nodes
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help='A moment, as "2026-05-04T03:00:00Z", of the server\'s clock.',
        ),
    ] = None,
    later: Annotated[
        str | None, typer.Option("--in", metavar="TIME", help='After a time, as "5m".')
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the switchover that was asked for.")
    ] = False,
    no_wait: NoWait = False,
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Hand the token of a group over to another node.

    The active node ends its program and gives the token up; the target takes it then. Exit 3 with
    what is in the way if that cannot work.
    """
    if cancel and (to or at or later):
        raise typer.BadParameter("--cancel takes no --to, --at or --in")
    if at and later:
        raise typer.BadParameter("--at and --in cannot be combined")
    moment, in_s = _moment(at), span_s(later, "--in")
    options = shared(context)
    from coordinator.app.admin.planned import Asked, PlannedKind

    with open_planned(options, group) as connection:
        if cancel:
            _cancel(connection, reason)
            return
        if not yes:
            confirm(f"Hand the token of {connection.group} over to {to or 'the best standby'}?")
        asked = Asked(kind=PlannedKind.SWITCHOVER, node=to, at=moment, in_s=in_s, reason=reason)
        _hand_over(connection, asked, no_wait=no_wait)


def resign(
    context: typer.Context,
    group: OneGroup = None,
    node: Annotated[
        str | None,
        typer.Option(
            "--node",
            metavar="NODE",
            help="Default: the node of this program, or taskId of the configuration.",
            autocompletion=complete.nodes,
        ),
    ] = None,
    no_wait: NoWait = False,
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Let a node give the token up and stay as a standby; exit 3 if it does not hold it."""
    import os

    options = shared(context)
    from coordinator.app.admin.planned import Asked, PlannedKind

    with open_planned(options, group) as connection:
        # A program knows its own node as COORD_NODE.
        who = node or os.environ.get("COORD_NODE") or connection.settings.task_id
        if not yes:
            confirm(f"Let {who} give the token of {connection.group} up?")
        asked = Asked(kind=PlannedKind.RESIGN, node=who, reason=reason)
        _hand_over(connection, asked, no_wait=no_wait)


def _hand_over(connection: PlannedConnection, asked: Asked, *, no_wait: bool) -> None:
    number = connection.bounded(lambda: connection.changes.ask(connection.group, asked))
    if no_wait:
        change = connection.bounded(lambda: connection.changes.look(number))
        answer(connection, change, f"the {noun(change)} is asked for (change {number})")
        return
    change = followed(connection, number, _waiting)
    answer(connection, change, f"the {noun(change)} is done: {change.outcome_reason}")


def _waiting(change: PlannedLine) -> str:
    """Return what a handover still waits for."""
    to = f" to {change.node}" if change.node and change.kind == "switchover" else ""
    if change.state == "waiting" and change.wait_s is not None:
        return f"switchover{to} in {max(0.0, change.wait_s):.0f} s"
    return f"{change.kind}{to} under way"


def _cancel(connection: PlannedConnection, reason: str | None) -> None:
    from coordinator.app.admin.planned import PlannedOutcome
    from coordinator.protocol.messages.planned import HANDOVERS

    def end() -> tuple[PlannedLine, ...]:
        return connection.changes.end(
            connection.group, HANDOVERS, PlannedOutcome.CANCELLED, reason=reason
        )

    ended = connection.bounded(end)
    if not ended:
        raise ConditionFalseError(f"{connection.group}: no switchover is open")
    answer(connection, ended[0], f"the {noun(ended[0])} is cancelled")


def _moment(text: str | None) -> str | None:
    """Return a moment with its offset from UTC; local time without one is refused."""
    from datetime import datetime

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(
            f'{text!r} is not a moment with an offset, such as "2026-05-04T03:00:00Z"',
            param_hint="--at",
        )
    return moment.isoformat()
