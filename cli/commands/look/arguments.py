"""Arguments that the commands of this folder share."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli import complete

Group = Annotated[
    str | None,
    typer.Argument(metavar="[GROUP]", help="Default: all groups.", autocompletion=complete.groups),
]
OneGroup = Annotated[
    str | None,
    typer.Argument(
        metavar="[GROUP]", help="Default: the configured group.", autocompletion=complete.groups
    ),
]
