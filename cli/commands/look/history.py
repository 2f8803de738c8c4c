"""`coord history`: past takeovers."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli.commands.look.arguments import Group
from coordinator.cli.connect import open_reader
from coordinator.cli.shared import TimeStyle, named_group, shared


def history(
    context: typer.Context,
    group: Group = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help='Only the last TIME, as "24h" or "30m".'),
    ] = None,
    plot: Annotated[
        bool,
        typer.Option("--plot", help="Draw a bar for each takeover: how long nobody was active."),
    ] = False,
) -> None:
    """Show past takeovers: when, from whom to whom, why, how long."""
    from coordinator.cli.render import documents, history_tables, tables
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.units import seconds_of

    options = shared(context)
    named = named_group(options, group)
    try:
        since_s = None if since is None else seconds_of(since)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    if plot and named is None:
        raise typer.BadParameter("--plot needs a GROUP")
    with open_reader(options) as (reader, _):
        found = reader.history(named, since_s=since_s)
    style = options.time or TimeStyle.ISO

    def table() -> None:
        if plot:
            tables.show(options, *history_tables.plot_parts(found))
        else:
            tables.show(options, *history_tables.history_parts(found, style, several=named is None))

    emit(
        options,
        table=table,
        rows=lambda: documents.history_rows(found, style),
        document=documents.history_document(found),
        lines=documents.history_lines(found),
    )
