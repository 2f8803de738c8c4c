"""`coord token`: hold a token of the group for one run of a command."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from coordinator.cli.commands.token import cleaning
from coordinator.cli.shared import shared
from coordinator.errors import UsageError

app = typer.Typer(
    help="Hold single tokens of a group, as locks; show tokens; release those of dead holders.",
    no_args_is_help=True,
)
app.command(name="list")(cleaning.list_)
app.command()(cleaning.release)


@app.command(context_settings={"allow_interspersed_args": False})
def hold(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the token in its group.")],
    command: Annotated[
        list[str], typer.Argument(metavar="[--] COMMAND...", help="The program, with its options.")
    ],
    nonblock: Annotated[
        bool, typer.Option("-n", "--nonblock", help="Give up at once if the token is held.")
    ] = False,
    wait: Annotated[
        str | None,
        typer.Option(
            *("-w", "--wait", "--timeout"),
            metavar="SECS",
            help="Give up after waiting so many seconds for the token.",
        ),
    ] = None,
    conflict_exit_code: Annotated[
        int,
        typer.Option(
            *("-E", "--conflict-exit-code"),
            metavar="CODE",
            min=0,
            max=255,
            help="Exit code after giving up.",
        ),
    ] = 75,
    pass_database: Annotated[
        bool,
        typer.Option(
            "--pass-database", help="Give the command COORD_DATABASE_URL, with the password."
        ),
    ] = False,
) -> None:
    """Run a command once while a token of the group is held, as flock does with a file.

    The exit code is the command's own; 75 (or -E) if the token could not be had in time, 76 if it
    was lost while the command ran, which is killed then. Without -n or -w it waits for ever.
    """
    if nonblock and wait is not None:
        raise UsageError("-n and -w exclude each other: -n does not wait at all")
    # Behind NAME the dashes are passed on as they are.
    argv = command[1:] if command[0] == "--" else command
    if not argv:
        raise UsageError("COMMAND is missing behind the dashes")
    chosen = shared(context)
    from coordinator.app.config.model.values import duration_s
    from coordinator.app.tokens.hold import hold as hold_token
    from coordinator.cli.connect import settings_of

    try:
        wait_s = None if wait is None else duration_s(wait)
    except ValueError as error:
        raise UsageError(f"-w: {error} (got {wait!r})") from None
    if wait_s is not None and wait_s < 0:
        raise UsageError(f"-w: must not be negative (got {wait!r})")
    settings = settings_of(chosen)
    # As quiet as flock, unless more was asked for: what the command prints is its own.
    asked = settings.origins.get("log.level", "default") != "default"
    usual = settings.log_level if asked else "warning"
    level = "error" if chosen.quiet else "debug" if chosen.verbose else usual
    hold_token(
        replace(
            settings,
            log_level=level,
            pass_database=pass_database or settings.pass_database,
        ),
        name,
        argv,
        nonblock=nonblock,
        wait_s=wait_s,
        conflict_code=conflict_exit_code,
    )
