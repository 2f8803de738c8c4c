"""W5, W6, W7: the program's own process, as the guardian starts it."""

from __future__ import annotations

import math
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coordinator.app.config.model.values import moment
from coordinator.app.config.settings import (
    DatabaseSettings,
    NodeSettings,
    ProgramSettings,
    to_json,
)
from coordinator.protocol.messages.schedule import Policy, Trigger
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.store.program.schedule import Holding
from tests.conftest import Database
from tests.integration.test_schedule_store import columns, hold
from tests.support.nodes.processes import descendants

pytestmark = pytest.mark.real

WAIT_S = 60

JOBS = """
import sys, threading
from pathlib import Path

def tick(ctx):
    with open("runs", "a") as runs:
        runs.write(f"{ctx.term}:{ctx.count} ")

def fail():
    raise ValueError("no luck")

def until_told(ctx):
    print("serving", flush=True)
    ctx.stop_event.wait()
    print("told", flush=True)

def blind():
    try:
        print("serving", flush=True)
        threading.Event().wait()
    finally:
        print("cleaned up", flush=True)

def done():
    print("done", flush=True)

def busy(ctx):
    print("running", flush=True)
    ctx.stop_event.wait()
    print("ended", flush=True)
"""


@dataclass
class Starter:
    """Starts programs as the guardian does, and leaves none behind."""

    database: Database
    cwd: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self,
        holding: Holding,
        program: ProgramSettings,
        trigger: Trigger | None = None,
        policy: Policy | None = None,
        trusted_until: float = math.inf,
        node_started_at: float = 0.0,
        stop_timeout_s: float = WAIT_S,
    ) -> subprocess.Popen[str]:
        settings = NodeSettings(
            task_id="n",
            group_id="g",
            program=program,
            trigger=trigger,
            policy=policy or Policy(),
            database=DatabaseSettings(conninfo=self.database.conninfo, schema=self.database.schema),
            log_format="text",
            stop_timeout_s=stop_timeout_s,
            started_at_s=min(node_started_at, BoottimeClock().now()),
        )
        fds = [
            _memory(to_json(settings).encode()),
            _memory(struct.pack("@dd", trusted_until, 0.0)),
        ]
        env = {
            "COORD_GROUP": "g",
            "COORD_NODE": "n",
            "COORD_TERM": str(holding.term),
            "COORD_SESSION": holding.session,
            "COORD_SETTINGS_FD": str(fds[0]),
            "COORD_TRUST_FD": str(fds[1]),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "coordinator.app.program.process"],
            cwd=self.cwd,
            env=os.environ | env,
            pass_fds=fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for fd in fds:
            os.close(fd)
        self.processes.append(process)
        return process


def _memory(content: bytes) -> int:
    fd = os.memfd_create("test")
    os.write(fd, content)
    return fd


@pytest.fixture
def starter(database: Database, tmp_path: Path) -> Iterator[Starter]:
    (tmp_path / "user_jobs.py").write_text(JOBS)
    made = Starter(database, tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.communicate(timeout=WAIT_S)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=WAIT_S)
    return process.returncode, out, err


def test_count_goes_on_in_the_next_holders_process(starter: Starter) -> None:
    tick = ProgramSettings(callable="user_jobs:tick")
    first = Trigger(interval_s=0.05, max_count=2)
    assert ended(starter.start(hold(starter.database, 1), tick, first))[0] == 0

    more = Trigger(interval_s=0.05, max_count=5)
    code, _, err = ended(starter.start(hold(starter.database, 2, "other"), tick, more))

    assert code == 0
    assert (starter.cwd / "runs").read_text() == "1:1 1:2 2:3 2:4 2:5 "
    assert columns(starter.database, "fired_count, ended, last_outcome, term") == (5, True, "ok", 2)
    assert err.count("\n") == 2  # that it opened, and why it ended
    assert "the schedule has ended: maxCount 5 is reached" in err


def test_holder_of_an_ended_schedule_runs_nothing(starter: Starter) -> None:
    tick, once = (
        ProgramSettings(callable="user_jobs:tick"),
        Trigger(interval_s=0.05, max_count=1),
    )
    assert ended(starter.start(hold(starter.database, 1), tick, once))[0] == 0

    assert ended(starter.start(hold(starter.database, 2, "other"), tick, once))[0] == 0

    assert (starter.cwd / "runs").read_text() == "1:1 "


def test_process_of_a_stale_term_runs_nothing_and_says_so(starter: Starter) -> None:
    stale = hold(starter.database, 1)
    hold(starter.database, 2, "other")

    code, _, err = ended(
        starter.start(stale, ProgramSettings(callable="user_jobs:tick"), Trigger(interval_s=60))
    )

    assert code == 76
    assert "is not current" in err
    assert not (starter.cwd / "runs").exists()


def test_process_whose_trust_is_over_runs_nothing(starter: Starter) -> None:
    code, _, _ = ended(
        starter.start(
            hold(starter.database, 1),
            ProgramSettings(callable="user_jobs:tick"),
            Trigger(interval_s=60),
            trusted_until=1.0,
        )
    )

    assert code == 76
    assert not (starter.cwd / "runs").exists()


def test_error_policy_that_terminates_is_70(starter: Starter) -> None:
    code, _, err = ended(
        starter.start(
            hold(starter.database, 1),
            ProgramSettings(callable="user_jobs:fail"),
            Trigger(interval_s=60),
        )
    )

    assert code == 70
    assert "ValueError: no luck" in err
    assert 'user_jobs.py", line' in err
    assert "the schedule is terminated" in err
    assert columns(starter.database, "last_outcome, ended") == ("failed", True)


def test_terminated_schedule_runs_nothing_for_the_next_holder(starter: Starter) -> None:
    """C5: until a node is started after its end."""
    fail, minute = ProgramSettings(callable="user_jobs:fail"), Trigger(interval_s=60)
    assert ended(starter.start(hold(starter.database, 1), fail, minute))[0] == 70

    code, _, err = ended(starter.start(hold(starter.database, 2, "other"), fail, minute))

    assert code == 70
    assert "the schedule is terminated: run 1 failed: ValueError (errorPolicy" in err
    assert columns(starter.database, "fired_count, last_outcome") == (1, "failed")

    tick = ProgramSettings(callable="user_jobs:tick")
    once = Trigger(interval_s=0.01, max_count=2)
    later = starter.start(hold(starter.database, 3), tick, once, node_started_at=math.inf)
    assert ended(later)[0] == 0
    assert (starter.cwd / "runs").read_text() == "3:2 "


def test_command_is_started_anew_for_each_run(starter: Starter) -> None:
    script = "echo $COORD_TERM $COORD_RUN_COUNT ${COORD_SETTINGS_FD-none}; ls /proc/self/fd | wc -l"

    code, out, _ = ended(
        starter.start(
            hold(starter.database, 1),
            ProgramSettings(argv=(script,), shell=True),
            Trigger(interval_s=0.05, max_count=2),
        )
    )

    assert code == 0
    # Only stdin, stdout, stderr and what `ls` opens: the settings hold a password.
    assert out == "1 1 none\n4\n1 2 none\n4\n"


def test_command_that_fails_terminates_the_schedule(starter: Starter) -> None:
    code, _, err = ended(
        starter.start(
            hold(starter.database, 1),
            ProgramSettings(argv=("/bin/false",)),
            Trigger(interval_s=60),
        )
    )

    assert code == 70
    assert "/bin/false: exit code 1" in err
    assert "Traceback" not in err


def test_sigterm_waits_for_the_run_and_exits_with_zero(starter: Starter) -> None:
    process = starter.start(
        hold(starter.database, 1),
        ProgramSettings(callable="user_jobs:busy"),
        Trigger(interval_s=0.01),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"

    process.terminate()

    assert ended(process)[:2] == (0, "ended\n")
    assert columns(starter.database, "fired_count, last_outcome") == (1, "ok")


def test_sigterm_waits_for_a_command_in_mid_run(starter: Starter) -> None:
    """H5: a command is waited for as a callable is, and the exit code says how it went."""
    process = starter.start(
        hold(starter.database, 1),
        ProgramSettings(argv=("echo running; read -r _ < go; echo ended",), shell=True),
        Trigger(interval_s=3600),
    )
    os.mkfifo(starter.cwd / "go")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "running\n"

    process.terminate()
    while "told to stop" not in process.stderr.readline():
        pass
    (starter.cwd / "go").write_text("\n")

    assert ended(process)[:2] == (0, "ended\n")
    assert columns(starter.database, "fired_count, last_outcome") == (1, "ok")


def test_command_that_has_to_be_ended_is_told_by_the_exit_code(starter: Starter) -> None:
    process = starter.start(
        hold(starter.database, 1),
        ProgramSettings(argv=("echo running; exec sleep 60",), shell=True),
        Trigger(interval_s=3600),
        stop_timeout_s=0.2,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"

    process.terminate()

    assert ended(process)[0] == 143
    assert columns(starter.database, "fired_count, last_outcome") == (1, "stopped")


def test_run_that_died_with_its_process_is_told_by_the_next(starter: Starter) -> None:
    """C6"""
    program = ProgramSettings(argv=("echo running; exec sleep 60",), shell=True)
    process = starter.start(hold(starter.database, 1), program, Trigger(interval_s=3600))
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    running = descendants(process.pid)
    process.kill()
    for pid in running:  # as the guardian of a node does
        os.kill(pid, signal.SIGKILL)

    tick = ProgramSettings(callable="user_jobs:tick")
    late = Trigger(interval_s=3600, closes_at=moment("2100-01-01T00:00:00Z"), max_count=1)
    code, _, err = ended(starter.start(hold(starter.database, 2, "other"), tick, late))

    assert code == 0
    assert "under term 1 died" in err
    assert columns(starter.database, "last_outcome, fired_count") == ("died", 1)


@pytest.mark.parametrize("text", ["caf\\udce9", "\\u2192 \\0"])
def test_text_that_cannot_be_encoded_kills_no_schedule(starter: Starter, text: str) -> None:
    (starter.cwd / "texts.py").write_text(f"def fail():\n    raise ValueError('{text}')\n")

    code, _, err = ended(
        starter.start(
            hold(starter.database, 1),
            ProgramSettings(callable="texts:fail"),
            Trigger(interval_s=0.01, max_count=3),
            Policy(error="LOG_AND_CONTINUE"),
        )
    )

    assert code == 0
    assert err.count("failed: ValueError") == 3
    assert columns(starter.database, "fired_count, last_outcome") == (3, "failed")


def test_sigterm_between_two_runs_exits_at_once(starter: Starter) -> None:
    process = starter.start(
        hold(starter.database, 1),
        ProgramSettings(argv=("/bin/echo", "ran")),
        Trigger(interval_s=3600),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ran\n"

    process.terminate()

    assert ended(process)[0] == 0


def test_signals_that_are_passed_on_do_not_end_the_program(starter: Starter) -> None:
    process = starter.start(
        hold(starter.database, 1), ProgramSettings(callable="user_jobs:until_told")
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"

    for signum in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        process.send_signal(signum)
    process.terminate()

    assert ended(process)[:2] == (0, "told\n")


def test_service_that_cannot_look_cleans_up_on_sigterm(starter: Starter) -> None:
    process = starter.start(hold(starter.database, 1), ProgramSettings(callable="user_jobs:blind"))
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"

    process.terminate()

    assert ended(process) == (0, "cleaned up\n", "")


def test_service_that_returns_exits_with_zero(starter: Starter) -> None:
    process = starter.start(hold(starter.database, 1), ProgramSettings(callable="user_jobs:done"))

    assert ended(process) == (0, "done\n", "")


def test_service_that_raises_exits_with_one(starter: Starter) -> None:
    code, _, err = ended(
        starter.start(hold(starter.database, 1), ProgramSettings(callable="user_jobs:fail"))
    )

    assert code == 1
    assert " coord: g: user_jobs:fail failed: ValueError: no luck\n" in err
    assert err.endswith("ValueError: no luck\n")
    assert err.count(", line ") == 1  # the user's own frame, none of ours


def test_callable_that_cannot_be_imported_is_78(starter: Starter) -> None:
    code, _, err = ended(
        starter.start(hold(starter.database, 1), ProgramSettings(callable="user_jobs:absent"))
    )

    assert code == 78
    assert err.count("\n") == 1
