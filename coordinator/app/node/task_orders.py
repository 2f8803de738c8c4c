"""How the program of a task is started: its definition's spec, as orders for the guardian."""

from __future__ import annotations

import json
from dataclasses import replace

from coordinator.app.config.model.database_url import url_of
from coordinator.app.config.settings import NodeSettings
from coordinator.app.config.task_program import SPEC_VARIABLE, STOP_TIMEOUT_VARIABLE, spec_of
from coordinator.app.node.program_orders import SECRETS, signals_of
from coordinator.errors import CommandNotExecutableError
from coordinator.protocol.messages.group_record import TaskDef
from coordinator.protocol.node.events import StartProgram
from coordinator.runtime.agent.guardian_link import Orders
from coordinator.runtime.linux import interpreter
from coordinator.store.driver.password_file import for_program


def task_orders(
    settings: NodeSettings,
    settings_fd: int,
    command: StartProgram,
    session: str,
    definition: TaskDef,
    notify: str | None,
    stop_timeout_s: float,
) -> Orders:
    """Return how the task's program is started under a term.

    notify: where it is to report progress; None when nobody waits for that.
    stop_timeout_s: between SIGTERM and SIGKILL, as this node can keep it.
    Errors: CommandNotExecutableError when the spec cannot be read, or this node runs only what
    its own file lists.
    """
    text = _allowed(settings, definition)
    try:
        spec = spec_of(text)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        # Somebody wrote it by hand: that must stop this task alone, and no node.
        raise CommandNotExecutableError(
            f"{definition.name}: its spec cannot be read ({type(error).__name__}: {error})"
        ) from error
    env = {
        **spec.env,
        "COORD_GROUP": settings.group_id,
        "COORD_NODE": settings.task_id,
        "COORD_TASK_ID": settings.task_id,
        "COORD_TASK": definition.name,
        "COORD_TERM": str(command.term),
        "COORD_SESSION": session,
        "COORD_OPTIONS": json.dumps(spec.options),
    }
    if notify is not None:
        env["NOTIFY_SOCKET"] = notify
        env["WATCHDOG_USEC"] = str(round(definition.progress_s * 1e6))
    unset: tuple[str, ...] = SECRETS
    if settings.pass_database:
        env["COORD_DATABASE_URL"] = url_of(for_program(settings.database.conninfo))
        env["COORD_DATABASE_SCHEMA"] = settings.database.schema
        unset = tuple(name for name in SECRETS if name != "COORD_DATABASE_URL")
    program = spec.program
    forward = signals_of(program)
    if program.callable is not None or spec.trigger is not None:
        argv: tuple[str, ...] = tuple(interpreter.command("coordinator.app.program.process"))
        env["COORD_SETTINGS_FD"] = str(settings_fd)
        env[SPEC_VARIABLE] = text
        env[STOP_TIMEOUT_VARIABLE] = repr(stop_timeout_s)
        given = Orders(argv, env, unset, program.cwd, (settings_fd,), forward=forward)
        return replace(given, stop_timeout_s=stop_timeout_s)
    assert program.argv is not None, "a spec has a command or a callable"
    argv = ("/bin/sh", "-c", program.argv[0]) if program.shell else program.argv
    given = Orders(argv, env, unset, program.cwd, forward=forward)
    return replace(given, stop_timeout_s=stop_timeout_s)


def _allowed(settings: NodeSettings, definition: TaskDef) -> str:
    """Return the spec that this node runs: the database's, or only its own file's."""
    if not settings.tasks_policy.commands_listed:
        return definition.spec
    own = next((task for task in settings.tasks if task.name == definition.name), None)
    if own is None:
        raise CommandNotExecutableError(
            f"{definition.name}: this node runs only the [[tasks]] of its own Config.toml"
        )
    return own.spec
