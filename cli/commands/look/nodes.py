"""`coord nodes` and `coord evict`: show the nodes of a group, remove the row of a dead one."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli import complete
from coordinator.cli.commands.task.common import Reason, Yes, confirm
from coordinator.cli.connect import open_tasks
from coordinator.cli.shared import shared


def nodes(
    context: typer.Context,
    group: Annotated[
        str | None,
        typer.Argument(
            metavar="[GROUP]", help="Default: the configured group.", autocompletion=complete.groups
        ),
    ] = None,
) -> None:
    """Show the nodes of a group, their standings and tasks."""
    from coordinator.cli.render import documents, tables, task_documents, task_tables
    from coordinator.cli.render.emit import emit

    options = shared(context)
    with open_tasks(options, group) as (tasks, named, _):
        found = tasks.hosts(named)
        head = documents.head("Nodes", tasks.asked())
    fields = [task_documents.host_fields(each) for each in found]
    emit(
        options,
        table=lambda: tables.show(
            options, *task_tables.hosts_parts(found, everything=options.verbose)
        ),
        rows=lambda: documents.rows(task_documents.HOST_COLUMNS, fields),
        document=head | {"groupId": named, "nodes": fields},
        lines=[head | {"kind": "Node"} | each for each in fields],
    )


def evict(
    context: typer.Context,
    node: Annotated[
        str,
        typer.Argument(
            metavar="NODE", help="A node that is gone for good.", autocompletion=complete.nodes
        ),
    ],
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Remove the row of a dead node.

    No task waits for its return any more. A node whose session lives is refused. An evicted node
    that comes back is a new node.
    """
    from coordinator.cli.render.emit import print_done

    options = shared(context)
    if not yes:
        with open_tasks(options) as (_, group, _settings):
            pass
        confirm(f"Remove node {node} of {group}?")
    with open_tasks(options) as (tasks, group, _settings):
        tasks.evict(group, node, reason=reason)
    print_done(options, f"{group}: {node} is removed", groupId=group, taskId=node)
