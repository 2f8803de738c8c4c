"""`coord nodes` and `coord evict`: the nodes of a group, and the row of a dead one removed."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli import complete
from coordinator.cli.commands.task.common import Reason, Yes, confirm, desk
from coordinator.cli.options import Output, shared


def nodes(
    context: typer.Context,
    group: Annotated[
        str | None,
        typer.Argument(
            metavar="[GROUP]", help="Default: the configured group.", autocompletion=complete.groups
        ),
    ] = None,
) -> None:
    """Show the nodes of a group, their standing and their tasks."""
    from coordinator.cli.render import documents, tables, task_documents, task_tables

    options = shared(context)
    with desk(options, group) as (tasks, named, _):
        found = tasks.hosts(named)
        head = documents.head("Nodes", tasks.asked())
    fields = [task_documents.host_fields(each) for each in found]
    match options.output:
        case Output.TABLE:
            parts = task_tables.hosts_parts(found, everything=options.verbose)
            tables.show(options, *parts)
        case Output.TSV:
            print(documents.tsv(documents.rows(task_documents.HOST_COLUMNS, fields)))
        case Output.JSON:
            print(documents.pretty(head | {"groupId": named, "nodes": fields}))
        case Output.JSONL:
            for each in fields:
                print(documents.one(head | {"kind": "Node"} | each))


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
    """Remove a dead node's row: nothing waits for its return any more.

    A node whose session lives is refused. Should it come back, it is a new node.
    """
    options = shared(context)
    if not yes:
        with desk(options) as (_, group, _settings):
            pass
        confirm(f"Remove node {node} of {group}?")
    with desk(options) as (tasks, group, _settings):
        tasks.evict(group, node, reason=reason)
    if not options.quiet:
        print(f"{group}: {node} is removed")
