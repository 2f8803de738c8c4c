"""`coord checkpoint`: keep the files of a program's state for the next holder, and read them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli import complete
from coordinator.cli.commands.program.inside import calling_program
from coordinator.cli.connect import database_of, database_settings_of, within
from coordinator.cli.errors import say
from coordinator.cli.shared import Shared, TimeStyle, named_group, shared

if TYPE_CHECKING:
    from coordinator.app.admin.task_views import Asked
    from coordinator.app.config.settings import NodeSettings
    from coordinator.store.checkpoints.catalogue import Catalogue

app = typer.Typer(
    help="Keep the files of a program's state for the next holder, and read them.",
    no_args_is_help=True,
)

Group = Annotated[
    str | None,
    typer.Option(
        "--of",
        metavar="GROUP",
        help="Default: the program's own, or the configured group.",
        autocompletion=complete.groups,
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        help="Of this task of the group. Default: COORD_TASK.",
        autocompletion=complete.tasks,
    ),
]
Sequence = Annotated[
    int | None, typer.Option("--sequence", metavar="N", help="Not the newest, but this one.")
]


@app.command()
def put(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]",
            help="A file, a directory, or - for standard input. Default: COORD_CHECKPOINT_DIR.",
        ),
    ] = None,
) -> None:
    """Keep a file or a directory; only inside a program that coord runs.

    Exit code 76: the program's token is lost, and nothing was kept.
    """
    from coordinator.app.checkpoints.making import Maker
    from coordinator.app.checkpoints.material import bytes_content, path_content
    from coordinator.errors import UsageError
    from coordinator.store.checkpoints.records import Holding

    options = shared(context)
    program = calling_program()
    place = path or _own_directory()
    try:
        material = (
            bytes_content(sys.stdin.buffer.read()) if place == Path("-") else path_content(place)
        )
        with _open(options, None) as (catalogue, settings, _):
            holding = Holding(
                token=program.token, term=program.term, session=program.session, node=program.node
            )
            made = Maker(catalogue, holding, settings.checkpoints).put(material)
    except OSError as error:
        raise UsageError(f"{error.filename or place}: {error.strerror}") from error
    for name in made.left_out:
        say(f"warning: {name}: it has no content, and was left out")
    if made.degraded:
        say("warning: DEGRADED_PLACEMENT: segments share a node, for want of others with disks")
    if options.verbose:
        say(f"{program.token}: checkpoint {made.sequence}, {made.length} bytes")


@app.command()
def get(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="Nothing may be there. Default: standard output."),
    ] = None,
    group: Group = None,
    task: Task = None,
    sequence: Sequence = None,
) -> None:
    """Restore a checkpoint, whole or not at all; exit code 3 if there is none."""
    from coordinator.app.checkpoints.restoring import Reader
    from coordinator.errors import UsageError

    options = shared(context)
    with _open(options, group) as (catalogue, _, _):
        reader = Reader(catalogue, os.environ.get("COORD_NODE", ""), _term())
        row = reader.chosen(_token(catalogue.group, group, task), sequence)
        if path is None:
            if row["form"] == "directory":
                raise UsageError("it is a directory: name the PATH that it is to have")
            sys.stdout.flush()
            faults = _print_whole(reader, row)
        else:
            try:
                faults = reader.save_to(row, path)
            except OSError as error:
                raise UsageError(f"{error.filename or path}: {error.strerror}") from error
    for place, fault in sorted(faults.items()):
        say(f"warning: segment {place}: {fault}")


@app.command(name="list")
def list_(context: typer.Context, group: Group = None, task: Task = None) -> None:
    """Show the checkpoints of a group, the newest of each token first."""
    from coordinator.app.admin.task_views import Asked
    from coordinator.app.checkpoints.restoring import Reader

    options = shared(context)
    with _open(options, group) as (catalogue, _, scope):
        token = f"{catalogue.group}/{task}" if task else None
        rows = Reader(catalogue, "", 0).listed(token)
        asked = Asked(catalogue.server_time(), scope)
    _emit_list(options, rows, asked)


@app.command()
def verify(
    context: typer.Context, group: Group = None, task: Task = None, sequence: Sequence = None
) -> None:
    """Read every segment of a checkpoint, and change nothing.

    Exit code 0: all are intact. 3: some are not, and the rest suffices. 1: the checkpoint is lost.
    """
    from coordinator.app.checkpoints.restoring import Reader
    from coordinator.errors import ConditionFalseError
    from coordinator.segments.faults import CheckpointLostError

    options = shared(context)
    with _open(options, group) as (catalogue, _, _):
        reader = Reader(catalogue, os.environ.get("COORD_NODE", ""), _term())
        token = _token(catalogue.group, group, task)
        verified = reader.verify(reader.chosen(token, sequence))
    for each in verified.verdicts:
        line = f"segment {each.place} on {each.node}: {each.verdict}"
        print(line + (f": {each.detail}" if each.detail else ""))
    count = len(verified.verdicts)
    numbers = f"{verified.intact} of {count} segments are intact, {verified.needed} are needed"
    if verified.salvageable:
        numbers += ", and their whole blocks restore it: rebuild it"
    if not verified.readable:
        raise CheckpointLostError(f"{token}: checkpoint {verified.sequence} is lost: {numbers}")
    if verified.intact < count:
        raise ConditionFalseError(f"{token}: checkpoint {verified.sequence}: {numbers}")
    if not options.quiet:
        print(f"{token}: checkpoint {verified.sequence} is intact")


@app.command()
def rescan(context: typer.Context) -> None:
    """Tell the catalogue of the files on this node's disks, after the database has lost it.

    Run it on each node with [[disks]], before programs start, as the owner of coord's tables. It
    adds what the catalogue knows nothing of, also a checkpoint that was whole and never committed.
    """
    from coordinator.app.checkpoints.rescanning import rescan as rescanned
    from coordinator.errors import UsageError

    options = shared(context)
    added = 0
    with _open(options, None) as (catalogue, settings, _):
        if not settings.checkpoints.disks:
            raise UsageError("this node's Config.toml has no [[disks]]")
        for each in rescanned(catalogue, settings.task_id, settings.checkpoints.disks):
            added += each.added
            if not each.added:
                say(f"warning: {each.url}: segment {each.segment} was left out: {each.detail}")
    if not options.quiet:
        print(f"{catalogue.group}: {added} segments were added")


@contextmanager
def _open(options: Shared, named: str | None) -> Iterator[tuple[Catalogue, NodeSettings, str]]:
    """Open the catalogue of a group: to connect has a time-out, the work takes its time."""
    from coordinator.store.checkpoints.catalogue import Catalogue

    settings = database_settings_of(options)
    own = os.environ.get("COORD_GROUP")
    group = named or named_group(options, None) or own or settings.group_id
    resolved = database_of(options, settings)
    with within(options.timeout_s, resolved.label):
        catalogue = Catalogue(
            resolved.conninfo,
            schema=settings.database.schema,
            group=group,
            where=resolved.label,
            timeout_s=max(options.timeout_s, 30.0),
        )
    with catalogue:
        yield catalogue, settings, resolved.scope


def _emit_list(options: Shared, rows: list[dict[str, Any]], asked: Asked) -> None:
    from coordinator.cli.commands.checkpoint import pages
    from coordinator.cli.render import documents, tables
    from coordinator.cli.render.emit import emit

    fields = [pages.fields(row) for row in rows]
    style = options.time or TimeStyle.AGO
    head = documents.head("Checkpoints", asked)
    emit(
        options,
        table=lambda: tables.show(options, *pages.parts(rows, style)),
        rows=lambda: documents.rows(pages.COLUMNS, fields),
        document=head | {"checkpoints": fields},
        lines=[head | {"kind": "Checkpoint"} | each for each in fields],
    )


def _print_whole(reader: Any, row: dict[str, Any]) -> dict[int, str]:
    """Print the content once it was read whole: half of it must not pass for all."""
    import tempfile

    with tempfile.TemporaryFile() as file:

        def keep(chunks: Iterator[bytes]) -> None:
            file.seek(0)
            file.truncate()
            for chunk in chunks:
                file.write(chunk)

        faults: dict[int, str] = reader.content(row, keep)
        file.seek(0)
        while part := file.read(1 << 20):
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
    return faults


def _token(group: str, named: str | None, task: str | None) -> str:
    """Return the token's name; COORD_TASK counts only while no group is named."""
    name = task or (None if named else os.environ.get("COORD_TASK"))
    return f"{group}/{name}" if name else group


def _term() -> int:
    term = os.environ.get("COORD_TERM", "")
    return int(term) if term.isdecimal() else 0


def _own_directory() -> Path:
    from coordinator.errors import UsageError

    directory = os.environ.get("COORD_CHECKPOINT_DIR")
    if not directory:
        raise UsageError("COORD_CHECKPOINT_DIR is not set: give a PATH")
    return Path(directory)
