"""Layout of the help texts, and `coord help`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import typer

Section = list[tuple[str, str]]
#: The exit codes of every command, as the README has them.
EXIT_STATUS = (
    "0 done, 1 unexpected, 2 usage, 3 condition false, 4 no such group, 69 database not reachable,"
    " 70 schedule ended by its error policy, 75 token held by another or a wait ran out, 76 token"
    " lost while the command ran, 77 database refused the role, 78 configuration or schema wrong,"
    " 126, 127 and 128 plus a signal as in a shell."
)


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
    man: Annotated[
        bool, typer.Option("--man", help="Print it as a manual page: pipe it to `man -l -`.")
    ] = False,
) -> None:
    """Show the help of a command."""
    at: Any = context.find_root()
    for word in words or ():
        inner = getattr(at.command, "commands", {}).get(word)
        if inner is None:
            raise typer.BadParameter(f"there is no command {word!r} in `{at.command_path}`")
        at = type(at)(inner, info_name=word, parent=at, **inner.context_settings)
    print(man_page(at) if man else at.command.get_help(at))


def man_page(ctx: Any) -> str:
    """Return the manual page of a command, from the data of its help."""
    names = frozenset(param.name for param in ctx.find_root().command.params)
    arguments, own, common = _sections(ctx.command, ctx, names)
    title = ctx.command_path.replace(" ", "-")
    usage = " ".join(ctx.command.collect_usage_pieces(ctx))
    text = (ctx.command.help or "").strip().split("\n\n")
    lines = [f'.TH "{_roff(title.upper())}" 1', ".SH NAME"]
    lines += [f"{_roff(title)} \\- {_roff(_joined(text[0]))}", ".SH SYNOPSIS"]
    lines += [f".B {_roff(ctx.command_path)}", _roff(usage), ".SH DESCRIPTION"]
    lines += [line for paragraph in text for line in (".PP", _roff(_joined(paragraph)))]
    inner = [
        (name, each.get_short_help_str(limit=200))
        for name, each in getattr(ctx.command, "commands", {}).items()
        if not each.hidden
    ]
    named = [("ARGUMENTS", arguments), ("OPTIONS", own), ("COMMANDS", inner)]
    for heading, records in (*named, ("OPTIONS OF EVERY COMMAND", common)):
        if records:
            lines.append(f".SH {heading}")
        for name, said in records:
            lines += [".TP", f".B {_roff(name)}", _roff(_joined(said))]
    return "\n".join([*lines, ".SH EXIT STATUS", _roff(EXIT_STATUS)])


def _joined(text: str) -> str:
    return " ".join(text.split())


def _roff(text: str) -> str:
    """Return a text that no line of which is a request of roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
