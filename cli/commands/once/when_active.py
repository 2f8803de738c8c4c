"""`coord when-active`: run a command on the node that is active, and nowhere else."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli.shared import named_group, shared

EXIT_CODES = (
    "Exit codes: the command's own; 3 (or that of -E) when the node of this machine is not active,"
    " or there is none; 75 when 16 such commands run already; 76 when the command was stopped"
    " because the node gave the token up, lost it or left; 126, 127 when it cannot be executed."
)


def when_active(
    context: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(metavar="[--] COMMAND...", help="The command, with its own options."),
    ],
    node: Annotated[
        str | None,
        typer.Option(
            "--node", metavar="NODE", help="Ask this node, where a machine has several of them."
        ),
    ] = None,
    inactive_exit_code: Annotated[
        int,
        typer.Option(
            "-E",
            "--conflict-exit-code",
            metavar="CODE",
            min=0,
            max=255,
            help="Exit code where nothing is run because this node is not active.",
        ),
    ] = 3,
) -> None:
    """Run COMMAND if this machine's node of the group is the active one; exit 3 elsewhere.

    The node runs it beside its program, under the same guardian and the same deadline: it is told
    to end when the node gives the token up, and is dead before another node may act. It needs a
    running `coord run` of the same group and user on this machine, and no database.
    """
    from coordinator.app.node.one_off.asker import run
    from coordinator.cli.connect import settings_of
    from coordinator.cli.errors import say
    from coordinator.errors import ConditionFalseError

    chosen = shared(context)
    group = named_group(chosen, None) or settings_of(chosen).group_id
    inactive = ConditionFalseError.exit_code
    try:
        outcome = run(group, tuple(command), node)
    except ConditionFalseError as error:
        if not chosen.quiet:
            say(str(error))
        raise typer.Exit(inactive_exit_code) from None
    if outcome.why and not chosen.quiet:
        say(f"{group}: {outcome.why}")
    is_no = outcome.code == inactive and not outcome.ran
    raise typer.Exit(inactive_exit_code if is_no else outcome.code)
