"""How the program is started under a term, and what its exit codes mean."""

from __future__ import annotations

import signal

from coordinator.app.config.model.database_url import url_of
from coordinator.app.config.settings import NodeSettings, ProgramSettings
from coordinator.errors import ScheduleEndedError, TokenLostError
from coordinator.protocol.node.state.node import OnExit
from coordinator.runtime.agent.guardian_link import Orders
from coordinator.runtime.linux import interpreter
from coordinator.store.driver.password_file import for_program

#: What the program does not inherit, unless it was asked for.
SECRETS = (
    *("COORD_DATABASE_URL", "COORD_DATABASE_PASSWORD", "COORD_DATABASE_PASSWORD_FILE"),
    "PGPASSWORD",
)


def orders(settings: NodeSettings, settings_fd: int, term: int, session: str) -> Orders:
    """Return how the program is started under a term."""
    program = settings.program
    assert program is not None, "a node without a program never takes"
    env = {
        "COORD_GROUP": settings.group_id,
        "COORD_NODE": settings.task_id,
        "COORD_TASK_ID": settings.task_id,
        "COORD_TERM": str(term),
        "COORD_SESSION": session,
    }
    unset: tuple[str, ...] = SECRETS
    if settings.pass_database:
        env["COORD_DATABASE_URL"] = url_of(for_program(settings.database.conninfo))
        unset = tuple(name for name in SECRETS if name != "COORD_DATABASE_URL")
    forward = signals_of(program)
    if program.callable is not None or settings.trigger is not None:
        argv = tuple(interpreter.command("coordinator.app.program.process"))
        env["COORD_SETTINGS_FD"] = str(settings_fd)
        return Orders(argv, env, unset, program.cwd, keep_fds=(settings_fd,), forward=forward)
    assert program.argv is not None
    shell_or_plain: tuple[str, ...] = (
        ("/bin/sh", "-c", program.argv[0]) if program.shell else program.argv
    )
    return Orders(shell_or_plain, env, unset, program.cwd, forward=forward)


def signals_of(program: ProgramSettings) -> tuple[int, ...]:
    """Return the numbers of the node's signals that a program gets, too."""
    return tuple(int(signal.Signals[f"SIG{name}"]) for name in program.forward_signals)


def meanings(settings: NodeSettings) -> tuple[tuple[int, OnExit], ...]:
    """Return what some exit codes of the program mean.

    A schedule's process ends with 0 when there is nothing left to fire (for the whole group: so
    the node is done), with 70 when its error policy ended it, with 76 when it was refused a run.
    """
    if settings.trigger is not None:
        terminated = OnExit.STOP if settings.policy.on_terminate == "stop" else OnExit.RETIRE
        lost = (TokenLostError.exit_code, OnExit.RELEASE)
        return (0, OnExit.STOP), (ScheduleEndedError.exit_code, terminated), lost
    return ((0, OnExit.STOP),) if settings.on_exit == "on-failure" else ()
