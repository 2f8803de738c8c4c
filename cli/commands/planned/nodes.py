"""`coord drain`, `coord undrain` and `coord node set`: take nodes out of use, and rank them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.commands.planned.answers import answer
from coordinator.cli.commands.planned.arguments import Node, NoWait, Reason, Yes
from coordinator.cli.commands.planned.following import PlannedConnection, followed, open_planned
from coordinator.cli.commands.task.common import confirm
from coordinator.cli.shared import shared
from coordinator.errors import ConditionFalseError

if TYPE_CHECKING:
    from coordinator.app.admin.planned import PlannedKind, PlannedLine

node_app = typer.Typer(help="Set what counts for a node; end a killed one.", rich_markup_mode=None)
#: Upper limit of a priority; Config.toml has the same.
PRIORITY_MAX = 1_000_000
#: This value brings the one of the node's own file back.
DEFAULT = "default"


@node_app.callback()
def node() -> None:
    """Set what counts for a node; end a killed one."""


def drain(
    context: typer.Context,
    name: Node,
    no_wait: NoWait = False,
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Let a node give up what it holds and take nothing, until `coord undrain`.

    Tasks move first, each after its end. The last node that could work is refused: exit 3.
    """
    options = shared(context)
    from coordinator.app.admin.planned import Asked, PlannedKind

    with open_planned(options) as connection:
        if not yes:
            confirm(f"Drain node {name} of {connection.group}?")
        asked = Asked(kind=PlannedKind.DRAIN, node=name, reason=reason)
        number = connection.bounded(lambda: connection.changes.ask(connection.group, asked))
        if no_wait:
            change = connection.bounded(lambda: connection.changes.look(number))
            answer(connection, change, f"the drain of {name} is asked for (change {number})")
            return
        change = followed(connection, number, lambda _: _still_held(connection, name), stands=True)
        answer(connection, change, f"{name} is drained: it holds nothing and takes nothing")


def undrain(context: typer.Context, name: Node, reason: Reason = None) -> None:
    """Let a drained node work again; exit 3 if it is not drained."""
    options = shared(context)
    from coordinator.app.admin.planned import PlannedKind

    with open_planned(options) as connection:
        ended = _ended(connection, PlannedKind.DRAIN, name, reason)
        if not ended:
            raise ConditionFalseError(f"{connection.group}: {name} is not drained")
        answer(connection, ended[0], f"{name} may work again")


@node_app.command("set")
def set_node(
    context: typer.Context,
    name: Node,
    change: Annotated[
        str,
        typer.Argument(
            metavar="priority=N",
            help="N counts in the place of the file's; 0 never takes; priority=default ends that.",
        ),
    ],
    reason: Reason = None,
) -> None:
    """Set the priority of a node, at once and for all nodes of its group."""
    value = _priority(change)
    options = shared(context)
    from coordinator.app.admin.planned import Asked, PlannedKind

    with open_planned(options) as connection:
        kind = PlannedKind.PRIORITY
        if value is None:
            before = _ended(connection, kind, name, reason)
            if not before:
                raise ConditionFalseError(
                    f"{connection.group}: {name} has the priority of its file"
                )
            answer(connection, before[0], f"{name} has the priority of its file again")
            return
        asked = Asked(kind=kind, node=name, value=value, reason=reason)
        number = connection.bounded(lambda: connection.changes.ask(connection.group, asked))
        made = connection.bounded(lambda: connection.changes.look(number))
        answer(connection, made, f"{name} has priority {value}")


def _ended(
    connection: PlannedConnection, kind: PlannedKind, name: str, reason: str | None
) -> tuple[PlannedLine, ...]:
    from coordinator.app.admin.planned import PlannedOutcome

    def end() -> tuple[PlannedLine, ...]:
        return connection.changes.end(
            connection.group, (kind,), PlannedOutcome.DONE, node=name, reason=reason
        )

    return connection.bounded(end)


def _still_held(connection: PlannedConnection, name: str) -> str:
    """Return what a draining node still holds; empty: nothing."""
    held = connection.changes.held(connection.group, name)
    if not held:
        return ""
    return f"{name} still holds {len(held)}: {held[0][0]}{' …' if len(held) > 1 else ''}"


def _priority(change: str) -> int | None:
    """Return the priority that priority=N names; None for the file's own."""
    key, equals, text = change.partition("=")
    if key != "priority" or not equals:
        raise typer.BadParameter(f"{change!r} is not priority=N")
    if text == DEFAULT:
        return None
    if not text.isdecimal() or int(text) > PRIORITY_MAX:
        raise typer.BadParameter(f"priority: {text!r} is not a number from 0 to {PRIORITY_MAX}")
    return int(text)
