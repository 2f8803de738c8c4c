"""`coord config`: check and show the configuration, and print its JSON schema."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli.errors import say
from coordinator.cli.shared import Output, shared
from coordinator.errors import ConfigError

app = typer.Typer(
    help="Check and show the configuration.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def check(context: typer.Context) -> None:
    """Check the configuration and what it names; exit 78 with one line for each problem."""
    from coordinator.app.admin.config_check import problems_of
    from coordinator.cli.connect import settings_of

    options = shared(context)
    file: str | None = None
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...]
    try:
        settings = settings_of(options)
    except ConfigError as error:
        problems = tuple(str(error).splitlines())
        code = error.exit_code
    else:
        file, warnings = settings.config_path, settings.warnings
        problems, code = problems_of(settings), ConfigError.exit_code
    if options.output in (Output.JSON, Output.JSONL):
        from coordinator.cli.render import documents

        facts = {"file": file, "ok": not problems, "problems": problems, "warnings": warnings}
        document = {"apiVersion": documents.API_VERSION, "kind": "ConfigCheck"} | facts
        is_pretty = options.output is Output.JSON
        print(documents.pretty(document) if is_pretty else documents.one(document))
    else:
        for line in (*(f"warning: {warning}" for warning in warnings), *problems):
            say(line)
        if not problems and not options.quiet:
            print(f"{file or 'no file, all defaults'}: ok")
    if problems:
        raise typer.Exit(code)


@app.command()
def show(
    context: typer.Context,
    origin: Annotated[
        bool, typer.Option("--origin", help="Also show where each value comes from.")
    ] = False,
) -> None:
    """Show every setting as a node would use it; secrets are hidden."""
    from coordinator.app.config.loader import show as rows_of
    from coordinator.cli.connect import settings_of
    from coordinator.cli.render import documents
    from coordinator.cli.render.emit import emit

    options = shared(context)
    rows = rows_of(settings_of(options))
    settings = [
        {"key": key, "value": value} | ({"origin": where} if origin else {})
        for key, value, where in rows
    ]
    columns = ("key", "value", *(("origin",) if origin else ()))
    head = {"apiVersion": documents.API_VERSION, "kind": "Config"}
    emit(
        options,
        table=lambda: _print_aligned([tuple(setting.values()) for setting in settings]),
        rows=lambda: documents.rows(columns, settings),
        document=head | {"settings": settings},
        lines=settings,
    )


@app.command()
def schema() -> None:
    """Print the JSON schema of Config.toml, for editors."""
    from coordinator.app.config.template import schema_text

    print(schema_text(), end="")


def _print_aligned(rows: list[tuple[str, ...]]) -> None:
    from coordinator.cli.render.units import safe

    clean = [[safe(cell) or "-" for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*clean, strict=True)]
    for row in clean:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
