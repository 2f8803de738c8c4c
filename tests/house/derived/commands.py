"""The reference of all commands, from the command line itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

HEAD = """\
# Commands

Written from `cli/` by `make config`: change it there. `coord help COMMAND` prints the same, and
`coord help --man COMMAND` a manual page.

Every command understands the options of the first table, wherever they stand on the command line.
[Exit codes](exit-codes.md) are the same for all.
"""


def page() -> str:
    """Return the reference of all commands, in the order of `coord --help`."""
    from coordinator.cli import options
    from coordinator.cli.main import app

    bare: Any = typer.main.get_command(app)
    own = {name: _names(command) for name, command in walk(bare)}
    whole: Any = typer.main.get_command(app)
    options.attach(whole)
    shared = [param for param in whole.params if param.name not in _names(bare)]
    context = _context()
    parts = [HEAD, *_section("Options of every command", "", "", shared)]
    for name, command in walk(whole):
        params = [param for param in command.get_params(context) if param.name in own[name]]
        usage = f"coord {name} {_usage(params)}".rstrip()
        parts += _section(f"coord {name}", _text(command.help), usage, params)
    return "\n".join(parts)


def walk(command: Any, stem: str = "") -> Iterator[tuple[str, Any]]:
    """Return all commands that do something, with their names."""
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from walk(inner, f"{stem}{name} ")
        elif not inner.hidden:
            yield f"{stem}{name}", inner


def _names(command: Any) -> set[str]:
    return {param.name for param in command.get_params(_context())} - {"help"}


def _usage(params: list[Any]) -> str:
    words = ["[OPTIONS]"] if any(param.param_type_name == "option" for param in params) else []
    return " ".join([*words, *(_argument(p) for p in params if p.param_type_name == "argument")])


def _argument(param: Any) -> str:
    name = param.metavar or param.name.upper()
    shown = name if param.required or name.startswith("[") else f"[{name}]"
    return shown if param.nargs == 1 or name.endswith("...") else f"{shown}..."


def _section(title: str, text: str, usage: str, params: list[Any]) -> Iterator[str]:
    yield f"## {title}\n"
    if text:
        yield f"{text}\n"
    if usage and usage != title:
        yield f"Usage: `{usage}`\n"
    rows = [_row(param) for param in params if not getattr(param, "hidden", False)]
    if rows:
        yield "| argument, option | meaning |"
        yield "|---|---|"
        yield from rows
        yield ""


def _row(param: Any) -> str:
    if param.param_type_name == "argument":
        names = f"`{_argument(param)}`"
    else:
        value = "" if param.is_flag else f" {param.make_metavar(_context())}"
        *short, last = (*param.opts, *param.secondary_opts)
        names = ", ".join([*(f"`{name}`" for name in short), f"`{last}{value}`"])
    return f"| {_cell(names)} | {_cell(_text(param.help))} |"


def _context() -> Any:
    from click import Command, Context

    return Context(Command("coord"))


def _text(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
