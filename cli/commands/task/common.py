"""Arguments and outputs that the commands about tasks and nodes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import complete
from coordinator.cli.errors import say
from coordinator.cli.shared import Output, Shared, TimeStyle

if TYPE_CHECKING:
    from coordinator.app.admin.task_views import Asked, TaskPage
    from coordinator.app.admin.tasks import Tasks

    Found = tuple[TaskPage, Asked]

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the task.", autocompletion=complete.tasks)
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Reason, recorded with the change.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def confirm(question: str) -> None:
    """Ask for confirmation; exit with 1 if the answer is no. A script must pass --yes."""
    import sys

    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} stdin is not a terminal: pass --yes to confirm")
    typer.confirm(question, abort=True, err=True)


def found_task(tasks: Tasks, group: str, name: str) -> Found:
    """Return a task as it is now, with the moment of the answer."""
    return tasks.page(group, name), tasks.asked()


def report_task(options: Shared, found: Found, done: str, warnings: Sequence[str]) -> None:
    """Print what was done, or the task as it is now in the requested format."""
    page, _ = found
    for warning in warnings:
        say(f"warning: {warning}")
    if options.output is not Output.TABLE:
        print_task(options, found)
    elif not options.quiet:
        state = f"{page.responsible}: {page.reason}" if page.responsible else page.reason
        what = done if state == done else f"{done}; {state}"
        print(f"{page.task.group}/{page.task.definition.name}: {what}")


def print_task(options: Shared, found: Found) -> None:
    """Print a task in the requested format."""
    from coordinator.cli.render import documents, tables, task_documents, task_tables
    from coordinator.cli.render.emit import emit

    page, asked = found
    style = options.time or TimeStyle.AGO
    nodes = [task_documents.on_node_fields(each) for each in page.nodes]
    emit(
        options,
        table=lambda: tables.show(options, *task_tables.page_parts(page, style)),
        rows=lambda: documents.rows(task_documents.ON_NODE_COLUMNS, nodes),
        document=documents.head("Task", asked) | task_documents.page_fields(page),
    )
