"""`coord operation`: look at operations, wait for them, cancel them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from coordinator.cli.commands.operation.common import Ref, open_session, waited
from coordinator.cli.shared import Shared, TimeStyle, shared

app = typer.Typer(
    help="Show the operations that CREATE TASK made; wait for them, cancel them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(name="list")
def list_(
    context: typer.Context,
    every: Annotated[
        bool, typer.Option("--all", "-a", help="Those that ended long ago, too.")
    ] = False,
) -> None:
    """Show the operations: type, place, state, progress. Ended ones for a day."""
    from coordinator.cli.render import tables
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.operations import tables as operation_tables

    options = shared(context)
    with open_session(options) as session:
        found = session.store.tasks(every=every)
    ages = [row.pop("created_age_s") for row in found]
    style = options.time or TimeStyle.AGO
    documents = [operation_tables.task_document(row) for row in found]
    emit(
        options,
        table=lambda: tables.show(options, *operation_tables.tasks_parts(found, ages, style)),
        rows=lambda: operation_tables.plain_rows(found),
        document=operation_tables.list_document("Operations", "operations", documents),
        lines=documents,
    )


@app.command()
def show(context: typer.Context, ref: Ref) -> None:
    """Show one operation: what was asked, how far it is, what failed."""
    from coordinator.cli.render import tables
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.operations import tables as operation_tables

    options = shared(context)
    with open_session(options) as session:
        row = session.store.task(ref)
    emit(
        options,
        table=lambda: tables.show(options, *operation_tables.facts_parts(row)),
        rows=lambda: operation_tables.plain_rows([row]),
        document=operation_tables.task_document(row),
    )


@app.command()
def tree(context: typer.Context, ref: Ref) -> None:
    """Show an operation and its subtasks: owner, attempt, progress, and what one waits for."""
    from coordinator.cli.render import tables
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.operations import tables as operation_tables

    options = shared(context)
    with open_session(options) as session:
        row, subtasks = session.store.task(ref), session.store.subtasks(ref)
    emit(
        options,
        table=lambda: tables.show(options, *operation_tables.tree_parts(row, subtasks)),
        rows=lambda: operation_tables.plain_rows(subtasks),
        document=operation_tables.tree_document(row, subtasks),
    )


@app.command()
def wait(context: typer.Context, ref: Ref) -> None:
    """Wait until an operation has ended. Exit code 0: it is COMPLETE; 3: it is not."""
    options = shared(context)
    with open_session(options) as session:
        raise typer.Exit(waited(options, session, ref))


@app.command()
def cancel(context: typer.Context, ref: Ref) -> None:
    """Cancel an operation: what is done stays, what runs ends soon, and the rest is not begun."""
    options = shared(context)
    with open_session(options) as session:
        _cancelled(options, session, ref)


def _cancelled(options: Shared, session: Any, ref: str) -> None:
    from coordinator.app.admin.operations.session import Accepted
    from coordinator.cli.commands.operation.answers import print_accepted
    from coordinator.errors import NotFoundError, StatementError
    from coordinator.protocol.operations.statement import CancelTask

    try:
        found = session.store.run(CancelTask(ref))
    except StatementError as error:
        if error.sqlstate != "42704":
            raise
        raise NotFoundError(f"{error.message}: `coord operation list` shows them") from error
    print_accepted(options, Accepted("CANCEL TASK", found))
