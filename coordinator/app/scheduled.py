"""The program's own process: `python -m coordinator.app.scheduled`.

The guardian starts it for a callable, or for a command with a trigger. Its environment names the
holding (COORD_GROUP, COORD_NODE, COORD_TERM, COORD_SESSION) and two descriptors: the board with
the deadline of trust (COORD_TRUST_FD), and the node's settings (COORD_SETTINGS_FD).

    --check module:function    import it, and exit with 0, or with 78 and one line that says why

Exit codes: 0 told to stop, the service returned, or no run is left for the whole group; 70 ended
by the error policy; 76 the token is not ours; 1 the program failed; others as in errors.py.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from coordinator.app import settings as node_settings
from coordinator.app.callables import Function, load_callable
from coordinator.app.settings import NodeSettings
from coordinator.errors import ConfigError, CoordError, TokenLostError
from coordinator.runtime import log
from coordinator.runtime.clock import BoottimeClock
from coordinator.runtime.jobs import (
    RunContext,
    StopSignal,
    call,
    command_job,
    function_job,
    wants_context,
)
from coordinator.runtime.run_log import error_text
from coordinator.runtime.trust_board import Trust, TrustBoard

logger = logging.getLogger(log.LOGGER)

Handler = Callable[[int, object], None]

_STOPPING = (signal.SIGTERM, signal.SIGINT)
#: What the guardian passes on to its program, and what would end a program that does not care.
_PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What this process was started with."""

    settings: NodeSettings
    group: str
    node: str
    term: int
    session: str
    trust: Trust


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program, or check a callable; returns the exit code."""
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
                raise ConfigError("usage: python -m coordinator.app.scheduled [--check TARGET]")
    except CoordError as error:
        print(f"coord: {error}", file=sys.stderr)
        return error.exit_code
    log.set_up(start.settings.log_level, start.settings.log_format)
    try:
        return run(start)
    except CoordError as error:
        logger.error("%s", error, extra={"event": "program-refused"})
        return error.exit_code


def started(environ: Mapping[str, str]) -> Start:
    """Read what the guardian has left for us, and take its secrets out of the environment.

    Errors: ConfigError when something is missing: nobody but the guardian starts this process.
    """
    try:
        settings_fd = int(environ["COORD_SETTINGS_FD"])
        trust_fd = int(environ["COORD_TRUST_FD"])
        start = Start(
            settings=node_settings.from_json(_whole(settings_fd)),
            group=environ["COORD_GROUP"],
            node=environ["COORD_NODE"],
            term=int(environ["COORD_TERM"]),
            session=environ["COORD_SESSION"],
            trust=TrustBoard.from_fd(trust_fd, BoottimeClock()),
        )
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise ConfigError(
            f"this program is started by `coord run`, not by hand ({type(error).__name__}: {error})"
        ) from error
    os.close(settings_fd)
    for name in ("COORD_SETTINGS_FD", "COORD_TRUST_FD"):
        os.environ.pop(name, None)
    return start


def _whole(fd: int) -> str:
    """Read a descriptor from its beginning; others read the same one."""
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
            _leave_on(on_stop)
        return serve(function, context)
    from coordinator.app.scheduled_run import run_schedule

    if function is not None:
        job = function_job(function)
    else:
        assert program.argv is not None, "a program has a callable or a command"
        argv = ("/bin/sh", "-c", program.argv[0]) if program.shell else program.argv
        job = command_job(argv, stop)
    return run_schedule(start.settings, job, context, stop, BoottimeClock())


def serve(function: Function, context: RunContext) -> int:
    """Call a service once; it runs until it returns, fails or is stopped."""
    try:
        context.token.check()
        call(function, context)
    except TokenLostError as error:
        logger.warning("%s", error, extra={"event": "schedule-lost"})
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever the user's program raises is its failure
        if not isinstance(error, CoordError):
            traceback.print_exception(error)
        logger.error(
            "%s failed: %s", _name(function), error_text(error), extra={"event": "service-failed"}
        )
        return 1
    return 0


def listen(stop: StopSignal) -> Handler:
    """Set `stop` on SIGTERM and SIGINT, and survive the signals that are passed on to everybody.

    Returns the handler, to be told from one of the user's. A signal handler may interrupt a
    thread that holds the very lock of an Event, so it only wakes a thread of its own.
    """
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wait() -> None:
        woken.get()
        stop.set()

    def on_stop(signum: int, frame: object) -> None:  # noqa: ARG001
        woken.put(None)

    threading.Thread(target=wait, name="stop", daemon=True).start()
    for signum in _STOPPING:
        signal.signal(signum, on_stop)
    for signum in _PASSED_ON:
        # Not SIG_IGN: the user's own children would inherit that.
        signal.signal(signum, lambda *_: None)
    return on_stop


def _leave_on(on_stop: Handler) -> None:
    """Let a service that cannot look at a stop event be ended by SIGTERM.

    It ends as any program that cleans up does: its `finally` blocks run.
    """
    for signum in _STOPPING:
        if signal.getsignal(signum) is on_stop:
            signal.signal(signum, _leave)


def _leave(signum: int, frame: object) -> NoReturn:  # noqa: ARG001
    raise SystemExit(0)


def _name(function: Function) -> str:
    module = getattr(function, "__module__", "?")
    return f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"


def _put_cwd_first() -> None:
    """Let the user's modules be found, also where python was told to be safe about it."""
    cwd = os.getcwd()
    if sys.path[:1] not in ([""], [cwd]):
        sys.path.insert(0, cwd)


if __name__ == "__main__":
    sys.exit(main())
