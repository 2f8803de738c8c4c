"""`coord pause` and `coord resume`: keep a group from working, or from being taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.commands.planned.answers import answer
from coordinator.cli.commands.planned.arguments import Group, NoWait, Reason, Yes, span_s
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
    from coordinator.app.admin.planned import PlannedLine


def pause(
    context: typer.Context,
    group: Group,
    work: Annotated[
        bool, typer.Option("--work", help="The program or the tasks stop; nobody starts them.")
    ] = False,
    takeovers: Annotated[
        bool,
        typer.Option(
            "--takeovers", help="Nobody takes a token, a released one included; what runs goes on."
        ),
    ] = False,
    lasts: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help='End it after a time, as "30m".'),
    ] = None,
    no_wait: NoWait = False,
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Pause a group until `coord resume`, or for a time; --work or --takeovers is required."""
    if work == takeovers:
        raise typer.BadParameter(
            "one of --work (stops the work) and --takeovers (lets it go on) is required"
        )
    for_s = span_s(lasts, "--for")
    options = shared(context)
    from coordinator.app.admin.planned import Asked, PlannedKind

    kind = PlannedKind.PAUSE_WORK if work else PlannedKind.PAUSE_TAKEOVERS
    with open_planned(options, group) as connection:
        if not yes:
            what = "Stop the work" if work else "Let nobody take over the work"
            confirm(
                f"{what} of {connection.group} {'until `coord resume`' if for_s is None else ''}?"
            )
        asked = Asked(kind=kind, for_s=for_s, reason=reason)
        number = connection.bounded(lambda: connection.changes.ask(connection.group, asked))
        if no_wait or takeovers:
            change = connection.bounded(lambda: connection.changes.look(number))
        else:
            change = followed(connection, number, lambda _: _still_held(connection), stands=True)
        until = "until `coord resume`" if for_s is None else f"for {lasts}"
        word = "work is paused" if work else "takeovers are paused"
        answer(connection, change, f"{word} {until}")


def resume(context: typer.Context, group: Group, reason: Reason = None) -> None:
    """End the pause of a group; exit 3 if it is not paused."""
    options = shared(context)
    from coordinator.app.admin.planned import PlannedOutcome
    from coordinator.protocol.messages.planned import PAUSES

    with open_planned(options, group) as connection:

        def end() -> tuple[PlannedLine, ...]:
            return connection.changes.end(
                connection.group, PAUSES, PlannedOutcome.DONE, reason=reason
            )

        ended = connection.bounded(end)
        if not ended:
            raise ConditionFalseError(f"{connection.group} is not paused")
        answer(
            connection, ended[0], f"resumed (the {noun(ended[0])} by {ended[0].asked_by} is over)"
        )


def _still_held(connection: PlannedConnection) -> str:
    """Return who still works; empty: nobody does."""
    held = connection.changes.held(connection.group)
    if not held:
        return ""
    nodes = sorted({node for _, node in held})
    return f"{', '.join(nodes)} still ends {len(held)} of the group's programs"
