"""Complete names of groups, nodes and tasks in a shell.

It asks the database as `coord status` does, for a short time, and says nothing when that fails.
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
PATIENCE_S = 1.0


def groups(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a group."""
    return _looked_up(context, incomplete, lambda look, _: _groups(look))


def nodes(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a node of the group that is meant."""
    return _looked_up(context, incomplete, _nodes)


def tasks(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a task of the group that is meant."""
    from coordinator.cli.connect import open_tasks
    from coordinator.cli.shared import shared

    def ask() -> Iterable[str]:
        options = replace(shared(context), quiet=True, said_timeout_s=PATIENCE_S)
        with open_tasks(options) as (found, group, _):
            return _tasks(found, group)

    return _matching(ask, incomplete)


def _looked_up(
    context: typer.Context, incomplete: str, names: Callable[[StatusReader, str], Iterable[str]]
) -> list[str]:
    from coordinator.cli.connect import open_reader
    from coordinator.cli.shared import named_group, shared

    def ask() -> Iterable[str]:
        options = replace(shared(context), quiet=True, said_timeout_s=PATIENCE_S)
        with open_reader(options) as (look, configured):
            return names(look, named_group(options, None) or configured)

    return _matching(ask, incomplete)


def _matching(ask: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    """Return the names that begin as what was typed; none when they cannot be had."""
    try:
        return sorted(name for name in ask() if name.startswith(incomplete))
    except Exception:  # noqa: BLE001 - an error in the midst of a line that is typed helps nobody
        return []


def _groups(look: StatusReader) -> list[str]:
    return [group.group for group in look.status().groups]


def _nodes(look: StatusReader, group: str) -> list[str]:
    return [node.node for each in look.status(group).groups for node in each.nodes]


def _tasks(found: Tasks, group: str) -> list[str]:
    return [task.definition.name for task in found.lines(group)]
