"""Completion of names of groups, nodes and tasks in a shell.

It reads the database as `coord status` does, within a short time, and offers nothing on errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from coordinator.app.admin.status import StatusReader
    from coordinator.app.admin.tasks import Tasks

#: A completion takes no longer than this.
TIMEOUT_S = 1.0


def groups(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a group."""
    return _from_reader(context, incomplete, lambda reader, _: _groups(reader))


def groups_and_tasks(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a group, or of a task of the chosen group."""
    return sorted({*groups(context, incomplete), *tasks(context, incomplete)})


def tokens(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a token that somebody holds."""
    from coordinator.cli.connect import open_cleaner
    from coordinator.cli.shared import shared

    def ask() -> Iterable[str]:
        options = replace(shared(context), quiet=True, given_timeout_s=TIMEOUT_S)
        with open_cleaner(options) as cleaner:
            return [each.token for each in cleaner.tokens(None) if each.node]

    return _matching(ask, incomplete)


def nodes(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a node of the chosen group."""
    return _from_reader(context, incomplete, _nodes)


def tasks(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a task of the chosen group."""
    from coordinator.cli.connect import open_tasks
    from coordinator.cli.shared import shared

    def ask() -> Iterable[str]:
        options = replace(shared(context), quiet=True, given_timeout_s=TIMEOUT_S)
        with open_tasks(options) as (found, group, _):
            return _tasks(found, group)

    return _matching(ask, incomplete)


def _from_reader(
    context: typer.Context, incomplete: str, names: Callable[[StatusReader, str], Iterable[str]]
) -> list[str]:
    from coordinator.cli.connect import open_reader
    from coordinator.cli.shared import named_group, shared

    def ask() -> Iterable[str]:
        options = replace(shared(context), quiet=True, given_timeout_s=TIMEOUT_S)
        with open_reader(options) as (reader, configured):
            return names(reader, named_group(options, None) or configured)

    return _matching(ask, incomplete)


def _matching(ask: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    """Return the names that begin with the typed text; none if they cannot be read."""
    try:
        return sorted(name for name in ask() if name.startswith(incomplete))
    except Exception:  # noqa: BLE001 - an error message would garble the line being typed
        return []


def _groups(reader: StatusReader) -> list[str]:
    return [group.group for group in reader.status().groups]


def _nodes(reader: StatusReader, group: str) -> list[str]:
    return [node.node for each in reader.status(group).groups for node in each.nodes]


def _tasks(found: Tasks, group: str) -> list[str]:
    return [task.definition.name for task in found.lines(group)]
