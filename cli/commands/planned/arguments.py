"""Arguments and options that the commands of this folder share."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli import complete
from coordinator.cli.commands.task.common import Reason, Yes

__all__ = ["Group", "NoWait", "Node", "OneGroup", "Reason", "Yes", "span_s"]

OneGroup = Annotated[
    str | None,
    typer.Argument(
        metavar="[GROUP]", help="Default: the configured group.", autocompletion=complete.groups
    ),
]
Group = Annotated[
    str, typer.Argument(metavar="GROUP", help="The group.", autocompletion=complete.groups)
]
Node = Annotated[str, typer.Argument(metavar="NODE", help="A node.", autocompletion=complete.nodes)]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Only ask for it; do not wait for what becomes of it.")
]


def span_s(text: str | None, hint: str) -> float | None:
    """Return the seconds of an option such as "30m"; None when it was not given."""
    from coordinator.cli.render.units import seconds_of

    try:
        return None if text is None else seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None
