"""`coord token list` and `release`: who holds what, and the end of a holder that is dead."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import complete
from coordinator.cli.commands.look.arguments import Group
from coordinator.cli.commands.task.common import Reason, Yes, confirm
from coordinator.cli.connect import open_cleaner
from coordinator.cli.shared import named_group, shared
from coordinator.errors import NodeAliveError, UsageError

if TYPE_CHECKING:
    from coordinator.app.admin.cleaning.cleaner import TokenLine

COLUMNS = ("token", "state", "taskId", "term", "heldSeconds", "heartbeatAgeSeconds")


def list_(context: typer.Context, group: Group = None) -> None:
    """Show the tokens of a group and of its tasks: holder, term, since when, its heartbeat."""
    from coordinator.cli.render import documents, tables
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.units import age

    options = shared(context)
    with open_cleaner(options) as cleaner:
        found = cleaner.tokens(named_group(options, group))
        head = documents.head("Tokens", cleaner.asked())
    fields = [
        {
            "token": each.token,
            "state": each.state,
            "taskId": each.node,
            "term": each.term,
            "heldSeconds": documents.seconds(each.acquired_age_s if each.node else None),
            "heartbeatAgeSeconds": documents.seconds(each.beat_age_s),
        }
        for each in found
    ]
    cells = [
        (
            each.token,
            each.state,
            each.node or (f"({each.last_node})" if each.last_node else "-"),
            each.term,
            age(each.acquired_age_s if each.node else None),
            age(each.beat_age_s),
        )
        for each in found
    ]
    columns = ("TOKEN", "STATE", "NODE", ">TERM", ">HELD FOR", ">LAST BEAT")
    styles = [
        {"held": "active", "silent": "dead", "over": "stuck"}.get(each.state, "idle")
        for each in found
    ]
    emit(
        options,
        table=lambda: tables.show(
            options, tables.table_of(columns, cells, styles, names=("TOKEN", "NODE"))
        ),
        rows=lambda: documents.rows(COLUMNS, fields),
        document=head | {"tokens": fields},
        lines=[head | {"kind": "Token"} | each for each in fields],
    )


def release(
    context: typer.Context,
    token: Annotated[
        str,
        typer.Argument(
            metavar="TOKEN",
            help="A group, or GROUP/TASK, as `token list` has it.",
            autocompletion=complete.tokens,
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Needed: the holder does not give it back itself.")
    ] = False,
    fence: Annotated[
        str | None,
        typer.Option(
            "--fence",
            metavar="COMMAND",
            help="Shell command that kills the holder's machine; gets COORD_NODE and COORD_TERM.",
        ),
    ] = None,
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Give back the token of a holder that is dead, after watching its whole interval.

    A holder that sends a heartbeat meanwhile is left alone (exit 3). With --fence COMMAND nothing
    is waited for: its success means that the holder's machine is dead.
    """
    if not force:
        raise UsageError("--force is missing: the holder may be alive; `coord resign` asks it")
    options = shared(context)
    if not yes:
        confirm(f"Release {token}, whose holder is to be dead?")
    from coordinator.cli.render.emit import print_done
    from coordinator.runtime.linux.clock import BoottimeClock

    with open_cleaner(options, bounded=False) as cleaner:
        given = cleaner.release(
            token,
            clock=BoottimeClock(),
            pause=threading.Event().wait,
            fenced=None if fence is None else lambda line: _fence(fence, line),
            reason=reason,
        )
    print_done(
        options,
        f"{token}: released; {given} tokens of that session are free",
        token=token,
        freed=given,
    )


def _fence(command: str, line: TokenLine) -> None:
    """Run the operator's command; anything but success means that the holder may live."""
    import os

    known = {"COORD_NODE": line.node or "", "COORD_TERM": str(line.term)}
    known["COORD_GROUP"] = line.token.partition("/")[0]
    done = subprocess.run(  # noqa: S602 - the operator's own shell command
        command, shell=True, env={**os.environ, **known}, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        raise NodeAliveError(
            f"{line.token}: not released: the fence command ended with {done.returncode}"
        )
