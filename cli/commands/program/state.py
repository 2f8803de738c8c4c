"""`coord state`: save, read and show the state that a holder leaves to the next one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import complete
from coordinator.cli.commands.program.inside import calling_program
from coordinator.cli.connect import database_of, database_settings_of, within
from coordinator.cli.shared import Shared, TimeStyle, named_group, shared

if TYPE_CHECKING:
    from coordinator.app.admin.program.states import SavedLine, States

app = typer.Typer(
    help="Save, read and show the state that a holder leaves to the next.", no_args_is_help=True
)

Group = Annotated[
    str | None,
    typer.Argument(
        metavar="[GROUP]",
        help="Default: the program's own, or the configured group.",
        autocompletion=complete.groups,
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        help="State of this task of the group. Default: COORD_TASK.",
        autocompletion=complete.tasks,
    ),
]


@app.command()
def put(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Default, and -: standard input.")
    ] = None,
) -> None:
    """Save a state, up to 1 MiB of any bytes; only inside a program that coord runs.

    Exit code 76: the program's token is lost, and nothing was saved.
    """
    options = shared(context)
    program = calling_program()
    content = _content(file)
    with _open(options) as (states, _):
        sequence = states.save(program.token, program.term, program.session, content)
    if options.verbose:
        print(f"{program.token}: state {sequence}, {len(content)} bytes", file=sys.stderr)


@app.command()
def get(
    context: typer.Context,
    group: Group = None,
    task: Task = None,
    sequence: Annotated[
        int | None, typer.Option("--sequence", metavar="N", help="An older one that is still kept.")
    ] = None,
) -> None:
    """Print a state, byte by byte; exit code 3 if none was saved yet."""
    options = shared(context)
    with _open(options, group) as (states, named):
        content = states.content(_token(named, group, task), sequence)
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


@app.command()
def show(context: typer.Context, group: Group = None, task: Task = None) -> None:
    """Show the newest state: its term, node, moment and size; exit code 3 if there is none."""
    options = shared(context)
    with _open(options, group) as (states, named):
        token = _token(named, group, task)
        _emit(options, states, token, [states.newest(token)], kind="State")


@app.command()
def history(context: typer.Context, group: Group = None, task: Task = None) -> None:
    """Show the states that are kept, the newest first: the last ten of each token."""
    options = shared(context)
    with _open(options, group) as (states, named):
        token = _token(named, group, task)
        _emit(options, states, token, states.kept(token), kind="StateHistory")


def _emit(
    options: Shared, states: States, token: str, lines: Sequence[SavedLine], *, kind: str
) -> None:
    from coordinator.cli.render import documents, state_pages, tables
    from coordinator.cli.render.emit import emit

    head = documents.head(kind, states.asked())
    fields = [state_pages.fields(token, each) for each in lines]
    style = options.time or TimeStyle.AGO
    emit(
        options,
        table=lambda: tables.show(options, *state_pages.parts(token, lines, style)),
        rows=lambda: documents.rows(state_pages.COLUMNS, fields),
        document=head | (fields[0] if kind == "State" else {"token": token, "states": fields}),
        lines=[head | {"kind": "State"} | each for each in fields],
    )


@contextmanager
def _open(options: Shared, named: str | None = None) -> Iterator[tuple[States, str]]:
    """Open the states within the time-out; also return the group."""
    from coordinator.app.admin.program.states import States

    settings = database_settings_of(options)
    group = named_group(options, named) or settings.group_id
    resolved = database_of(options, settings)
    with within(options.timeout_s, resolved.label):
        states = States(resolved, schema=settings.database.schema, timeout_s=options.timeout_s)
        try:
            yield states, group
        finally:
            states.close()


def _token(group: str, named: str | None, task: str | None) -> str:
    """Return the token's name; COORD_TASK counts only while no group is named."""
    name = task or (None if named else os.environ.get("COORD_TASK"))
    return f"{group}/{name}" if name else group


def _content(file: Path | None) -> bytes:
    """Read what is to be saved, and no more of it than shows that it is too much."""
    from coordinator.errors import UsageError
    from coordinator.protocol.rules.saved_state import STATE_BYTES_MAX, checked_size

    try:
        if file is not None and file != Path("-"):
            with file.open("rb") as opened:
                return checked_size(opened.read(STATE_BYTES_MAX + 1))
        return checked_size(sys.stdin.buffer.read(STATE_BYTES_MAX + 1))
    except OSError as error:
        raise UsageError(f"{file or 'standard input'}: {error.strerror}") from error
