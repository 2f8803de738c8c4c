"""W7: what one run does, and which functions can be called."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.app.program.callable import load_callable
from coordinator.errors import (
    CommandNotExecutableError,
    CommandNotFoundError,
    ConfigError,
    CoordError,
    TokenLostError,
)
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.schedule.jobs import (
    Job,
    RunContext,
    RunCutError,
    RunFailedError,
    command_job,
    function_job,
    wants_context,
)
from coordinator.runtime.schedule.stop_signal import StopSignal
from coordinator.runtime.schedule.trust_board import TrustBoard
from tests.support.fakes.schedules import WAIT_S, MovableTrust

SLOT = datetime(2026, 5, 4, 12, tzinfo=UTC)


def context(stop: StopSignal | None = None) -> RunContext:
    return RunContext(
        group="g",
        node="n",
        term=7,
        session="s",
        token=MovableTrust(),
        stop_event=(stop or StopSignal()).event,
        scheduled_at=SLOT,
        count=3,
    )


# --- the board ------------------------------------------------------------------------------------


def command(
    argv: list[str],
    stop: StopSignal | None = None,
    stop_timeout_s: float = 1.0,
    trust: MovableTrust | None = None,
) -> Job:
    return command_job(
        argv, stop or StopSignal(), trust or MovableTrust(), BoottimeClock(), stop_timeout_s
    )


class FixedClock:
    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now


def test_board_is_read_anew_each_time() -> None:
    board = [100.0, 90.0]
    trust = TrustBoard(board, FixedClock(95.0))
    trust.check()

    board[0] = 95.0

    with pytest.raises(TokenLostError):
        trust.check()


def test_board_is_read_from_shared_memory() -> None:
    import mmap
    import struct

    fd = os.memfd_create("board")
    os.ftruncate(fd, 16)
    writer = mmap.mmap(fd, 16)
    writer[:] = struct.pack("@dd", 100.0, 90.0)
    trust = TrustBoard.from_fd(os.dup(fd), FixedClock(95.0))
    assert (trust.trusted_until, trust.last_extended_at) == (100.0, 90.0)

    writer[:] = struct.pack("@dd", 200.0, 190.0)

    assert trust.remaining_s() == 105.0
    os.close(fd)


@pytest.mark.parametrize(
    ("silent_s", "fresh"), [(0.5, True), (1.9, True), (2.1, False), (2.4, False), (9.0, False)]
)
def test_trust_is_not_fresh_after_two_missed_renewals(silent_s: float, fresh: bool) -> None:
    """T5: for a run of a schedule by the same number as for a program."""
    trust = TrustBoard([105.0, 100.0], FixedClock(100.0 + silent_s))

    assert trust.fresh(lease_s=5.0, heartbeat_s=1.0) is fresh


@pytest.mark.parametrize(("silent_s", "fresh"), [(0.5, True), (0.9, True), (1.1, False)])
def test_trust_by_a_shorter_lease_than_the_file_s_is_fresh_too(
    silent_s: float, fresh: bool
) -> None:
    """T5, I3: the group has a shorter interval than the file, whose lease is 24.4 s."""
    trust = TrustBoard([104.7, 100.0], FixedClock(100.0 + silent_s))

    assert trust.fresh(lease_s=24.4, heartbeat_s=1.0) is fresh


# --- functions ------------------------------------------------------------------------------------


def takes_nothing() -> None: ...
def takes_context(anything: RunContext) -> None: ...
def takes_it_by_name(ctx: RunContext | None = None) -> None: ...
def has_defaults(argv: list[str] | None = None, *rest: str, **more: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (takes_nothing, False),
        (takes_context, True),
        (takes_it_by_name, True),
        (has_defaults, False),
        (print, False),
        (dict, False),
    ],
)
def test_function_gets_the_context_when_it_has_a_place_for_it(
    function: Callable[..., object], wanted: bool
) -> None:
    assert wants_context(function) is wanted


def test_function_of_two_arguments_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes a, b"):
        wants_context(lambda a, b: (a, b))


def test_function_gets_term_slot_and_count() -> None:
    seen: list[RunContext] = []

    function_job(lambda ctx: seen.append(ctx))(context())

    assert (seen[0].term, seen[0].scheduled_at, seen[0].count) == (7, SLOT, 3)


def test_coroutine_function_is_run_to_its_end() -> None:
    seen: list[int] = []

    async def run(ctx: RunContext) -> None:
        seen.append(ctx.term)

    function_job(run)(context())

    assert seen == [7]


def test_leaving_with_zero_is_success() -> None:
    function_job(lambda: sys.exit(0))(context())


def test_leaving_with_a_code_is_a_failure() -> None:
    with pytest.raises(RunFailedError, match=r"sys.exit\(3\)"):
        function_job(lambda: sys.exit(3))(context())


# --- commands -------------------------------------------------------------------------------------


def test_command_that_ends_with_zero_is_success(capfd: pytest.CaptureFixture[str]) -> None:
    job = command(["/bin/sh", "-c", "echo $COORD_SCHEDULED_AT $COORD_RUN_COUNT"])

    job(context())

    assert capfd.readouterr().out == "2026-05-04T12:00:00+00:00 3\n"


@pytest.mark.parametrize(
    ("script", "told"), [("exit 3", "exit code 3"), ("kill -9 $$", "killed by signal 9")]
)
def test_command_that_ends_otherwise_is_a_failure(script: str, told: str) -> None:
    with pytest.raises(RunFailedError, match=told):
        command(["/bin/sh", "-c", script])(context())


def test_command_that_does_not_exist_is_a_failure() -> None:
    with pytest.raises(CommandNotFoundError):
        command(["/nonexistent/program"])(context())


def test_command_that_is_not_executable_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("")

    with pytest.raises(CommandNotExecutableError):
        command([str(tmp_path / "script")])(context())


def stopped_midway(
    tmp_path: Path, script: str, stop_timeout_s: float, trust: MovableTrust | None = None
) -> list[BaseException | None]:
    """Run a script, and set the stop once it has written to the FIFO `started`."""
    os.mkfifo(tmp_path / "started")
    stop, outcome = StopSignal(), list[BaseException | None]()
    job = command(["/bin/sh", "-c", script], stop, stop_timeout_s, trust)

    def run() -> None:
        try:
            job(context(stop))
            outcome.append(None)
        except CoordError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    (tmp_path / "started").read_text()
    stop.set()
    (tmp_path / "told").touch()
    thread.join(WAIT_S)
    return outcome


def test_stop_waits_for_a_command_that_ends_by_itself(tmp_path: Path) -> None:
    script = (
        f"trap 'exit 9' TERM; echo > {tmp_path}/started;"
        f" while [ ! -e {tmp_path}/told ]; do sleep 0.01; done; sleep 0.3"
    )

    assert stopped_midway(tmp_path, script, stop_timeout_s=120) == [None]


def test_command_that_fails_while_a_stop_waits_has_failed(tmp_path: Path) -> None:
    script = (
        f"echo > {tmp_path}/started; while [ ! -e {tmp_path}/told ]; do sleep 0.01; done; exit 4"
    )

    (failure,) = stopped_midway(tmp_path, script, stop_timeout_s=120)

    assert isinstance(failure, RunFailedError)
    assert str(failure) == "/bin/sh: exit code 4"


def test_command_that_does_not_end_gets_sigterm_within_the_limit(tmp_path: Path) -> None:
    script = f"echo > {tmp_path}/started; exec sleep 60"

    (failure,) = stopped_midway(tmp_path, script, stop_timeout_s=0.2)

    assert isinstance(failure, RunCutError)


def test_command_gets_sigterm_when_trust_runs_short(tmp_path: Path) -> None:
    trust = MovableTrust()
    trust.lost = True

    (failure,) = stopped_midway(
        tmp_path, f"echo > {tmp_path}/started; exec sleep 60", stop_timeout_s=120, trust=trust
    )

    assert isinstance(failure, RunCutError)


def test_command_has_a_process_group_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    # The guardian's SIGTERM goes to ours, and is for the schedule alone.
    command([sys.executable, "-c", "import os; print(os.getpgid(0) == os.getpid())"])(context())

    assert capfd.readouterr().out == "True\n"


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError("gone"),
        GeneratorExit(),
        BaseExceptionGroup("several", [GeneratorExit()]),
    ],
)
def test_exception_of_another_family_fails_the_run_alone(error: BaseException) -> None:
    def run() -> None:
        raise error

    with pytest.raises(RunFailedError, match=type(error).__name__):
        function_job(run)(context())


# --- finding the function -------------------------------------------------------------------------


@pytest.fixture
def user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def refusal(target: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_callable(target, {"program.callable": "Config.toml:9"})
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"Config.toml:9: program.callable: {target!r}")
    return line


def test_function_and_method_are_found(user_code: Path) -> None:
    (user_code / "found_job.py").write_text(
        "def run(): return 1\nclass Jobs:\n    @staticmethod\n    def nightly(ctx): return 2\n"
    )

    assert load_callable("found_job:run")() == 1
    assert load_callable("found_job:Jobs.nightly")(None) == 2


def test_module_that_does_not_exist_is_named(user_code: Path) -> None:
    assert "no module named 'no_such_job'" in refusal("no_such_job:run")


def test_module_that_the_users_module_misses_is_told_with_its_place(user_code: Path) -> None:
    (user_code / "missing_job.py").write_text("\nimport no_such_library\n")

    told = refusal("missing_job:run")

    assert "no module named 'no_such_library'" in told
    assert "missing_job.py:2" in told


def test_error_of_the_users_module_is_told_with_its_place(user_code: Path) -> None:
    (user_code / "broken_job.py").write_text("x = 1\n\nraise ValueError('two\\nlines')\n")

    told = refusal("broken_job:run")

    assert "ValueError: two lines" in told
    assert "broken_job.py:3" in told


def test_syntax_error_is_told_with_its_place(user_code: Path) -> None:
    (user_code / "unread_job.py").write_text("\n\ndef run(:\n")

    assert "unread_job.py:3" in refusal("unread_job:run")


def test_module_that_leaves_is_refused(user_code: Path) -> None:
    (user_code / "leaving_job.py").write_text("raise SystemExit(0)\n")

    assert "SystemExit" in refusal("leaving_job:run")


def test_name_that_the_module_lacks_is_told(user_code: Path) -> None:
    assert "module 'json' has no 'run'" in refusal("json:run")


def test_what_cannot_be_called_is_refused(user_code: Path) -> None:
    assert "is not a function but str" in refusal("json:__name__")


def test_function_that_needs_more_than_a_context_is_refused(user_code: Path) -> None:
    assert "takes fd, length" in refusal("os:ftruncate")


# --- the process ----------------------------------------------------------------------------------


def module(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coordinator.app.program.process", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        env={key: value for key, value in os.environ.items() if not key.startswith("COORD_")},
    )


def test_check_finds_a_function_below_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text("def run(): pass\n")

    checked = module("--check", "here:run", cwd=tmp_path)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_check_refuses_with_one_line_and_78(tmp_path: Path) -> None:
    checked = module("--check", "nowhere:run", cwd=tmp_path)

    assert checked.returncode == 78
    assert checked.stderr.count("\n") == 1
    assert checked.stderr.startswith("coord: program.callable: 'nowhere:run'")


def test_check_loads_neither_database_nor_scheduler(tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text(
        "import sys\n"
        "for heavy in ('psycopg', 'sqlalchemy', 'apscheduler', 'tenacity', 'pydantic'):\n"
        "    assert heavy not in sys.modules, heavy\n"
        "def run(): pass\n"
    )

    assert module("--check", "here:run", cwd=tmp_path).returncode == 0


def test_program_that_is_started_by_hand_says_so(tmp_path: Path) -> None:
    started = module(cwd=tmp_path)

    assert started.returncode == 78
    assert "started by `coord run`" in started.stderr
    assert started.stderr.count("\n") == 1


def test_signals_of_the_program_are_not_inherited_by_its_commands() -> None:
    # An ignored signal would stay ignored through exec; a handler does not.
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    try:
        with pytest.raises(RunFailedError, match="killed by signal 1"):
            command(["/bin/sh", "-c", "kill -HUP $$; echo survived"])(context())
    finally:
        signal.signal(signal.SIGHUP, before)
