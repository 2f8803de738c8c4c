"""Orders to start a program under a term, and the meaning of its exit codes.

A node has one program, or the programs of tasks, each described by the spec of its definition.
"""

from __future__ import annotations

import json
import signal
from dataclasses import replace

from coordinator.app.config.model.database_url import url_of
from coordinator.app.config.settings import NodeSettings, ProgramSettings
from coordinator.app.config.task_spec import SPEC_VARIABLE, STOP_TIMEOUT_VARIABLE, Spec, spec_of
from coordinator.errors import CommandNotExecutableError, ScheduleEndedError, TokenLostError
from coordinator.protocol.messages.group_record import TaskDef
from coordinator.protocol.node.events import StartProgram
from coordinator.protocol.node.state.node import OnExit
from coordinator.runtime.agent.guardian_link import Orders
from coordinator.runtime.linux import interpreter
from coordinator.store.driver.password_file import for_program

#: Variables that the program does not inherit, unless passDatabase is set.
SECRETS = (
    *("COORD_DATABASE_URL", "COORD_DATABASE_PASSWORD", "COORD_DATABASE_PASSWORD_FILE"),
    "PGPASSWORD",
)

#: Variables that tell a program of its task, slot, state or gate. Those that a node itself got, as
#: the program of another node, say nothing about its own program.
OF_ANOTHER_RUN = (
    *("COORD_TASK", "COORD_OPTIONS", SPEC_VARIABLE, STOP_TIMEOUT_VARIABLE),
    *("COORD_SCHEDULED_AT", "COORD_RUN_COUNT", "COORD_STATE_FILE", "COORD_GATE"),
    *("COORD_CHECKPOINT_DIR", "COORD_LAUNCHER_FD"),
    *("COORD_HOOK", "COORD_ROLE", "COORD_HOLDER", "COORD_REASON"),
)


def orders(settings: NodeSettings, settings_fd: int, term: int, session: str) -> Orders:
    """Return the orders to start the program of a node under a term."""
    program = settings.program
    assert program is not None, "a node without a program never takes"
    env = holding(settings, term, session)
    unset = database(settings, env)
    forward = signals_of(program)
    if settings.once is not None:
        argv = tuple(interpreter.command("coordinator.app.program.once"))
        env["COORD_SETTINGS_FD"] = str(settings_fd)
        return Orders(argv, env, unset, program.cwd, keep_fds=(settings_fd,), forward=forward)
    if program.callable is not None or settings.trigger is not None:
        argv = tuple(interpreter.command("coordinator.app.program.process"))
        env["COORD_SETTINGS_FD"] = str(settings_fd)
        return Orders(argv, env, unset, program.cwd, keep_fds=(settings_fd,), forward=forward)
    return Orders(_command(program), env, unset, program.cwd, forward=forward)


def task_orders(
    settings: NodeSettings,
    settings_fd: int,
    command: StartProgram,
    session: str,
    definition: TaskDef,
    notify: str | None,
    stop_timeout_s: float,
) -> Orders:
    """Return the orders to start the program of a task under a term.

    notify: address for its progress reports; None if none are expected.
    stop_timeout_s: between SIGTERM and SIGKILL, as this node can keep it.
    Errors: CommandNotExecutableError if the spec cannot be read, or this node runs only the tasks
    that its own file lists.
    """
    text = _allowed(settings, definition)
    spec = _readable(definition.name, text)
    env = {
        **spec.env,
        **holding(settings, command.term, session),
        "COORD_TASK": definition.name,
        "COORD_OPTIONS": json.dumps(spec.options),
    }
    if notify is not None:
        env["NOTIFY_SOCKET"] = notify
        env["WATCHDOG_USEC"] = str(round(definition.progress_s * 1e6))
    unset = database(settings, env)
    program = spec.program
    forward = signals_of(program)
    if program.callable is not None or spec.trigger is not None:
        argv = tuple(interpreter.command("coordinator.app.program.process"))
        env["COORD_SETTINGS_FD"] = str(settings_fd)
        env[SPEC_VARIABLE] = text
        env[STOP_TIMEOUT_VARIABLE] = repr(stop_timeout_s)
        given = Orders(argv, env, unset, program.cwd, (settings_fd,), forward=forward)
    else:
        given = Orders(_command(program), env, unset, program.cwd, forward=forward)
    return replace(given, stop_timeout_s=stop_timeout_s)


def signals_of(program: ProgramSettings) -> tuple[int, ...]:
    """Return the numbers of the signals that the node passes on to its program."""
    return tuple(int(signal.Signals[f"SIG{name}"]) for name in program.forward_signals)


def meanings(settings: NodeSettings) -> tuple[tuple[int, OnExit], ...]:
    """Return the exit codes of the program that have a meaning of their own.

    A schedule's process exits with 0 if no run is left for the whole group (so the node is done),
    with 70 if its error policy ended the schedule, with 76 if it was refused a run.
    """
    if settings.trigger is not None:
        terminated = OnExit.STOP if settings.policy.on_terminate == "stop" else OnExit.RETIRE
        lost = (TokenLostError.exit_code, OnExit.RELEASE)
        return (0, OnExit.STOP), (ScheduleEndedError.exit_code, terminated), lost
    return ((0, OnExit.STOP),) if settings.on_exit == "on-failure" else ()


def holding(settings: NodeSettings, term: int, session: str) -> dict[str, str]:
    """Return the variables that name the holding to a program, or to a side run."""
    return {
        "COORD_GROUP": settings.group_id,
        "COORD_NODE": settings.task_id,
        "COORD_TASK_ID": settings.task_id,
        "COORD_TERM": str(term),
        "COORD_SESSION": session,
        # No secret: a program that has a login of its own needs it for a fenced transaction.
        "COORD_DATABASE_SCHEMA": settings.database.schema,
    }


def database(settings: NodeSettings, env: dict[str, str]) -> tuple[str, ...]:
    """Put the database's URL into env if the program may know it; return the variables to unset."""
    secrets: tuple[str, ...] = SECRETS
    if settings.pass_database:
        env["COORD_DATABASE_URL"] = url_of(for_program(settings.database.conninfo))
        secrets = tuple(name for name in SECRETS if name != "COORD_DATABASE_URL")
    return (*secrets, *OF_ANOTHER_RUN)


def _command(program: ProgramSettings) -> tuple[str, ...]:
    assert program.argv is not None, "a program has a command or a callable"
    return ("/bin/sh", "-c", program.argv[0]) if program.shell else program.argv


def _readable(task: str, text: str) -> Spec:
    try:
        return spec_of(text)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        # It was written by hand: that must stop this task only, and no node.
        raise CommandNotExecutableError(
            f"{task}: its spec cannot be read ({type(error).__name__}: {error})"
        ) from error


def _allowed(settings: NodeSettings, definition: TaskDef) -> str:
    """Return the spec that this node runs: the database's, or if so configured its own file's."""
    if settings.tasks_policy.commands == "any":
        return definition.spec
    own = next((task for task in settings.tasks if task.name == definition.name), None)
    if own is None:
        raise CommandNotExecutableError(
            f"{definition.name}: this node runs only the [[tasks]] of its own Config.toml"
        )
    return own.spec
