"""Common parts of the commands about tasks and nodes: a desk, its options, a question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import complete
from coordinator.cli.errors import say
from coordinator.cli.options import Output, Shared, TimeStyle, named_group

if TYPE_CHECKING:
    from coordinator.app.admin.task_views import Asked, TaskPage
    from coordinator.app.admin.tasks import Tasks
    from coordinator.app.config.settings import NodeSettings

    Found = tuple[TaskPage, Asked]

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the task.", autocompletion=complete.tasks)
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Kept beside the change.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@contextmanager
def desk(options: Shared, named: str | None = None) -> Iterator[tuple[Tasks, str, NodeSettings]]:
    """Open what changes and shows tasks, within the time-out; also the group that is meant."""
    from coordinator.app.admin.tasks import Tasks
    from coordinator.cli.connect import database_of, looking_settings_of, within

    settings = looking_settings_of(options)
    group = named_group(options, named) or settings.group_id
    resolved = database_of(options, settings)
    with within(options.timeout_s, resolved.label):
        tasks = Tasks(resolved, schema=settings.database.schema, timeout_s=options.timeout_s)
        try:
            yield tasks, group, settings
        finally:
            tasks.close()


def confirm(question: str) -> None:
    """Ask, and end with 1 when the answer is no; a script has to say --yes."""
    import sys

    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} stdin is not a terminal: pass --yes to confirm")
    typer.confirm(question, abort=True, err=True)


def found_task(tasks: Tasks, group: str, name: str) -> Found:
    """Return a task as it is now, with the moment of the answer."""
    return tasks.page(group, name), tasks.asked()


def tell_task(options: Shared, found: Found, done: str, warnings: Sequence[str]) -> None:
    """Say what was done, or print the task as it is now in the form that was asked for."""
    page, _ = found
    for warning in warnings:
        say(f"warning: {warning}")
    if options.output is not Output.TABLE:
        print_task(options, found)
    elif not options.quiet:
        said = f"{page.responsible}: {page.reason}" if page.responsible else page.reason
        what = done if said == done else f"{done}; {said}"
        print(f"{page.task.group}/{page.task.definition.name}: {what}")


def print_task(options: Shared, found: Found) -> None:
    """Print a task in the form that was asked for."""
    from coordinator.cli.render import documents, tables, task_documents, task_tables

    page, asked = found
    head = documents.head("Task", asked)
    match options.output:
        case Output.TABLE:
            style = options.time or TimeStyle.AGO
            tables.show(options, *task_tables.page_parts(page, style))
        case Output.TSV:
            nodes = [task_documents.on_node_fields(each) for each in page.nodes]
            print(documents.tsv(documents.rows(task_documents.ON_NODE_COLUMNS, nodes)))
        case Output.JSON:
            print(documents.pretty(head | task_documents.page_fields(page)))
        case Output.JSONL:
            print(documents.one(head | task_documents.page_fields(page)))
