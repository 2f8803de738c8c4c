"""`coord check` and `coord wait`: exit codes for monitors and scripts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli import complete
from coordinator.cli.commands.look.arguments import Group
from coordinator.cli.connect import open_reader, settings_of
from coordinator.cli.shared import Output, Shared, named_group, shared
from coordinator.errors import (
    ConditionFalseError,
    CoordError,
    DatabaseUnreachableError,
    NotFoundError,
    TokenHeldError,
    UsageError,
)

if TYPE_CHECKING:
    from coordinator.app.admin.conditions import Verdict

#: Seconds for which `coord wait` waits, and between two of its readings.
WAIT_S = 30.0
POLL_S = 0.25
#: Seconds that the last reading may take, however short the wait is.
READ_S = 2.0


def check(
    context: typer.Context,
    group: Group = None,
    local: Annotated[
        bool,
        typer.Option("--local", help="Ask the HTTP endpoint of the node here, not the database."),
    ] = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="One line and exit codes 0 to 3 as Nagios has them.")
    ] = False,
    path: Annotated[
        str, typer.Option("--path", metavar="PATH", help="With --local: the endpoint to ask.")
    ] = "/livez",
) -> None:
    """Exit 0 if every group has an active node, else 3; for HEALTHCHECK, monit and Nagios."""
    options = shared(context)
    if not nagios:
        found = _local(options, path) if local else _groups(options, named_group(options, group))
        _report(options, found)
        return
    try:
        found = _local(options, path) if local else _groups(options, named_group(options, group))
    except CoordError as error:
        print(f"COORD UNKNOWN - {' '.join(str(error).split())}")
        raise typer.Exit(3) from None
    figures = f" | {' '.join(found.figures)}" if found.figures else ""
    print(f"COORD {found.level.name} - {found.text}{figures}")
    raise typer.Exit(found.level.value)


def _report(options: Shared, found: Verdict) -> None:
    from coordinator.app.admin.conditions import Level
    from coordinator.cli.render.emit import print_done

    if found.level is Level.CRITICAL:
        raise ConditionFalseError(found.text)
    print_done(options, found.text, kind="Check", level=found.level.name.lower())


def _groups(options: Shared, group: str | None) -> Verdict:
    from coordinator.app.admin.conditions import verdict_of, worst

    with open_reader(options) as (reader, _):
        found = reader.status(group).groups
    if not found:
        raise ConditionFalseError("there are no groups")
    return worst([verdict_of(each) for each in found])


def _local(options: Shared, path: str) -> Verdict:
    """Ask the endpoint of this machine's node; needs no database."""
    import http.client

    from coordinator.app.admin.conditions import Level, Verdict

    listen = settings_of(options).listen
    if listen is None:
        raise UsageError("--local: no [http] listen in the configuration, and no COORD_LISTEN")
    if not path.startswith("/"):
        raise UsageError(f"--path: {path!r} does not begin with a slash")
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    reached = "127.0.0.1" if host in ("", "0.0.0.0") else "::1" if host == "::" else host  # noqa: S104
    asked = http.client.HTTPConnection(reached, int(port), timeout=options.timeout_s)
    try:
        asked.request("GET", path)
        status = asked.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        text = f"no node answers on {listen}: {error}"
        return Verdict(level=Level.CRITICAL, text=text)
    finally:
        asked.close()
    level = Level.OK if status == http.client.OK else Level.CRITICAL
    return Verdict(level=level, text=f"{listen}{path} answers {status}")


def wait(
    context: typer.Context,
    group: Annotated[
        str, typer.Argument(metavar="GROUP", help="The group.", autocompletion=complete.groups)
    ],
    wanted: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="CONDITION",
            help="active, leaderless, idle, standby, paused, resumed, holder=NODE, holder!=NODE or"
            " 'term>7'.",
        ),
    ],
) -> None:
    """Wait until a group is as wanted; exit 75 when --timeout (default 30) runs out before."""
    from coordinator.app.admin.conditions import condition_of

    options = shared(context)
    holds = condition_of(wanted)
    named = named_group(options, group)
    last, trouble = _waited(options, named or group, holds)
    if trouble is not None:
        raise trouble
    if last is None:
        seconds = options.given_timeout_s or WAIT_S
        raise TokenHeldError(f"{group}: not {wanted} within {seconds:g} s")
    if not options.quiet or options.output is not Output.TABLE:
        _print(options, last)


def _waited(options: Shared, group: str, holds: Any) -> tuple[Any, CoordError | None]:
    """Return the group once the condition holds; else None, with the trouble at the end if any.

    An outage, or a group that does not exist yet, ends no wait before its time.
    """
    import threading
    from dataclasses import replace

    pause = threading.Event()
    over_at = time.monotonic() + (options.given_timeout_s or WAIT_S)
    while True:
        left_s = over_at - time.monotonic()
        bounded = replace(options, given_timeout_s=max(left_s + POLL_S, READ_S))
        try:
            with open_reader(bounded) as (reader, _):
                while True:
                    (found,) = reader.status(group).groups
                    if holds(found):
                        return found, None
                    if time.monotonic() >= over_at:
                        return None, None
                    pause.wait(POLL_S)
        except (DatabaseUnreachableError, NotFoundError) as error:
            trouble = error
        if time.monotonic() >= over_at:
            return None, trouble
        pause.wait(POLL_S)


def _print(options: Shared, found: Any) -> None:
    from coordinator.cli.render import documents
    from coordinator.cli.render.emit import emit

    who = found.holder or "nobody"
    fields = _fields(found)
    emit(
        options,
        table=lambda: print(f"{found.group}: {found.state}, {who}, term {found.term}"),
        rows=lambda: documents.as_rows(fields),
        document={"apiVersion": documents.API_VERSION, "kind": "Group", **fields},
    )


def _fields(found: Any) -> dict[str, Any]:
    return {
        "groupId": found.group,
        "state": found.state,
        "holder": found.holder,
        "term": found.term,
    }
