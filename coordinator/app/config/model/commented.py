"""Config.toml with its comments, written from the models: what `coord init` gives to a person.

A key has a line that is on, or a line that is off, below its sentences; or, as one of several ways
to say something, a line with the sentence behind it.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from coordinator.app.config.model.file import ConfigFile
from coordinator.app.config.model.table import Setting, Table, setting_of, table_in

HEAD = """\
#:schema ./coord.schema.json
## One node of coord. Behind "##" stands a sentence, behind "#" a setting that is off: its default,
## or an example where there is none. Durations are seconds (0.5 is fine), or text: "500ms", "6s",
## "2m", "1h". COORD_* in the environment stands above this file, and a flag above both.
"""
WIDTH = 100
#: Column of a sentence that stands behind a line.
BEHIND = 48


def commented() -> str:
    """Return the text of Config.toml."""
    lines = [*HEAD.splitlines(), ""]
    tables: list[str] = []
    before: Setting | None = None
    for info in ConfigFile.model_fields.values():
        if inner := table_in(info):
            tables += ["", *(_tasks if info.default == () else _table)(info, inner)]
            continue
        now = setting_of(info)
        if before and ((before.on and not now.on) or now.lead):
            lines.append("")
        lines += _key(info, now)
        before = now
    return "\n".join([*lines, *tables, ""])


def _table(info: FieldInfo, table: type[Table]) -> Iterator[str]:
    yield from _sentences(table.__doc__ or "")
    yield f"# [{info.alias}]"
    for each in table.model_fields.values():
        yield from _key(each, setting_of(each))


def _tasks(info: FieldInfo, table: type[Table]) -> Iterator[str]:
    """Write the table of which there are any number, with one line for each key."""
    yield from _sentences(table.__doc__ or "")
    yield f"##   [[{info.alias}]]"
    for each in table.model_fields.values():
        inner = table_in(each)
        if inner is None:
            yield from _key(each, setting_of(each))
        else:
            yield from _behind(f"[{info.alias}.{each.alias}]", each.description or "")
            first = next(iter(inner.model_fields.values()))
            yield f"##   {first.alias} = {toml(setting_of(first).shown)}"


def _key(info: FieldInfo, stated: Setting) -> Iterator[str]:
    if stated.shown is None:
        return
    line = f"{info.alias} = {toml(stated.shown)}"
    text = info.description or ""
    yield from _sentences(stated.lead)
    if stated.aside:
        yield from _behind(line, "" if stated.lead and len(line) + 6 > BEHIND else text)
        return
    if info.default is not None and (stated.on or info.default != stated.shown):
        text += f" Default {toml(info.default)}."
    yield from _sentences(text)
    yield line if stated.on else f"# {line}"


def _behind(line: str, text: str) -> Iterator[str]:
    """Write a line with its sentence behind it, and what is too long of that below."""
    rest = textwrap.wrap(text[:1].lower() + text[1:].removesuffix("."), WIDTH - BEHIND)
    if len(line) + 6 > BEHIND:
        yield f"##   {line}"
    else:
        yield f"##   {line}".ljust(BEHIND) + rest.pop(0)
    for each in rest:
        yield "##".ljust(BEHIND) + each


def _sentences(text: str) -> list[str]:
    """Wrap sentences; what stands in backticks stays on one line."""
    whole = re.sub("`[^`]*`", lambda match: match[0].replace(" ", "\0"), " ".join(text.split()))
    lines = textwrap.wrap(whole, WIDTH - 3, break_on_hyphens=False)
    return [f"## {line}".replace("\0", " ") for line in lines]


def toml(value: object) -> str:
    """Write a value as TOML has it."""
    match value:
        case dict():
            return f"{{ {', '.join(f'{key} = {toml(each)}' for key, each in value.items())} }}"
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
        case bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case float():
            return f"{value:g}"
        case _:
            return str(value)
