"""`coord doctor`: an examination of this machine, its configuration and its database."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.shared import Shared, shared
from coordinator.errors import CoordError

if TYPE_CHECKING:
    from coordinator.app.admin.doctor.findings import Finding
    from coordinator.app.admin.doctor.levels import Level
    from coordinator.app.config.settings import NodeSettings

COLUMNS = ("level", "available", "used", "promise", "whyNot")
FINDING_COLUMNS = ("light", "area", "text", "remedy", "exitCode")
#: Colours of the lights.
STYLES = {"green": "running", "amber": "waiting", "red": "stuck"}


class RefusedError(CoordError):
    """An examination with a red light: `coord run` would refuse, or could not work."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = code


def doctor(
    context: typer.Context,
    guardian: Annotated[
        bool, typer.Option("--guardian", help="Check the machine only, not the database.")
    ] = False,
) -> None:
    """Check this machine, its configuration and its database; name a remedy for what is wrong.

    The exit code is that of `coord run` for the first red light, or 0.
    """
    options = shared(context)
    if guardian:
        from coordinator.app.admin.doctor.levels import guardian_levels

        _print(options, guardian_levels("auto"), [])
        return
    settings, found = _examined(options)
    levels = _levels(settings)
    _print(options, levels, found)
    red = [finding for finding in found if finding.code]
    if red:
        raise RefusedError("\n".join(finding.text for finding in red), red[0].code)


def _examined(options: Shared) -> tuple[NodeSettings | None, list[Finding]]:
    """Return the settings, as far as they can be read, and all findings."""
    from coordinator.app.admin.doctor import examination
    from coordinator.app.admin.doctor.findings import bad
    from coordinator.app.node.start import check_program
    from coordinator.cli.connect import database_of, database_settings_of, settings_of
    from coordinator.runtime.linux import limits

    found: list[Finding] = []
    settings: NodeSettings | None = None
    try:
        settings = settings_of(options)
        own = settings
        named = () if own.program is None else (lambda: check_program(own),)
        found += examination.examine_config(own, (limits.check, *named))
    except CoordError as error:
        remedy = "`coord config check` has each line"
        found += [bad("config", line, remedy, error.exit_code) for line in str(error).splitlines()]
        try:
            settings = database_settings_of(options)
        except CoordError:
            return None, [*found, *examination.examine_machine("auto")]
    found += examination.examine_machine(settings.isolation)
    found += examination.examine_webhook(settings)
    try:
        resolved = database_of(options, settings, footed=True)
    except CoordError as error:
        found.append(bad("connection", str(error), "name a database", error.exit_code))
        return settings, found
    pause = threading.Event()
    found += examination.examine_database(resolved, settings, options.timeout_s, pause.wait)
    return settings, found


def _levels(settings: NodeSettings | None) -> tuple[Level, ...]:
    from coordinator.app.admin.doctor.levels import guardian_levels

    try:
        return guardian_levels("auto" if settings is None else settings.isolation)
    except CoordError:
        return ()


def _print(options: Shared, levels: tuple[Level, ...], found: list[Finding]) -> None:
    from coordinator.cli.render import documents
    from coordinator.cli.render.emit import emit

    isolation = [
        dict(
            zip(
                COLUMNS,
                (each.name, each.available, each.used, each.promise, each.why_not),
                strict=True,
            )
        )
        for each in levels
    ]
    findings = [
        {
            "light": each.light.value,
            "area": each.area,
            "text": each.text,
            "remedy": each.remedy or None,
            "exitCode": each.code,
        }
        for each in found
    ]
    head: dict[str, Any] = {"apiVersion": documents.API_VERSION, "kind": "Doctor"}
    rows = (COLUMNS, isolation) if not found else (FINDING_COLUMNS, findings)
    emit(
        options,
        table=lambda: _print_tables(options, levels, found),
        rows=lambda: documents.rows(*rows),
        document=head | {"isolation": isolation, "findings": findings},
    )


def _print_tables(options: Shared, levels: tuple[Level, ...], found: list[Finding]) -> None:
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
    if not found:
        return
    rows = [(each.light.value, each.area, each.text, each.remedy or "-") for each in found]
    styles = [STYLES[each.light.value] for each in found]
    table = table_of(
        ("LIGHT", "AREA", "FINDING", "REMEDY"), rows, styles, wraps=("FINDING", "REMEDY")
    )
    show(options, "", table)
