"""`coord run`: check what can be checked, then become the guardian of the node.

The process that a supervisor sees is the guardian itself: this process executes it, so that no
library of the command line (typer, pydantic) stays in memory. The settings are passed in a memfd
because they hold the password: not in the arguments, which every user can read, nor in the
environment, which the program inherits.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import NoReturn

from coordinator.app.config.database_choice import resolve
from coordinator.app.config.settings import NodeSettings, to_json
from coordinator.app.node.service.unit import take_unit, too_short
from coordinator.app.program.import_check import check_callable
from coordinator.errors import (
    CommandNotExecutableError,
    CommandNotFoundError,
    ConfigError,
    UsageError,
)
from coordinator.runtime.isolation import levels as isolation
from coordinator.runtime.isolation import plain
from coordinator.runtime.linux import interpreter, limits, programs, syscalls
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.linux.descriptors import FIRST_OWN

#: Signals that the guardian catches from its first turn on.
HEEDED = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT),
)


def run_node(settings: NodeSettings) -> NoReturn:
    """Replace this process by the node's guardian.

    Errors: ConfigError, CommandNotFoundError, CommandNotExecutableError before anything started.
    """
    # First of all: nothing that is started from here on may speak for the unit.
    unit = take_unit(os.environ, os.getpid())
    limits.check()
    check_program(settings)
    resolved = resolve(settings.database)
    # The agent logs them, in the format of all its lines.
    notes = (resolved.note,) if resolved.note else ()
    warnings = (*notes, *settings.warnings, *too_short(unit, settings.heartbeat_s))
    settings = replace(settings, warnings=warnings, unit=unit)
    database = replace(
        settings.database,
        conninfo=resolved.conninfo,
        label=resolved.label or settings.database.label,
        named=True,
    )
    started_at_s = BoottimeClock().now()
    fd = keep(to_json(replace(settings, database=database, started_at_s=started_at_s)))
    sys.stdout.flush()
    arguments = guardian_arguments(fd, settings)
    # Until the guardian handles them: each would end it before it could exit with its own code.
    signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    os.execv(arguments[0], arguments)  # noqa: S606 - no shell and no child, on purpose


def guardian_arguments(settings_fd: int, settings: NodeSettings) -> list[str]:
    """Return the command line of a guardian and, behind the dashes, of its agent."""
    options = ["--settings-fd", str(settings_fd), "--isolation", settings.isolation]
    options += ["--log-format", settings.log_format, "--log-level", settings.log_level]
    options += ["--group", settings.group_id, "--node", settings.task_id]
    names = [f"--group={settings.group_id}", f"--node={settings.task_id}"]
    agent = interpreter.command("coordinator.app.node.agent_process", *names)
    return [*interpreter.command("coordinator.runtime.guardian", *options), "--", *agent]


def keep(text: str) -> int:
    """Store a text where only this process and its children can read it, any number of times."""
    made = os.memfd_create("coord-settings", os.MFD_CLOEXEC)
    # Never as 0, 1 or 2: every child inherits those, and prints to them.
    fd = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, FIRST_OWN)
    os.close(made)
    os.set_inheritable(fd, True)  # it must survive the exec
    with open(fd, "wb", closefd=False) as file:
        file.write(text.encode())
    return fd


def recall(fd: int) -> str:
    """Read the text that `keep` stored; any process may do so any number of times."""
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0).decode()


def check_program(settings: NodeSettings) -> None:
    """Refuse a program that cannot start, or a command beside it, before the node holds a token."""
    cwd = None if settings.program is None else settings.program.cwd
    for key, command in _side_commands(settings):
        try:
            check_executable(command, cwd)
        except CommandNotExecutableError as error:
            raise CommandNotExecutableError(f"{key}: {error}") from error
        except CommandNotFoundError as error:
            raise CommandNotFoundError(f"{key}: {error}") from error
    program = settings.program
    if program is None:
        if settings.priority > 0 and not settings.hosts_tasks:
            raise _no_program(settings.config_path)
        return
    if program.callable is not None:
        check_callable(program.callable)
    elif program.argv is not None and not program.shell:
        check_executable(program.argv[0], program.cwd)
        check_killable(program.argv[0], program.cwd, settings.isolation)


def _side_commands(settings: NodeSettings) -> Iterator[tuple[str, str]]:
    """Yield the commands of hooks and of the health check, each with its key."""
    hooks, health = settings.hooks, settings.health
    if hooks is not None:
        named = (
            ("beforeStart", hooks.before_start),
            ("afterStop", hooks.after_stop),
            ("onChange", hooks.on_change),
        )
        yield from ((f"hooks.{key}", argv[0]) for key, argv in named if argv is not None)
    if health is not None and health.argv is not None:
        yield "health.command", health.argv[0]


def _no_program(path: str | None) -> ConfigError:
    """Return an error that says what to write, and where."""
    if path is None:
        return UsageError(
            "no program to run: write `coord run -- COMMAND`, or a Config.toml with [program]"
            " command (`coord init` writes one); `coord run --observe` only watches"
        )
    return ConfigError(
        f"{path}: no program to run: write `coord run -- COMMAND`, or add these two lines at the"
        " end of the file (`coord run --observe` only watches):\n"
        "    [program]\n"
        '    command = ["python", "my_program.py"]'
    )


def check_executable(command: str, cwd: str | None) -> None:
    """Refuse a command that does not exist (127) or is not executable (126), as a shell does."""
    path = programs.found(command, os.environ, cwd)
    if path is None:
        raise CommandNotFoundError(programs.not_found(command, None))
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise CommandNotExecutableError(f"{command}: not executable; try `chmod +x {command}`")
    if programs.interpreter_missing(path):
        raise CommandNotExecutableError(programs.not_found(command, path))


def check_killable(command: str, cwd: str | None, wanted: str) -> None:
    """Refuse a command that runs as another user if this node could not kill it (126)."""
    path = programs.found(command, os.environ, cwd)
    if path is None or not programs.of_another_user(path) or syscalls.may_kill_others():
        return
    if isolation.choose(wanted) == plain.LEVEL:
        raise CommandNotExecutableError(programs.no_kill(command))
