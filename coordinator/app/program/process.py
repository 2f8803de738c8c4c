"""Process of the program: `python -m coordinator.app.program.process`.

The guardian starts it for a callable, or for a command with a trigger. Its environment names the
holding (COORD_GROUP, COORD_NODE, COORD_TERM, COORD_SESSION) and two descriptors: the board with
the deadline of trust (COORD_TRUST_FD), and the node's settings (COORD_SETTINGS_FD).

    --check module:function    import it, and exit with 0, or with 78 and one line that says why

Exit codes: 0 asked to stop, the service returned, or no run is left for the whole group; 70 ended
by the error policy; 76 the token is lost; 143 asked to stop, and a command had to be ended; 1 the
program failed; others as in errors.py.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coordinator.app.config import settings as node_settings
from coordinator.app.config.settings import NodeSettings
from coordinator.app.config.task_spec import SPEC_VARIABLE, STOP_TIMEOUT_VARIABLE, for_task
from coordinator.app.program.callable import Function, load_callable
from coordinator.errors import ConfigError, CoordError, TokenLostError
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.linux.descriptors import open_standard
from coordinator.runtime.log import logger as log
from coordinator.runtime.schedule.jobs import (
    Job,
    RunContext,
    call,
    command_job,
    function_job,
    wants_context,
)
from coordinator.runtime.schedule.run_log import RunLog, error_text
from coordinator.runtime.schedule.stop_signal import StopSignal, leave_when_told, listen
from coordinator.runtime.schedule.trust_board import Trust, TrustBoard

logger = logging.getLogger(log.LOGGER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Arguments of this process."""

    settings: NodeSettings
    group: str
    node: str
    term: int
    session: str
    trust: Trust


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program, or check a callable; return the exit code."""
    open_standard()
    arguments = sys.argv[1:] if arguments is None else arguments
    _put_cwd_first()
    try:
        match list(arguments):
            case ["--check", target]:
                load_callable(target)
                return 0
            case []:
                start = started(os.environ)
            case _:
                raise ConfigError(
                    "usage: python -m coordinator.app.program.process [--check TARGET]"
                )
    except CoordError as error:
        print(f"coord: {error}", file=sys.stderr)
        return error.exit_code
    settings = start.settings
    log.set_up(
        settings.log_level, settings.log_format, group=settings.group_id, node=settings.task_id
    )
    try:
        return run(start)
    except CoordError as error:
        logger.error("%s", error, extra={"event": "program-refused"})
        return error.exit_code


def started(environ: Mapping[str, str]) -> Start:
    """Read the guardian's arguments, and remove its secrets from the environment.

    Errors: ConfigError if something is missing: only the guardian starts this process.
    """
    try:
        settings_fd = int(environ["COORD_SETTINGS_FD"])
        trust_fd = int(environ["COORD_TRUST_FD"])
        settings = node_settings.from_json(_whole(settings_fd))
        if task := environ.get("COORD_TASK"):
            stop_timeout_s = float(environ[STOP_TIMEOUT_VARIABLE])
            settings = for_task(settings, task, environ[SPEC_VARIABLE], stop_timeout_s)
        start = Start(
            settings=settings,
            group=settings.group_id,
            node=environ["COORD_NODE"],
            term=int(environ["COORD_TERM"]),
            session=environ["COORD_SESSION"],
            # Its own descriptor stays open: `held()` here and in commands finds the board by it.
            trust=TrustBoard.from_fd(os.dup(trust_fd), BoottimeClock()),
        )
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise ConfigError(
            f"this program is started by `coord run`, not by hand ({type(error).__name__}: {error})"
        ) from error
    os.close(settings_fd)
    for name in ("COORD_SETTINGS_FD", SPEC_VARIABLE, STOP_TIMEOUT_VARIABLE):
        os.environ.pop(name, None)
    return start


def _whole(fd: int) -> str:
    """Read a descriptor from its beginning; other processes read the same one."""
    parts: list[bytes] = []
    while part := os.pread(fd, 1 << 16, sum(map(len, parts))):
        parts.append(part)
    return b"".join(parts).decode()


def run(start: Start) -> int:
    """Run the callable or the schedule under the holding that `start` names."""
    program, trigger = start.settings.program, start.settings.trigger
    if program is None or (program.callable is None and trigger is None):
        raise ConfigError("there is neither a callable nor a trigger to run a command by")
    stop = StopSignal()
    on_stop = listen(stop)
    context = RunContext(
        group=start.group,
        node=start.node,
        term=start.term,
        session=start.session,
        token=start.trust,
        stop_event=stop.event,
    )
    # After `listen`: a module may install signal handlers of its own.
    function = None
    if program.callable is not None:
        function = load_callable(program.callable, start.settings.origins)
    if trigger is None:
        assert function is not None, "a command without a trigger is not started by us"
        if not wants_context(function):
            leave_when_told(on_stop)
        return serve(function, context)
    from coordinator.app.program.schedule import run_schedule

    clock = BoottimeClock()
    if function is not None:
        job: Job = function_job(function)
    else:
        assert program.argv is not None, "a program has a callable or a command"
        argv = ("/bin/sh", "-c", program.argv[0]) if program.shell else program.argv
        job = command_job(argv, stop, start.trust, clock, start.settings.stop_timeout_s)
    return run_schedule(start.settings, job, context, stop, clock)


def serve(function: Function, context: RunContext) -> int:
    """Call a service once; it runs until it returns, fails or is stopped."""
    run_log = RunLog(group=context.group, node=context.node, term=context.term)
    try:
        context.token.check()
        call(function, context)
    except TokenLostError as error:
        run_log.warn("token-lost", str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - any exception of the user's program is its failure
        text = f"{_name(function)} failed: {error_text(error)}"
        run_log.fail("service-failed", text, error)
        return 1
    return 0


def _name(function: Function) -> str:
    module = getattr(function, "__module__", "?")
    return f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"


def _put_cwd_first() -> None:
    """Let the user's modules be imported, also if python was started with -P."""
    cwd = os.getcwd()
    if sys.path[:1] not in ([""], [cwd]):
        sys.path.insert(0, cwd)


if __name__ == "__main__":
    sys.exit(main())
