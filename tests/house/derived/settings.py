"""The reference of all settings, from the models of Config.toml."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from types import UnionType
from typing import Any, Union, get_args, get_origin

from coordinator.app.config.model.commented import toml
from coordinator.app.config.model.file import ConfigFile, RunOptions
from coordinator.app.config.model.table import Key, Table, choices, keys_of, plain_type, table_in

HEAD = """\
# Settings

Written from the models in `coordinator/app/config/model/` by `make config`: change it there.

A node reads `Config.toml` in its working directory, else in `/etc/coord`; `-c` and `COORD_CONFIG`
name another file. A variable of the environment stands above the file, a flag above both. Below the
file comes what libpq reads itself (`PG*`, its service and password files), then the default.
Durations are seconds, or texts such as `"500ms"`, `"6s"`, `"2m"`, `"1h"`. `coord config show
--origin` says what is in force and where it comes from; `coord config check` says what is wrong.
"""
KINDS = {bool: "true or false", int: "whole number", float: "seconds", datetime: "moment"}


def page() -> str:
    """Return the reference of all settings."""
    parts = [HEAD, *_section("The node", "", ConfigFile)]
    for info in ConfigFile.model_fields.values():
        if table := table_in(info):
            name = f"[[{info.alias}]]" if info.default == () else f"[{info.alias}]"
            parts += _section(f"`{name}`", table.__doc__ or "", table)
    text = "These belong to one start of `coord run`, and never stand in the file."
    parts += _section("One start", text, RunOptions)
    return "\n".join(parts)


def _section(name: str, text: str, model: type[Table]) -> Iterator[str]:
    yield f"## {name}\n"
    if text:
        yield " ".join(text.split()) + "\n"
    yield "| key | value | default | variable, flag | meaning |"
    yield "|---|---|---|---|---|"
    yield from (_row(each) for each in keys_of(model) if len(each.keys) == 1)
    yield ""


def _row(each: Key) -> str:
    default = None if each.info.is_required() else each.info.default
    said = [f"`{name}`" for name in (each.setting.env, ", ".join(each.setting.flags)) if name]
    shown = "" if default is None or default in ((), {}) else f"`{toml(default)}`"
    cells = (f"`{each.keys[-1]}`", _kind(each.type), shown, ", ".join(said), each.text)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _kind(kind: Any) -> str:
    if words := choices(kind):
        return ", ".join(f'`"{word}"`' for word in words)
    if get_origin(kind) is tuple:
        return "text or list" if plain_type(get_args(kind)[0]) is str else "list"
    if get_origin(kind) in (Union, UnionType):
        kinds = [plain_type(each) for each in get_args(kind)]
        return " or ".join("list" if get_origin(it) is tuple else _kind(it) for it in kinds)
    return "table" if get_origin(kind) is dict else KINDS.get(kind, "text")
