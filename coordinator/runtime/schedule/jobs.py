"""One run: a call of the user's function, or the user's command to its end."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from coordinator.errors import (
    CommandNotExecutableError,
    CommandNotFoundError,
    ConfigError,
    CoordError,
)
from coordinator.ports import Clock
from coordinator.runtime.schedule.stop_signal import StopSignal
from coordinator.runtime.schedule.trust_board import Trust

#: A parameter with one of these names gets the context even when it has a default.
CONTEXT_NAMES = ("ctx", "context")


class RunStoppedError(CoordError):
    """The node was told to stop before the run had ended successfully."""


class RunCutError(RunStoppedError):
    """The command was still running when its time to end was over, and got SIGTERM."""


class RunFailedError(CoordError):
    """The run ended unsuccessfully, without an exception of its own.

    kind: how it ended, without any text of the program.
    """

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Facts for a run: its token, its slot, and when to stop.

    scheduled_at: the slot, on the database's clock; None for a service.
    count:        the number of this run in the whole group; 0 for a service.
    stop_event:   set when the program is told to stop.
    token:        `token.check()` raises TokenLostError when the token must not be acted on.
    """

    group: str
    node: str
    term: int
    session: str
    token: Trust
    stop_event: threading.Event
    scheduled_at: datetime | None = None
    count: int = 0


Job = Callable[[RunContext], None]


def wants_context(function: Callable[..., object]) -> bool:
    """Say whether a function is to be called with the context, or without arguments.

    Errors: ConfigError when neither call is possible.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False  # written in C, and without a signature
    parameters = signature.parameters.values()
    needed = [it for it in parameters if it.default is it.empty and it.kind not in _VARIADIC]
    by_place = [it for it in needed if it.kind is not it.KEYWORD_ONLY]
    if len(needed) > 1 or needed != by_place:
        names = ", ".join(it.name for it in needed)
        raise ConfigError(f"takes {names}; it is called with one context object or with nothing")
    return bool(needed) or any(
        it.name in CONTEXT_NAMES and it.kind in _BY_PLACE for it in parameters
    )


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def call(function: Callable[..., object], context: object) -> None:
    """Call a function, or run a coroutine function to its end; it may take the context."""
    arguments = (context,) if wants_context(function) else ()
    if inspect.iscoroutinefunction(function):
        import asyncio  # slow to import, and few need it

        asyncio.run(function(*arguments))
    else:
        function(*arguments)


def function_job(function: Callable[..., object]) -> Callable[[object], None]:
    """Return a job that calls `function`; an exit of its thread or process ends only the run.

    Such attempts are sys.exit() and an exception that is no Exception (asyncio's CancelledError).
    """

    def run(context: object) -> None:
        try:
            call(function, context)
        except SystemExit as leaving:
            if leaving.code not in (None, 0):
                raise RunFailedError(f"sys.exit({leaving.code!r})", "SystemExit") from leaving
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            kind = type(error).__name__
            raise RunFailedError(f"{kind}: {error}", kind) from error

    return run


def command_job(
    argv: Sequence[str], stop: StopSignal, trust: Trust, clock: Clock, stop_timeout_s: float
) -> Job:
    """Return a job that runs a command to its end; a stop waits for it, within stopTimeout.

    The command shares this process's stdout and stderr, but has a process group of its own: the
    guardian's SIGTERM is for this process. The command gets SIGTERM when half of the time is over,
    and SIGKILL at its end, together with this process.
    """

    def run(context: RunContext) -> None:
        assert context.scheduled_at is not None, "only a schedule runs a command"
        more = {
            "COORD_SCHEDULED_AT": context.scheduled_at.isoformat(),
            "COORD_RUN_COUNT": str(context.count),
        }
        with _started(argv, os.environ | more) as process:
            end = _EndInTime(process, trust, clock, stop_timeout_s)
            with stop.calling(end.begin):
                # Not collected yet, so a signal of coord cannot hit another process.
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            cut = end.over()
            code = process.wait()
        if code != 0 and cut:
            raise RunCutError(f"{argv[0]} was going on after stopTimeout, and got SIGTERM")
        if code != 0:
            ended = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
            raise RunFailedError(f"{argv[0]}: {ended}", ended)

    return run


class _EndInTime:
    """Ends a command when a stop has waited for it for its share of stopTimeout."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        trust: Trust,
        clock: Clock,
        stop_timeout_s: float,
    ) -> None:
        self._process, self._trust, self._clock = process, trust, clock
        self._stop_timeout_s = stop_timeout_s
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._cut = False

    def begin(self) -> None:
        """Begin to wait; called once, by the thread that gets the stop."""
        with self._lock:
            if not self._ended.is_set():
                self._thread = threading.Thread(target=self._run, name="end-command", daemon=True)
                self._thread.start()

    def over(self) -> bool:
        """Note that the command has ended; return whether it got SIGTERM from here."""
        with self._lock:
            self._ended.set()
        if self._thread is not None:
            self._thread.join()
        return self._cut

    def _run(self) -> None:
        kept_s = self._stop_timeout_s / 2
        deadline = self._clock.now() + self._stop_timeout_s
        # Trust may be extended meanwhile, or run out earlier.
        while True:
            left_s = min(deadline - self._clock.now(), self._trust.remaining_s()) - kept_s
            if left_s <= 0:
                break
            if self._ended.wait(left_s):
                return
        self._cut = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGTERM)
            os.killpg(self._process.pid, signal.SIGCONT)


def _started(argv: Sequence[str], environ: dict[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, process_group=0)
    except FileNotFoundError as error:
        raise CommandNotFoundError(f"{argv[0]}: command not found") from error
    except PermissionError as error:
        raise CommandNotExecutableError(f"{argv[0]}: not executable") from error
