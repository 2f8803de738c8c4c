"""`coord task add`: define a task by flags."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from coordinator.cli.commands.task.common import Name, Reason, found_task, report_task
from coordinator.cli.connect import open_tasks
from coordinator.cli.shared import shared
from coordinator.errors import UsageError

NO_PROGRAM = "the task has no program: give a COMMAND after --, or --callable MODULE:FUNCTION"


class OnPartition(StrEnum):
    """Behaviour of a running task when its node is cut off from the database."""

    STOP = "stop"
    CONTINUE = "continue"


class OnDone(StrEnum):
    """Meaning of the end of a task's program."""

    RESTART = "restart"
    RELEASE = "release"
    FINISH = "finish"


def _text(flag: str, metavar: str, text: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=text)


def add(
    context: typer.Context,
    name: Name,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND]...", help="The program, with its own options."),
    ] = None,
    target: Annotated[
        str | None,
        _text("--callable", "MODULE:FUNCTION", "A Python function instead of COMMAND."),
    ] = None,
    shell: Annotated[bool, typer.Option("--shell", help="Run COMMAND by /bin/sh -c.")] = False,
    every: Annotated[str | None, _text("--every", "SECS", "Seconds between two starts.")] = None,
    cron: Annotated[str | None, _text("--cron", "FIELDS", 'A schedule, as "*/5 * * * *".')] = None,
    at: Annotated[str | None, _text("--at", "MOMENT", "Start once, at this moment.")] = None,
    timezone: Annotated[
        str | None, _text("--timezone", "ZONE", "Time zone of --cron; default UTC.")
    ] = None,
    max_count: Annotated[
        str | None, _text("--max-count", "N", "Number of runs after which the schedule ends.")
    ] = None,
    start_time: Annotated[
        str | None, _text("--start-time", "MOMENT", "No run before this moment.")
    ] = None,
    end_time: Annotated[
        str | None, _text("--end-time", "MOMENT", "No run after this moment.")
    ] = None,
    node: Annotated[
        list[str] | None,
        _text("--node", "NODE", "A node that may run it; repeat for more; default all."),
    ] = None,
    preferred: Annotated[
        str | None, _text("--preferred", "NODE", "The first choice, while it is a live Member.")
    ] = None,
    pinned: Annotated[
        bool, typer.Option("--pinned", help="Only the preferred node ever runs it.")
    ] = False,
    failover: Annotated[
        bool | None,
        typer.Option(
            "--failover/--no-failover", help="Let another node take it over from a dead one."
        ),
    ] = None,
    failback: Annotated[
        bool | None,
        typer.Option("--failback/--no-failback", help="Let it go back to a node that returns."),
    ] = None,
    on_partition: Annotated[
        OnPartition | None,
        typer.Option(
            "--on-partition", help="Without the database; with continue it may run twice."
        ),
    ] = None,
    on_done: Annotated[
        OnDone | None,
        typer.Option(
            "--on-done", help="After its program ended; default restart, finish with a trigger."
        ),
    ] = None,
    progress_timeout: Annotated[
        str | None,
        _text("--progress-timeout", "SECS", "Treat it as hung after so long without progress."),
    ] = None,
    stop_timeout: Annotated[
        str | None, _text("--stop-timeout", "SECS", "Seconds from SIGTERM to SIGKILL.")
    ] = None,
    env: Annotated[
        list[str] | None,
        _text("--env", "NAME=VALUE", "A variable of the program; not for secrets."),
    ] = None,
    cwd: Annotated[str | None, _text("--cwd", "PATH", "Directory to run in.")] = None,
    forward: Annotated[
        list[str] | None,
        _text(
            "--forward-signal", "NAME", "Pass on this signal of the node: HUP, USR1, USR2, QUIT."
        ),
    ] = None,
    options: Annotated[
        str | None,
        _text("--options", "JSON", "A JSON object; the program gets it in COORD_OPTIONS."),
    ] = None,
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Only define it; `coord task enable` starts it.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Change the definition if the task exists.")
    ] = False,
    reason: Reason = None,
) -> None:
    """Define a task; one of the group's nodes starts it at once.

    Everyone who can define a task decides what the nodes run: see docs/tasks.md.
    """
    from coordinator.cli.commands.task import flags

    if not command and target is None:
        raise UsageError(NO_PROGRAM)
    given = {
        ("name",): name,
        ("command",): _command(command, shell=shell),
        ("callable",): target,
        ("shell",): shell or None,
        ("trigger", "interval"): every,
        ("trigger", "cron"): cron,
        ("trigger", "at"): at,
        ("trigger", "timezone"): timezone,
        ("trigger", "maxCount"): max_count,
        ("trigger", "startTime"): start_time,
        ("trigger", "endTime"): end_time,
        ("nodes",): node or None,
        ("preferred",): preferred,
        ("pinned",): pinned or None,
        ("failover",): failover,
        ("failback",): failback,
        ("onPartition",): on_partition and on_partition.value,
        ("onDone",): on_done and on_done.value,
        ("progressTimeout",): progress_timeout,
        ("stopTimeout",): stop_timeout,
        ("env",): flags.variables(env or ()),
        ("cwd",): cwd,
        ("forwardSignals",): forward or None,
        ("options",): flags.json_of("options", options),
        ("enabled",): False if disabled else None,
    }
    chosen = shared(context)
    with open_tasks(chosen) as (tasks, group, settings):
        defined = flags.task_of_flags(given, failover=settings.tasks_policy.failover)
        warnings = tasks.add(group, defined, replace=replace, reason=reason)
        found = found_task(tasks, group, name)
    report_task(chosen, found, "defined" if replace else "added", warnings)


def _command(words: list[str] | None, *, shell: bool) -> object:
    if not words:
        return None
    return " ".join(words) if shell else words
