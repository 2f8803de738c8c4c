"""`coord run`: options to settings, settings to a node."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, NoReturn

import typer

from coordinator.cli.shared import shared
from coordinator.errors import CoordError


class Restart(StrEnum):
    """When the program is started again on the same node after it ended by itself."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class Isolation(StrEnum):
    """How the program's processes are caught."""

    AUTO = "auto"
    CGROUP = "cgroup"
    PIDNS = "pidns"
    PLAIN = "plain"


class LogFormat(StrEnum):
    """How log lines are written."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


#: What the configuration calls them.
ON_EXIT = {Restart.NEVER: "stop", Restart.ON_FAILURE: "on-failure", Restart.ALWAYS: "restart"}


#: The last lines of `coord run --help`.
SIGNALS = (
    "Signals: TERM and INT end the program within --stop-timeout, then the node; HUP reads the"
    " configuration again; USR1 gives the token up; USR2 logs the state; QUIT logs the stacks."
    " The program gets none of HUP, USR1, USR2 and QUIT, unless [program] forwardSignals names it."
)


def _seconds(*names: str, env: str, text: str) -> Any:
    return typer.Option(*names, metavar="SECS", help=f"{text} [env: {env}]")


def run(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--] [COMMAND]...", help="The program, with its own options."),
    ] = None,
    task_id: Annotated[
        str | None,
        typer.Option("--task-id", metavar="NAME", help="Name of this node. [env: COORD_TASK_ID]"),
    ] = None,
    observe: Annotated[
        bool, typer.Option("--observe", help="Watch, never take the token. [env: COORD_OBSERVE]")
    ] = False,
    tasks: Annotated[
        bool,
        typer.Option(
            "--tasks", help="A node for the group's tasks; no COMMAND. [env: COORD_HOSTS_TASKS]"
        ),
    ] = False,
    stop_timeout: Annotated[
        str | None,
        _seconds(
            "--stop-timeout",
            env="COORD_STOP_TIMEOUT",
            text="Seconds from SIGTERM to SIGKILL of the program.",
        ),
    ] = None,
    require_database: Annotated[
        bool,
        typer.Option(
            "--require-database",
            help="Never use the embedded server. [env: COORD_REQUIRE_DATABASE]",
        ),
    ] = False,
    nonblock: Annotated[
        bool,
        typer.Option("-n", "--nonblock", help="Give up at once when the token is held."),
    ] = False,
    wait: Annotated[
        str | None,
        typer.Option("-w", "--wait", metavar="SECS", help="Give up after waiting for the token."),
    ] = None,
    conflict_exit_code: Annotated[
        int | None,
        typer.Option(
            "-E",
            "--conflict-exit-code",
            metavar="CODE",
            min=0,
            max=255,
            help="Exit code after giving up; default 75.",
        ),
    ] = None,
    restart: Annotated[
        Restart | None,
        typer.Option(
            "--restart",
            help="Start the program again here; default never for COMMAND, else always.",
        ),
    ] = None,
    shell: Annotated[
        bool,
        typer.Option("--shell", help="Give COMMAND to /bin/sh."),
    ] = False,
    isolation: Annotated[
        Isolation | None,
        typer.Option("--isolation", help="How its processes are caught. [env: COORD_ISOLATION]"),
    ] = None,
    pass_database: Annotated[
        bool,
        typer.Option(
            "--pass-database",
            help="Give COORD_DATABASE_URL to the program. [env: COORD_PASS_DATABASE]",
        ),
    ] = False,
    heartbeat_frequency: Annotated[
        str | None,
        _seconds(
            "--heartbeat-frequency",
            env="COORD_HEARTBEAT_FREQUENCY",
            text="Seconds between two heartbeats.",
        ),
    ] = None,
    liveness_check_interval: Annotated[
        str | None,
        _seconds(
            "--liveness-check-interval",
            env="COORD_LIVENESS_CHECK_INTERVAL",
            text="Seconds of silence after which the active node counts as dead.",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Answer /active, /standby, /livez, /readyz, /healthz. [env: COORD_LISTEN]",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat | None,
        typer.Option("--log-format", help="How log lines are written. [env: COORD_LOG_FORMAT]"),
    ] = None,
) -> None:
    """Run a node of a group.

    COMMAND, or the program of Config.toml, runs here while this node holds the group's token.
    With --tasks the group has many tasks instead, and this node runs those that fall to it.
    """
    chosen = shared(context)
    said = {
        "taskId": task_id,
        "observe": observe or None,
        "hostsTasks": tasks or None,
        "stopTimeout": stop_timeout,
        "requireDatabase": require_database or None,
        "nonblock": nonblock or None,
        "wait": wait,
        "conflictExitCode": conflict_exit_code,
        "program.onExit": restart and ON_EXIT[restart],
        "program.shell": shell or None,
        "isolation": isolation and isolation.value,
        "passDatabase": pass_database or None,
        "heartbeatFrequency": heartbeat_frequency,
        "livenessCheckInterval": liveness_check_interval,
        "http.listen": listen,
        "log.format": log_format and log_format.value,
        "log.level": "error" if chosen.quiet else "debug" if chosen.verbose else None,
    }
    flags = {key: value for key, value in said.items() if value is not None}
    from coordinator.app.node.start import run_node
    from coordinator.cli.connect import settings_of

    form = {"style": log_format and log_format.value, "group": chosen.group, "node": task_id}
    try:
        settings = settings_of(chosen, flags=flags, argv=tuple(command or ()))
        form = {"style": settings.log_format, "group": settings.group_id, "node": settings.task_id}
        run_node(settings)
    except CoordError as error:
        _refuse(error, **form)


def _refuse(
    error: CoordError, *, style: str | None, group: str | None, node: str | None
) -> NoReturn:
    """End with an error; where the node's lines would have been JSON, this one is."""
    import os
    import sys

    from coordinator.runtime.log.line_form import voice_for

    style = style or os.environ.get("COORD_LOG_FORMAT") or "auto"
    voice = voice_for(2, style, "info", group=group or "", node=node or "")
    if voice.style != "json":
        raise error
    sys.stderr.write(voice.line(str(error), "ERROR", "not-started"))
    raise typer.Exit(error.exit_code)
