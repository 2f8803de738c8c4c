"""`coord observer`: the observer of a group and its decisions; suspend and resume it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from coordinator.cli.commands.observer.policy import policy
from coordinator.cli.commands.task.common import Reason
from coordinator.cli.connect import open_tasks
from coordinator.cli.shared import TimeStyle, shared

app = typer.Typer(
    help="Show, suspend and resume the observer of a group.",
    rich_markup_mode=None,
)
app.command()(policy)


@app.callback(invoke_without_command=True)
def observer(context: typer.Context) -> None:
    """Show, suspend and resume the observer of a group."""
    if context.invoked_subcommand is None:
        status(context)


@app.command()
def status(context: typer.Context) -> None:
    """Show the observer, whether it is suspended, and its last decisions."""
    from coordinator.cli.render import documents, tables, task_documents, task_tables
    from coordinator.cli.render.emit import emit

    options = shared(context)
    with open_tasks(options) as (tasks, group, _):
        page = tasks.observer(group)
        head = documents.head("Observer", tasks.asked())
    fields = task_documents.observer_fields(page)

    def rows() -> list[Sequence[Any]]:
        plain = {key: fields[key] for key in fields if key not in ("suspended", "decisions")}
        return documents.as_rows(plain | {"suspended": page.suspended_at is not None})

    style = options.time or TimeStyle.AGO
    emit(
        options,
        table=lambda: tables.show(options, *task_tables.observer_parts(page, style)),
        rows=rows,
        document=head | fields,
    )


@app.command()
def decisions(
    context: typer.Context,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help='Only the last TIME, as "24h" or "30m".'),
    ] = None,
) -> None:
    """Show every decision with its reason, newest first."""
    from coordinator.cli.render import documents, tables, task_documents, task_tables
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.units import seconds_of

    options = shared(context)
    try:
        since_s = None if since is None else seconds_of(since)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    with open_tasks(options) as (tasks, group, _):
        found = tasks.decisions(group, since_s=since_s)
        head = documents.head("Decisions", tasks.asked())
    fields = [task_documents.decision_fields(each) for each in found]
    style = options.time or TimeStyle.ISO
    emit(
        options,
        table=lambda: tables.show(options, *task_tables.decisions_parts(found, style)),
        rows=lambda: documents.rows(task_documents.DECISION_COLUMNS, fields),
        document=head | {"groupId": group, "decisions": fields},
        lines=[head | {"kind": "Decision", "groupId": group} | each for each in fields],
    )


@app.command()
def suspend(context: typer.Context, reason: Reason = None) -> None:
    """Stop the observer from deciding: running tasks go on, a dead node's tasks are not taken over.

    A node that leaves by itself still gives its tasks back.
    """
    _switch(context, reason, suspended=True)


@app.command()
def resume(context: typer.Context, reason: Reason = None) -> None:
    """Let a suspended observer decide again."""
    _switch(context, reason, suspended=False)


def _switch(context: typer.Context, reason: str | None, *, suspended: bool) -> None:
    from coordinator.cli.render.emit import print_done

    options = shared(context)
    with open_tasks(options) as (tasks, group, _):
        changed = tasks.suspend(group, reason) if suspended else tasks.resume(group, reason)
    word = "suspended" if suspended else "resumed"
    verb = "is" if changed else "was already"
    print_done(
        options, f"{group}: the observer {verb} {word}", groupId=group, state=word, changed=changed
    )
