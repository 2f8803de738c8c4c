"""`coord doctor`: the guarantees that this machine allows, and a check of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.shared import Output, Shared, shared

if TYPE_CHECKING:
    from coordinator.app.admin.doctor import Level

COLUMNS = ("level", "available", "used", "promise", "whyNot")


def doctor(
    context: typer.Context,
    guardian: Annotated[
        bool, typer.Option("--guardian", help="Check the machine only, not the database.")
    ] = False,
) -> None:
    """Check this machine and its database.

    It shows how reliably a node can kill its program here, and whether the database answers.
    """
    from coordinator.app.admin.doctor import guardian_levels
    from coordinator.cli.connect import settings_of

    options = shared(context)
    wanted = "auto" if guardian else settings_of(options).isolation
    levels = guardian_levels(wanted)
    _print_levels(options, levels)
    if not guardian:
        _print_database(options)


def _print_levels(options: Shared, levels: tuple[Level, ...]) -> None:
    rows = [
        dict(
            zip(
                COLUMNS,
                (level.name, level.available, level.used, level.promise, level.why_not),
                strict=True,
            )
        )
        for level in levels
    ]
    from coordinator.cli.render import documents
    from coordinator.cli.render.emit import emit

    head = {"apiVersion": documents.API_VERSION, "kind": "Doctor"}
    emit(
        options,
        table=lambda: _print_table(options, levels),
        rows=lambda: documents.rows(COLUMNS, rows),
        document=head | {"isolation": rows},
    )


def _print_table(options: Shared, levels: tuple[Level, ...]) -> None:
    from coordinator.cli.render.tables import show, table_of

    cells = [
        (
            ("* " if level.used else "  ") + level.name,
            "yes" if level.available else f"no: {level.why_not}",
            level.promise,
        )
        for level in levels
    ]
    columns = ("  ISOLATION", "AVAILABLE", "PROMISE")
    show(options, table_of(columns, cells, wraps=columns[1:]))


def _print_database(options: Shared) -> None:
    if options.output is not Output.TABLE:
        return
    from coordinator.cli.connect import open_reader
    from coordinator.cli.render.tables import footer

    with open_reader(options) as (reader, _):
        server = reader.server()
        remarks = reader.remarks()
    print(footer(server))
    for sentence in remarks:
        print(sentence)
