"""Layout of the help texts, and `coord help`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import typer

Section = list[tuple[str, str]]


def lay_out(command: Any, shared: Collection[str]) -> None:
    """Let a command's help list its own options first, and the shared ones below."""

    def format_options(ctx: Any, formatter: Any) -> None:
        arguments, own, common = _sections(command, ctx, shared)
        named = (("Arguments", arguments), ("Options", own), ("Options of every command", common))
        for title, records in named:
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if hasattr(command, "commands"):
            command.format_commands(ctx, formatter)

    command.format_options = format_options


def _sections(command: Any, ctx: Any, shared: Collection[str]) -> tuple[Section, Section, Section]:
    arguments: Section = []
    own: Section = []
    common: Section = []
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is None:
            continue
        if param.param_type_name == "argument":
            arguments.append(record)
        else:
            (common if param.name in shared else own).append(record)
    return arguments, own, common


def help_command(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]...", help="Default: all commands.")
    ] = None,
) -> None:
    """Show the help of a command."""
    at: Any = context.find_root()
    for word in words or ():
        inner = getattr(at.command, "commands", {}).get(word)
        if inner is None:
            raise typer.BadParameter(f"there is no command {word!r} in `{at.command_path}`")
        at = type(at)(inner, info_name=word, parent=at, **inner.context_settings)
    print(at.command.get_help(at))
