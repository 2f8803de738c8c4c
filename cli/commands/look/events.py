"""`coord events` and `coord jobs`: the log of a group, and its schedules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.commands.look.arguments import Group
from coordinator.cli.connect import database_of, database_settings_of, within
from coordinator.cli.shared import Output, Shared, TimeStyle, named_group, shared

if TYPE_CHECKING:
    from coordinator.app.admin.events import EventReader

#: Default of --since where nothing is followed.
SINCE = "24h"


def events(
    context: typer.Context,
    group: Group = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with new events until Ctrl-C.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help='Only the last TIME, as "24h" or "30m"; default 24h, with -f only new ones.',
        ),
    ] = None,
) -> None:
    """Show what happened in a group, oldest first: takings, releases, decisions, alerts."""
    options = shared(context)
    named = named_group(options, group)
    since_s = _seconds(since if since is not None or follow else SINCE)
    if follow:
        if options.output in (Output.JSON, Output.TSV):
            raise typer.BadParameter("-f works only with -o table and -o jsonl")
        from coordinator.cli.commands.look.follow import follow_events

        follow_events(options, named, since_s)
        return
    from coordinator.app.admin.documents.fields import event_fields
    from coordinator.cli.render import documents, event_pages, tables
    from coordinator.cli.render.emit import emit

    with open_events(options) as reader:
        reader.known(named)
        found = list(reader.events(named, since_s=since_s))
        head = documents.head("Events", reader.asked())
    fields = [event_fields(each) for each in found]
    style = options.time or TimeStyle.ISO
    emit(
        options,
        table=lambda: tables.show(options, *event_pages.events_parts(found, style)),
        rows=lambda: documents.rows(event_pages.EVENT_COLUMNS, fields),
        document={**head, "events": fields},
        lines=[event_pages.event_line(each) for each in found],
    )


def jobs(context: typer.Context, group: Group = None) -> None:
    """Show the schedules: where each runs, its last run with the outcome, and the next run."""
    from coordinator.cli.render import documents, event_pages, tables
    from coordinator.cli.render.emit import emit

    options = shared(context)
    named = named_group(options, group)
    with open_events(options) as reader:
        reader.known(named)
        found = reader.jobs(named)
        head = documents.head("Jobs", reader.asked())
    fields = [event_pages.job_fields(each) for each in found]
    style = options.time or TimeStyle.AGO
    emit(
        options,
        table=lambda: tables.show(options, *event_pages.jobs_parts(found, style)),
        rows=lambda: documents.rows(event_pages.JOB_COLUMNS, fields),
        document={**head, "jobs": fields},
        lines=[{**head, "kind": "Job", **each} for each in fields],
    )


@contextmanager
def open_events(options: Shared) -> Iterator[EventReader]:
    """Open the reader of events within the time-out."""
    from coordinator.app.admin.events import EventReader

    settings = database_settings_of(options)
    resolved = database_of(options, settings)
    with within(options.timeout_s, resolved.label):
        reader = EventReader(resolved, schema=settings.database.schema, timeout_s=options.timeout_s)
        try:
            yield reader
        finally:
            reader.close()


def _seconds(text: str | None) -> float | None:
    from coordinator.cli.render.units import seconds_of

    try:
        return None if text is None else seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
