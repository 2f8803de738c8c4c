"""`coord task run`: a task of a schedule is run once now, by hand, where its token is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from coordinator.cli.commands.planned.following import LOOK_EVERY_S, LiveLine
from coordinator.cli.commands.task.common import Name, Reason
from coordinator.cli.connect import database_of, database_settings_of, within
from coordinator.cli.shared import Output, Shared, named_group, shared
from coordinator.errors import (
    CoordError,
    DatabaseUnreachableError,
    TokenHeldError,
    TokenLostError,
)

if TYPE_CHECKING:
    from coordinator.app.admin.program.runs import AskedRun

T = TypeVar("T")

EXIT_CODES = (
    "Exit codes: 0 when the run is asked for, or with --wait when it succeeded; 1 when it failed;"
    " 3 when it is refused; 75 when no node began it in ten minutes; 76 when its node was told to"
    " stop, or died, before it ended. It is not made again then."
)


def run(
    context: typer.Context,
    name: Name,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run to its end; the exit code tells how.")
    ] = False,
    reason: Reason = None,
) -> None:
    """Run a scheduled task once now, on the node that holds it; its schedule goes on unchanged.

    It is started at most once, whatever dies, and goes on without this command.
    """
    from coordinator.app.admin.program.runs import TaskRuns

    options = shared(context)
    settings = database_settings_of(options)
    group = named_group(options, None) or settings.group_id
    resolved = database_of(options, settings)

    def bounded(request: Callable[[], T]) -> T:
        with within(options.timeout_s, resolved.label):
            return request()

    runs = bounded(
        lambda: TaskRuns(resolved, schema=settings.database.schema, timeout_s=options.timeout_s)
    )
    try:
        found = bounded(lambda: runs.ask(group, name, reason=reason))
        if wait:
            found = followed_run(
                options,
                f"{group}/{name}",
                found,
                lambda run: bounded(lambda: runs.look(group, name, run)),
            )
        _answer(options, group, name, found, lambda: bounded(runs.answered))
    finally:
        runs.close()
    failure = failure_of(f"{group}/{name}", found)
    if failure is not None:
        raise failure


def followed_run(
    options: Shared, token: str, run: AskedRun, look: Callable[[AskedRun], AskedRun]
) -> AskedRun:
    """Return a run as it has ended, with a live line until then."""
    from coordinator.app.admin.program.runs import OPEN, RunState

    began, pause, line = time.monotonic(), threading.Event(), LiveLine(options)
    try:
        while run.state in OPEN:
            waiting = "waits for its node"
            if run.state is RunState.RUNNING:
                waiting = f"runs on {run.node}, term {run.term}"
            line.show(f"{token}: {waiting} ({time.monotonic() - began:.0f} s)")
            pause.wait(LOOK_EVERY_S)
            run = look(run)
    except DatabaseUnreachableError as error:
        raise DatabaseUnreachableError(
            f"{error}; {token}: the run was asked for, and goes on without this command:"
            " `coord jobs` shows how it ends"
        ) from error
    finally:
        line.clear()
    return run


def _answer(options: Shared, group: str, name: str, run: AskedRun, answered: Any) -> None:
    """Print what was done, or the run as it is now in the requested format."""
    from coordinator.cli.render import documents
    from coordinator.cli.render.emit import emit
    from coordinator.cli.render.units import age, safe

    if options.output is Output.TABLE:
        if options.quiet:
            return
        if run.state == "asked":
            print(safe(f"{group}/{name}: a run is asked for; `coord jobs` shows how it ends"))
        elif run.state == "ok":
            print(safe(f"{group}/{name}: ok on {run.node}, after {age(run.duration_s)}"))
        return
    fields = {
        "groupId": group,
        "name": name,
        "slot": documents.moment_text(run.slot),
        "state": str(run.state),
        "taskId": run.node,
        "term": run.term,
        "seconds": documents.seconds(run.duration_s),
        "error": run.error,
    }
    emit(
        options,
        table=lambda: None,
        rows=lambda: documents.as_rows(fields),
        document=documents.head("TaskRun", answered()) | fields,
    )


def failure_of(token: str, run: AskedRun) -> CoordError | None:
    """Return the error for a run that did not succeed."""
    where = f" on {run.node}" if run.node else ""
    why = f": {run.error}" if run.error else ""
    match run.state:
        case "failed":
            return CoordError(f"{token}: the run failed{where}{why}")
        case "stopped":
            return TokenLostError(f"{token}: the run was stopped with its task{where}{why}")
        case "died":
            return TokenLostError(f"{token}: the run died with its node{where}; it is not repeated")
        case "expired":
            return TokenHeldError(f"{token}: no node began the run in ten minutes; it is over")
        case _:
            return None
