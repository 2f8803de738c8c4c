"""`coord task`: define, show and move the tasks of a group, and save their cursors."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from coordinator.cli import complete
from coordinator.cli.commands.program.inside import calling_program
from coordinator.cli.commands.task import add as task_add
from coordinator.cli.commands.task.common import (
    Name,
    Reason,
    Yes,
    confirm,
    found_task,
    print_task,
    report_task,
)
from coordinator.cli.connect import open_tasks
from coordinator.cli.shared import TimeStyle, shared
from coordinator.errors import UsageError

app = typer.Typer(
    help="Define, show, move and stop the tasks of a group.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(task_add.add)


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """Show the tasks of a group: where each runs, since when, and its last error."""
    from coordinator.cli.render import documents, tables, task_documents, task_tables
    from coordinator.cli.render.emit import emit

    options = shared(context)
    with open_tasks(options) as (tasks, group, _):
        found = tasks.lines(group)
        head = documents.head("Tasks", tasks.asked())
    fields = [task_documents.task_fields(each) for each in found]
    style = options.time or TimeStyle.AGO
    emit(
        options,
        table=lambda: tables.show(options, *task_tables.tasks_parts(found, group, style)),
        rows=lambda: documents.rows(task_documents.TASK_COLUMNS, fields),
        document=head | {"groupId": group, "tasks": fields},
        lines=[head | {"kind": "Task"} | each for each in fields],
    )


@app.command()
def show(context: typer.Context, name: Name) -> None:
    """Show one task: its definition, the node that should run it and why, its state on each."""
    options = shared(context)
    with open_tasks(options) as (tasks, group, _):
        found = found_task(tasks, group, name)
    print_task(options, found)


@app.command()
def enable(context: typer.Context, name: Name, reason: Reason = None) -> None:
    """Let a task run again."""
    _switch(context, name, reason, on=True)


@app.command()
def disable(context: typer.Context, name: Name, reason: Reason = None) -> None:
    """Stop a task wherever it runs; its definition stays."""
    _switch(context, name, reason, on=False)


@app.command()
def delete(context: typer.Context, name: Name, reason: Reason = None, yes: Yes = False) -> None:
    """Stop a task and remove its definition; its history and its cursor stay."""
    options = shared(context)
    if not yes:
        with open_tasks(options) as (tasks, group, _):
            tasks.page(group, name)  # a task that does not exist needs no confirmation
        confirm(f"Delete task {name} of {group}?")
    with open_tasks(options) as (tasks, group, _):
        tasks.delete(group, name, reason=reason)
    if not options.quiet:
        print(f"{group}/{name}: deleted")


@app.command()
def move(
    context: typer.Context,
    name: Name,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NODE",
            help="The new preferred node.",
            autocompletion=complete.nodes,
        ),
    ],
    pin: Annotated[
        bool | None,
        typer.Option("--pin/--no-pin", help="Let only this node run it; or others too."),
    ] = None,
    reason: Reason = None,
) -> None:
    """Make a node the preferred one of a task; the task moves once that node is a Member."""
    from coordinator.cli.commands.task import flags

    flags.checked_node("to", to)
    options = shared(context)
    with open_tasks(options) as (tasks, group, _):
        warnings = tasks.move(group, name, to, pinned=pin, reason=reason)
        found = found_task(tasks, group, name)
    report_task(options, found, f"prefers {to}", warnings)


@app.command()
def cursor(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Default: COORD_TASK.")
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="JSON",
            help="Save this cursor, under COORD_TERM and COORD_SESSION of the calling program.",
        ),
    ] = None,
) -> None:
    """Print a task's cursor as its program saved it; null if it never did."""
    from coordinator.cli.commands.task import flags
    from coordinator.cli.render import documents, task_documents
    from coordinator.cli.render.emit import emit

    options = shared(context)
    task = name or os.environ.get("COORD_TASK")
    if not task:
        raise UsageError("COORD_TASK is not set: give the NAME of a task")
    flags.json_of("save", save)
    with open_tasks(options) as (tasks, group, _):
        if save is not None:
            program = calling_program()
            tasks.save_cursor(group, task, program.term, program.session, save)
            return
        page = tasks.cursor(group, task)
        head = documents.head("Cursor", tasks.asked())
    fields = task_documents.cursor_fields(page)
    emit(
        options,
        table=lambda: print(page.cursor or "null"),
        rows=lambda: documents.as_rows(fields | {"cursor": page.cursor}),
        document=head | fields,
    )


def _switch(context: typer.Context, name: str, reason: str | None, *, on: bool) -> None:
    options = shared(context)
    with open_tasks(options) as (tasks, group, _):
        changed = tasks.switch(group, name, on=on, reason=reason)
        found = found_task(tasks, group, name)
    word = "enabled" if on else "disabled"
    report_task(options, found, word if changed else f"was already {word}", ())
