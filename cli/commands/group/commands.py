"""`coord group`: what concerns a group as a whole."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli import complete
from coordinator.cli.commands.group import settings
from coordinator.cli.commands.task.common import Yes, confirm
from coordinator.cli.connect import open_cleaner
from coordinator.cli.shared import shared

app = typer.Typer(help="Operate a group as a whole.", no_args_is_help=True, rich_markup_mode=None)

app.command("show")(settings.show)
app.command("set")(settings.set_group)


@app.command()
def delete(
    context: typer.Context,
    group: Annotated[
        str, typer.Argument(metavar="GROUP", help="The group.", autocompletion=complete.groups)
    ],
    yes: Yes = False,
) -> None:
    """Delete a group: its nodes, tasks, events and history; refused while a node lives.

    The terms of its tokens stay, so that a group of the same name goes on above them.
    """
    from coordinator.cli.render.emit import print_done

    options = shared(context)
    if not yes:
        confirm(f"Delete the group {group} with its tasks and history?")
    with open_cleaner(options) as cleaner:
        cleaner.delete_group(group)
    print_done(options, f"{group}: deleted", groupId=group)
