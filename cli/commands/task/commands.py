"""`coord task`: define tasks of a group, look at them, move them, save how far they came."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from coordinator.cli.commands.task import add as task_add
from coordinator.cli.commands.task.common import (
    Name,
    Reason,
    Yes,
    confirm,
    found_task,
    print_task,
    tell_task,
)
from coordinator.cli.connect import open_tasks
from coordinator.cli.shared import TimeStyle, shared

app = typer.Typer(
    help="Tasks of a group: define, look, move, stop.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(task_add.add)


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """Show the tasks of a group: where each runs, since when, what went wrong last."""
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
    """Show one task: its definition, who should run it and why, what it is on each node."""
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
            tasks.page(group, name)  # nobody is asked about a task that is not there
        confirm(f"delete task {name} of {group}?")
    with open_tasks(options) as (tasks, group, _):
        tasks.delete(group, name, reason=reason)
    if not options.quiet:
        print(f"{group}/{name}: deleted")


@app.command()
def move(
    context: typer.Context,
    name: Name,
    to: Annotated[str, typer.Option("--to", metavar="NODE", help="The new preferred node.")],
    pin: Annotated[
        bool | None,
        typer.Option("--pin/--no-pin", help="Nobody else ever; or anybody else too."),
    ] = None,
    reason: Reason = None,
) -> None:
    """Make a node the preferred one of a task; it goes there as soon as that node is a member."""
    from coordinator.cli.commands.task import flags

    flags.checked_node("to", to)
    options = shared(context)
    with open_tasks(options) as (tasks, group, _):
        warnings = tasks.move(group, name, to, pinned=pin, reason=reason)
        found = found_task(tasks, group, name)
    tell_task(options, found, f"prefers {to}", warnings)


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
            help="Save it, under the COORD_TERM and COORD_SESSION of the program that asks.",
        ),
    ] = None,
) -> None:
    """Print how far a task has come, as its program saved it; null when it never did."""
    from coordinator.cli.commands.task import flags
    from coordinator.cli.render import documents, task_documents
    from coordinator.cli.render.emit import emit

    options = shared(context)
    task = name or os.environ.get("COORD_TASK")
    if not task:
        raise typer.BadParameter("there is no COORD_TASK here: give the NAME")
    flags.json_of("save", save)
    with open_tasks(options) as (tasks, group, _):
        if save is not None:
            term, session = _holding()
            tasks.save_cursor(group, task, term, session, save)
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
    tell_task(options, found, word if changed else f"was already {word}", ())


def _holding() -> tuple[int, str]:
    """Return the term and the session of the program that asks."""
    term, session = os.environ.get("COORD_TERM", ""), os.environ.get("COORD_SESSION", "")
    if not term.isdecimal() or not session:
        raise typer.BadParameter(
            "--save is for programs that coord runs: COORD_TERM and COORD_SESSION are not set"
        )
    return int(term), session
