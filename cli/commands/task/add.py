"""`coord task add`: a definition, flag by flag."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from coordinator.cli.commands.task.common import Name, Reason, found_task, tell_task
from coordinator.cli.connect import open_tasks
from coordinator.cli.shared import shared
from coordinator.errors import UsageError

NO_PROGRAM = "the task runs nothing yet: give a COMMAND behind --, or --callable MODULE:FUNCTION"


class OnPartition(StrEnum):
    """Conduct of a running task when its node is cut off from the database."""

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
        typer.Argument(metavar="[-- COMMAND]...", help="What it runs, with its own options."),
    ] = None,
    target: Annotated[
        str | None,
        _text("--callable", "MODULE:FUNCTION", "A Python function instead of COMMAND."),
    ] = None,
    shell: Annotated[bool, typer.Option("--shell", help="Give COMMAND to /bin/sh.")] = False,
    every: Annotated[str | None, _text("--every", "SECS", "Seconds between two starts.")] = None,
    cron: Annotated[str | None, _text("--cron", "FIELDS", 'As "*/5 * * * *".')] = None,
    at: Annotated[str | None, _text("--at", "MOMENT", "Once.")] = None,
    timezone: Annotated[str | None, _text("--timezone", "ZONE", "Of --cron; default UTC.")] = None,
    max_count: Annotated[
        str | None, _text("--max-count", "N", "Runs until the schedule is done.")
    ] = None,
    start_time: Annotated[
        str | None, _text("--start-time", "MOMENT", "Nothing runs before.")
    ] = None,
    end_time: Annotated[str | None, _text("--end-time", "MOMENT", "Nothing runs after.")] = None,
    node: Annotated[
        list[str] | None,
        _text("--node", "NODE", "Who may run it; again for more; default all."),
    ] = None,
    preferred: Annotated[
        str | None, _text("--preferred", "NODE", "Goes first while it is a live member.")
    ] = None,
    pinned: Annotated[
        bool, typer.Option("--pinned", help="Nobody but the preferred node ever runs it.")
    ] = False,
    failover: Annotated[
        bool | None,
        typer.Option(
            "--failover/--no-failover", help="Whether another node takes it from a dead one."
        ),
    ] = None,
    failback: Annotated[
        bool | None,
        typer.Option(
            "--failback/--no-failback", help="Whether it goes back to a node that returns."
        ),
    ] = None,
    on_partition: Annotated[
        OnPartition | None,
        typer.Option("--on-partition", help="continue: cut off, it goes on; may run twice."),
    ] = None,
    on_done: Annotated[
        OnDone | None,
        typer.Option("--on-done", help="When it ends; default finish with a trigger."),
    ] = None,
    progress_timeout: Annotated[
        str | None, _text("--progress-timeout", "SECS", "Without progress so long, it has hung.")
    ] = None,
    stop_timeout: Annotated[
        str | None, _text("--stop-timeout", "SECS", "Seconds from SIGTERM to SIGKILL.")
    ] = None,
    env: Annotated[
        list[str] | None, _text("--env", "NAME=VALUE", "For the program; no secrets.")
    ] = None,
    cwd: Annotated[str | None, _text("--cwd", "PATH", "Directory to run in.")] = None,
    forward: Annotated[
        list[str] | None,
        _text("--forward-signal", "NAME", "Of the node, for the program: HUP, USR1, USR2, QUIT."),
    ] = None,
    options: Annotated[
        str | None, _text("--options", "JSON", "An object; given in COORD_OPTIONS.")
    ] = None,
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Define it only; `task enable` starts it.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Change the definition if there is one.")
    ] = False,
    reason: Reason = None,
) -> None:
    """Define a task; one of the group's nodes starts it at once.

    Whoever may do this says what the nodes run: see docs/tasks.md.
    """
    from coordinator.cli.commands.task import flags

    if not command and target is None:
        raise UsageError(NO_PROGRAM)
    said = {
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
        defined = flags.task_of_flags(said, failover=settings.tasks_policy.failover)
        warnings = tasks.add(group, defined, replace=replace, reason=reason)
        found = found_task(tasks, group, name)
    tell_task(chosen, found, "defined" if replace else "added", warnings)


def _command(words: list[str] | None, *, shell: bool) -> object:
    if not words:
        return None
    return " ".join(words) if shell else words
