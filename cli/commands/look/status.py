"""`coord status` and `coord leader`: groups as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from coordinator.cli.commands.look.arguments import Group, OneGroup
from coordinator.cli.connect import open_reader
from coordinator.cli.shared import Output, Shared, TimeStyle, named_group, shared
from coordinator.errors import ConditionFalseError

if TYPE_CHECKING:
    from coordinator.app.admin.status import Status

#: Default of -w: seconds between two reads.
WATCH_S = "1"


class Watchable(TyperCommand):
    """Command whose -w may stand alone: `-w`, `-w 2` and `-w orders` are all valid."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the default to each -w without seconds, then let typer parse."""
        rest: list[str] = super().parse_args(ctx, spelled_out(args))
        return rest


def spelled_out(args: list[str]) -> list[str]:
    """Return the arguments with WATCH_S behind each -w that no number follows."""
    spelled: list[str] = []
    for index, word in enumerate(args):
        spelled.append(word)
        if word == "--":
            return spelled + args[index + 1 :]
        if word in ("-w", "--watch") and not _is_number(args[index + 1 : index + 2]):
            spelled.append(WATCH_S)
    return spelled


def status(
    context: typer.Context,
    group: Group = None,
    watch: Annotated[
        float | None,
        typer.Option(
            "-w",
            "--watch",
            metavar="[SECS]",
            min=0.05,
            help="Refresh every SECS seconds; default 1.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 3 unless every group shown has a live holder.")
    ] = False,
) -> None:
    """Show all groups, or the nodes of one."""
    options = shared(context)
    named = named_group(options, group)
    if watch is not None:
        if options.output in (Output.JSON, Output.TSV):
            raise typer.BadParameter("-w works only with -o table and -o jsonl")
        if check:
            raise typer.BadParameter("-w and --check cannot be combined")
        from coordinator.cli.commands.look.watch import watch_status

        watch_status(options, named, watch)
        return
    with open_reader(options) as (reader, _):
        found = reader.status(named)
    print_status(options, found, named)
    if check:
        _check(found)


def leader(
    context: typer.Context,
    group: OneGroup = None,
    address: Annotated[
        bool, typer.Option("--address", help="Print its address instead; exit 3 if it has none.")
    ] = False,
) -> None:
    """Print the active node; exit 3 if there is none."""
    options = shared(context)
    named = named_group(options, group)
    with open_reader(options) as (reader, configured):
        found = reader.status(named or configured)
    only = found.groups[0]
    from coordinator.cli.render import documents
    from coordinator.cli.render.emit import emit

    at = only.holder_address
    facts = {"groupId": only.group, "holder": only.holder, "term": only.term, "address": at}
    asked = at if address else only.holder

    def table() -> None:
        if asked is not None:
            print(asked)

    emit(
        options,
        table=table,
        rows=lambda: documents.as_rows(facts),
        document=documents.head("Leader", found.server) | facts,
    )
    if only.holder is None:
        raise ConditionFalseError(f"{only.group}: nobody is active (term {only.term})")
    if asked is None:
        said = "is known by no address: set [node] address in its Config.toml"
        raise ConditionFalseError(f"{only.group}: {only.holder} {said}")


def print_status(options: Shared, found: Status, group: str | None) -> None:
    """Print a status in the requested format."""
    from coordinator.cli.render import documents, status_tables, tables
    from coordinator.cli.render.emit import emit

    def table() -> None:
        style = options.time or TimeStyle.AGO
        parts = status_tables.status_parts(found, group, style, everything=options.verbose)
        tables.show(options, *parts)

    emit(
        options,
        table=table,
        rows=lambda: documents.status_rows(found, group, options.time or TimeStyle.ISO),
        document=documents.status_document(found),
        lines=documents.status_lines(found),
    )


def _check(found: Status) -> None:
    if not found.groups:
        raise ConditionFalseError("there are no groups")
    without = [group.group for group in found.groups if group.state != "active"]
    if without:
        raise ConditionFalseError(f"nobody is active in {', '.join(without)}")


def _is_number(words: list[str]) -> bool:
    try:
        return bool(words) and float(words[0]) > 0
    except ValueError:
        return False
