"""Options that every command understands, wherever they stand on the command line.

Each command and each group of commands parses them, and stores them in the context's `obj`, a
plain dict that `main` made: `coord -g x status` and `coord status -g x` are the same.
"""

from __future__ import annotations

import re
from copy import copy
from pathlib import Path
from typing import Annotated, Any

import typer

from coordinator.cli import complete
from coordinator.cli.manual import lay_out
from coordinator.cli.shared import Color, Output, TimeStyle

#: "user:password@" as libpq finds it in a URL, or any keyword that holds a password.
PASSWORD_IN_URL = re.compile(r"://[^/@]*:[^/@]+@|password\s*=", re.IGNORECASE)


def attach(root: Any) -> None:
    """Give the shared options to a command and to everything below it."""
    prototype: Any = typer.Typer()
    prototype.command()(_prototype)
    options = typer.main.get_command(prototype).params
    wanted = [option for option in options if option.name in _prototype.__annotations__]
    _extend(root, wanted)


def _extend(command: Any, options: list[Any]) -> None:
    # A command's own option comes first: the --timeout of one, the -c of another.
    own = {word for param in command.params for word in param.opts}
    added = [_without(option, own) for option in options if not own.issuperset(option.opts)]
    command.params.extend(added)
    lay_out(command, [option.name for option in added])
    for inner in getattr(command, "commands", {}).values():
        _extend(inner, options)


def _without(option: Any, own: set[str]) -> Any:
    """Return an option without the names that a command uses for its own: `coord sql -c`."""
    if own.isdisjoint(option.opts):
        return option
    left = copy(option)
    left.opts = [name for name in option.opts if name not in own]
    return left


def _keep(context: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    """Store a value that was given; the innermost command is parsed last and wins."""
    if value is not None and value is not False:
        context.obj[param.name] = value


def _keep_url(context: typer.Context, param: typer.CallbackParam, value: str | None) -> None:
    if value and PASSWORD_IN_URL.search(value):
        raise typer.BadParameter(
            "holds a password, and every user of this machine can read a command line;"
            " put the URL into COORD_DATABASE_URL, or the password into ~/.pgpass"
        )
    _keep(context, param, value)


def _option(*names: str, env: str, help: str, **more: Any) -> Any:  # noqa: A002 - typer's word
    settings: dict[str, Any] = {"callback": _keep, "expose_value": False, "show_default": False}
    return typer.Option(*names, help=f"{help} [env: {env}]", **(settings | more))


def _prototype(
    config: Annotated[
        Path | None,
        _option("-c", "--config", env="COORD_CONFIG", help="Path of Config.toml.", metavar="PATH"),
    ] = None,
    database_url: Annotated[
        str | None,
        _option(
            "--database-url",
            env="COORD_DATABASE_URL",
            help="URL of the database, without a password.",
            metavar="URL",
            callback=_keep_url,
        ),
    ] = None,
    group_id: Annotated[  # not `group`: commands have an argument of that name
        str | None,
        _option(
            "-g",
            "--group",
            env="COORD_GROUP_ID",
            help="Group of nodes.",
            metavar="GROUP",
            autocompletion=complete.groups,
        ),
    ] = None,
    output: Annotated[
        Output | None,
        _option("-o", "--output", env="COORD_OUTPUT", help="Format of the answer; default table."),
    ] = None,
    time: Annotated[
        TimeStyle | None, _option("--time", env="COORD_TIME", help="Format of moments in a table.")
    ] = None,
    color: Annotated[
        Color | None, _option("--color", env="COORD_COLOR, NO_COLOR", help="Colours; default auto.")
    ] = None,
    timeout: Annotated[
        float | None,
        _option(
            "--timeout",
            env="COORD_TIMEOUT",
            help="Seconds to wait for the database; default 5.",
            metavar="SECS",
            min=0.01,
        ),
    ] = None,
    quiet: Annotated[
        bool | None, _option("-q", "--quiet", env="COORD_QUIET", help="No notes on stderr.")
    ] = None,
    verbose: Annotated[
        bool | None,
        _option(
            "-v", "--verbose", env="COORD_VERBOSE", help="More details, and tracebacks of errors."
        ),
    ] = None,
) -> None:
    """Declare the shared options: typer makes them from this signature."""
