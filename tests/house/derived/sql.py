"""The reference of the schema: views, functions and tables, from the SQL that makes them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAD = """\
# SQL

Written from `migrations/sql/` and `coordinator/store/schema/facts.txt` by `make config`: change it
there. Everything lies in the schema of `databaseConfig.schema` (default `coord`). The views that
begin with `sys_` are also in the schema `sys`, without that prefix, where these names are free, and
so are `sys.create_task` and `sys.cancel_task`; `token_holder` and `health_check` are also read-only
views in `public`.

Reading is free for everybody who has the rights ([roles](maintenance.md#roles)). Writing is for the
nodes, for the functions of the first table, and for `planned_change` and `task`
([planned.md](planned.md#by-sql-alone), [tasks.md](tasks.md)).
"""
#: Functions that people and programs call; all others are the nodes' own.
OURS = (
    *("coord_fence", "coord_save_state", "coord_read_state"),
    *("coord_save_cursor", "coord_read_cursor", "coord_fence_subtask"),
    *("coord_prune", "coord_prune_before", "coord_delete_group", "coord_end_holder"),
    *("sys_create_task", "sys_cancel_task", "coord_last_error"),
)
MADE = re.compile(
    r"((?:^--[^\n]*\n)*)^CREATE (?:OR REPLACE )?(TABLE|VIEW|FUNCTION) \{schema\}\.(\w+)", re.M
)
FACT = re.compile(r"^column (\w+)\.(\w+) (\S+)(.*)$", re.M)
FUNCTION = re.compile(r"^function (\w+)\((.*)\)(?: of its owner)? \w+$", re.M)


def page() -> str:
    """Return the reference of views, functions and tables."""
    facts = (ROOT / "coordinator/store/schema/facts.txt").read_text()
    said = {name: (kind, text) for kind, name, text in _made()}
    columns: dict[str, list[str]] = {}
    for relation, column, kind, _ in FACT.findall(facts):
        columns.setdefault(relation, []).append(f"`{column}` {_type(kind)}")
    functions = {name: _arguments(text) for name, text in FUNCTION.findall(facts)}
    parts = [HEAD, "## Functions for people and programs\n", *_functions(OURS, functions, said)]
    for title, kind in (("Views", "VIEW"), ("Tables", "TABLE")):
        parts += [f"## {title}\n", "| name | what it is | columns |", "|---|---|---|"]
        parts += [
            f"| `{name}` | {said[name][1]} | {', '.join(columns[name])} |"
            for name in sorted(columns)
            if name in said and said[name][0] == kind
        ]
        parts.append("")
    others = sorted(set(functions) - set(OURS))
    parts += [
        "## Functions of the nodes\n",
        "Called by nodes and by triggers; for reading along.\n",
    ]
    return "\n".join([*parts, *_functions(others, functions, said)])


def _functions(
    names: tuple[str, ...] | list[str],
    functions: dict[str, str],
    said: dict[str, tuple[str, str]],
) -> list[str]:
    rows = [f"| `{name}({functions[name]})` | {said[name][1]} |" for name in names]
    return ["| function | what it does |", "|---|---|", *rows, ""]


def _made() -> list[tuple[str, str, str]]:
    """Return kind, name and comment of everything that the migrations make."""
    return [
        (kind, name, _comment(comment))
        for path in sorted((ROOT / "migrations/sql").glob("*.sql"))
        for comment, kind, name in MADE.findall(path.read_text())
    ]


def _comment(lines: str) -> str:
    text = " ".join(line.removeprefix("--").strip() for line in lines.splitlines())
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def _arguments(text: str) -> str:
    """Return the arguments of a function, without what it returns as columns."""
    given = [part for part in text.split(", ") if part and not part.startswith("v_")]
    return ", ".join(f"{part.split(' ')[0]} {_type(part.split(' ')[1])}" for part in given)


def _type(name: str) -> str:
    """Return a type as SQL writes it; the catalog has `_text` for an array of texts."""
    return f"{name[1:]}[]" if name.startswith("_") else name
