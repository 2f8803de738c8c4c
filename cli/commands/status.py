"""`coord status`, `coord leader`, `coord history`: what is, and what was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from coordinator.cli import complete
from coordinator.cli.options import Output, Shared, TimeStyle, named_group, shared
from coordinator.errors import ConditionFalseError

if TYPE_CHECKING:
    from coordinator.app.admin.status import Status, StatusReader

Group = Annotated[
    str | None,
    typer.Argument(metavar="[GROUP]", help="Default: all groups.", autocompletion=complete.groups),
]
OneGroup = Annotated[
    str | None,
    typer.Argument(
        metavar="[GROUP]", help="Default: the configured group.", autocompletion=complete.groups
    ),
]

#: Seconds between two looks of -w when none are given.
WATCH_S = "1"


class Watchable(TyperCommand):
    """A command whose -w may stand alone: `-w`, `-w 2` and `-w orders` all mean something."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give each -w its seconds before typer asks for them."""
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
            "-w", "--watch", metavar="[SECS]", min=0.05, help="Look again and again; default 1 s."
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
            raise typer.BadParameter("-w works with -o table and -o jsonl")
        if check:
            raise typer.BadParameter("--check looks once; leave out -w")
        from coordinator.cli.commands.status_watch import watch_status

        watch_status(options, named, watch)
        return
    with looking(options) as (look, _):
        found = look.status(named)
    print_status(options, found, named)
    if check:
        _check(found)


def leader(context: typer.Context, group: OneGroup = None) -> None:
    """Print the active node; exit 3 when there is none."""
    options = shared(context)
    named = named_group(options, group)
    with looking(options) as (look, configured):
        found = look.status(named or configured)
    only = found.groups[0]
    from coordinator.cli.render import documents

    facts = {"groupId": only.group, "holder": only.holder, "term": only.term}
    match options.output:
        case Output.TABLE if only.holder is not None:
            print(only.holder)
        case Output.TSV:
            print(documents.tsv([tuple(facts), tuple(facts.values())]))
        case Output.JSON:
            print(documents.pretty(documents.head("Leader", found.server) | facts))
        case Output.JSONL:
            print(documents.one(documents.head("Leader", found.server) | facts))
        case _:
            pass
    if only.holder is None:
        raise ConditionFalseError(f"{only.group}: nobody is active (term {only.term})")


def history(
    context: typer.Context,
    group: Group = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help='Only the last TIME, as "24h" or "30m".'),
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw how long nobody was active, term by term.")
    ] = False,
) -> None:
    """Show the takeovers: who, when, why, how long."""
    from coordinator.cli.render import documents, tables
    from coordinator.cli.render.units import seconds_of

    options = shared(context)
    named = named_group(options, group)
    try:
        since_s = None if since is None else seconds_of(since)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    if plot and named is None:
        raise typer.BadParameter("--plot needs a GROUP")
    with looking(options) as (look, _):
        found = look.history(named, since_s=since_s)
    style = options.time or TimeStyle.ISO
    match options.output:
        case Output.TABLE if plot:
            tables.show(options, *tables.plot_parts(found))
        case Output.TABLE:
            parts = tables.history_parts(found, style, several=named is None)
            tables.show(options, *parts)
        case Output.TSV:
            print(documents.tsv(documents.history_rows(found, style)))
        case Output.JSON:
            print(documents.pretty(documents.history_document(found)))
        case Output.JSONL:
            _print_lines(documents.history_lines(found))


def print_status(options: Shared, found: Status, group: str | None) -> None:
    """Print a status in the form that was asked for."""
    from coordinator.cli.render import documents, tables

    match options.output:
        case Output.TABLE:
            style = options.time or TimeStyle.AGO
            parts = tables.status_parts(found, group, style, everything=options.verbose)
            tables.show(options, *parts)
        case Output.TSV:
            print(documents.tsv(documents.status_rows(found, group, options.time or TimeStyle.ISO)))
        case Output.JSON:
            print(documents.pretty(documents.status_document(found)))
        case Output.JSONL:
            _print_lines(documents.status_lines(found))


@contextmanager
def looking(options: Shared) -> Iterator[tuple[StatusReader, str]]:
    """Open what answers questions, within the time-out; also return the configured group."""
    from coordinator.app.admin.status import StatusReader
    from coordinator.cli.connect import database_of, looking_settings_of, within

    settings = looking_settings_of(options)
    resolved = database_of(options, settings, footed=True)
    with within(options.timeout_s, resolved.label):
        look = StatusReader(resolved, schema=settings.database.schema, timeout_s=options.timeout_s)
        try:
            yield look, settings.group_id
        finally:
            look.close()


def _check(found: Status) -> None:
    if not found.groups:
        raise ConditionFalseError("there are no groups")
    without = [group.group for group in found.groups if group.state != "active"]
    if without:
        raise ConditionFalseError(f"nobody is active in {', '.join(without)}")


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        print(line)


def _is_number(words: list[str]) -> bool:
    try:
        return bool(words) and float(words[0]) > 0
    except ValueError:
        return False
