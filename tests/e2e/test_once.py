"""`coord once` from the crontabs of several machines: one start for each slot."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.nodes.processes import RunningNode, bed, eventually

#: A slot that is the same one for as long as any test lasts.
LONG_SLOT = ("--slot", "1000d", "--late", "1000d", "--early", "0", "--spread", "0")


@pytest.fixture
def nodes(tmp_path, database):
    with bed(tmp_path, database.conninfo, database.schema) as made:
        made.liveness_s, made.heartbeat_s = 4.0, 0.8
        yield made


def command_of(nodes, machine: str, *options: str, behind: tuple[str, ...]):
    """Return the command of one machine's crontab, and its environment."""
    _, environ = nodes.command_of(machine)
    coord = [sys.executable, "-m", "coordinator.cli", "once", "-g", "nightly"]
    return [*coord, *LONG_SLOT, *options, "--", *behind], environ


def once(nodes, machine: str, *options: str, behind: tuple[str, ...]) -> tuple[int, str, str]:
    """Run it to its end; return exit code, stdout and stderr."""
    command, environ = command_of(nodes, machine, *options, behind=behind)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def noting(nodes, *, code: int = 0) -> tuple[str, ...]:
    """Return a command that notes its machine and its slot."""
    line = f'echo "$COORD_NODE $COORD_TERM $COORD_SCHEDULED_AT" >> {nodes.path}/ran; exit {code}'
    return ("/bin/sh", "-c", line)


def ran(nodes) -> list[str]:
    path = nodes.path / "ran"
    return path.read_text().splitlines() if path.exists() else []


def test_the_first_machine_runs_the_slot_and_the_others_say_nothing(nodes):
    """M7: the command's own exit code; 0 for the others, or the one that they are given."""
    assert once(nodes, "m1", behind=noting(nodes, code=7)) == (7, "", "")

    assert once(nodes, "m2", behind=noting(nodes)) == (0, "", "")
    assert once(nodes, "m1", "-E", "75", behind=noting(nodes)) == (75, "", "")
    (line,) = ran(nodes)
    assert line.startswith("m1 1 20")


def test_machines_that_start_at_the_same_moment_start_one_command(nodes, database):
    """M7: whoever reads at the same time races for the token, and claims under it."""
    started = []
    for number in range(4):
        command, environ = command_of(nodes, f"m{number}", behind=noting(nodes))
        started.append(subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True))

    said = [process.communicate(timeout=60)[1] for process in started]

    assert [process.returncode for process in started] == [0] * 4, said
    assert said == [""] * 4
    assert len(ran(nodes)) == 1
    fired = database.query("SELECT fired_count, last_outcome FROM schedule WHERE name = 'once'")
    assert list(fired) == [(1, "ok")]


def test_a_slot_whose_starter_died_is_run_again_where_that_is_wanted(nodes):
    """M8: and never a third time."""
    line = f'echo "$COORD_NODE" >> {nodes.path}/ran; exec sleep 1000'
    command, environ = command_of(nodes, "m1", behind=("/bin/sh", "-c", line))
    with subprocess.Popen(command, env=environ) as process:
        starter = RunningNode("m1", process, nodes.path / "m1.log")
        eventually(lambda: ran(nodes) == ["m1"], 30, "the first machine runs the slot")
        starter.send(signal.SIGKILL, "all")
        process.wait(10)

    assert once(nodes, "m2", behind=noting(nodes))[0] == 0
    assert ran(nodes) == ["m1"], "it is not run again unless that is wanted"
    again = once(nodes, "m3", "--retry-after", "0.2", behind=noting(nodes))
    assert again == (0, "", "")
    assert [one.split()[0] for one in ran(nodes)] == ["m1", "m3"]
    assert once(nodes, "m2", "--retry-after", "0", behind=noting(nodes)) == (0, "", "")
    assert len(ran(nodes)) == 2


def test_nonsense_is_refused_before_anything_starts(nodes):
    code, _, said = once(nodes, "m1", "--slot", "61 * * * *", behind=("true",))

    assert (code, "--slot: must be five cron fields" in said) == (2, True), said
