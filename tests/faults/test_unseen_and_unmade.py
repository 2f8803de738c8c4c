"""Rules G4 and G8 where /proc hides processes, and where no process or descriptor can be had."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.runtime.linux import processes
from tests.support.machines import narrow
from tests.support.machines.narrow import THROUGH, ProcessLimit
from tests.support.nodes.guarded_node import WAIT_S, GuardedNode, await_death, await_fact
from tests.support.nodes.processes import Bed, descendants

pytestmark = pytest.mark.real

can_hide = pytest.mark.skipif(
    not (narrow.can("user, hidden") and narrow.can("root, hidden")),
    reason="no /proc with hidepid=2 can be mounted",
)
can_be_another = pytest.mark.skipif(not narrow.can("user"), reason="only root may become another")
LIMITING = narrow.limiting_parent()
#: So many forkers are not killed by SIGKILL alone: before the last one is met there are new ones.
FORKERS = 150


@pytest.fixture
def users_end() -> Iterator[None]:
    yield
    narrow.end_user()


def users_node(folder: Path, how: str, log: Path | None = None) -> GuardedNode:
    """Start a node of an ordinary user."""
    with narrow.open_to_all():
        if log is None:
            return GuardedNode(folder, "plain", through=THROUGH[how])
        with log.open("wb") as file:
            return GuardedNode(folder, "plain", through=THROUGH[how], stderr=file.fileno())


@can_hide
@pytest.mark.parametrize(
    ("how", "level"),
    [
        ("user, hidden", "plain"),
        ("user, hidden", "auto"),
        ("root, hidden", "cgroup"),
        ("root, hidden", "pidns"),
    ],
)
def test_a_node_that_could_not_see_whom_it_must_kill_does_not_start(
    tmp_path: Path, how: str, level: str
):
    node = GuardedNode(tmp_path, level, through=THROUGH[how])
    try:
        assert node.guardian.wait(WAIT_S) == 78
        said = node.stderr().splitlines()
        assert len(said) == 1
        assert "hidepid" in said[0] or "cannot be had" in said[0]
        assert "ProtectProc" in said[0] or level == "cgroup"
    finally:
        node.close()


#: It may not read the test's own process, and could not kill it.
_LOOKS = """
import sys
from coordinator.runtime.isolation import levels as isolation
from coordinator.runtime.linux import processes
pid, started = int(sys.argv[1]), int(sys.argv[2])
print(pid in processes.everyone(), processes.lives(pid, started))
handle = {"marker": "none", "keeper": pid, "keeper_started": started, "pid": 0, "started": 0}
print([isolation.kill_everything(handle | {"level": level}) for level in ("plain", "pidns")])
"""


@can_hide
def test_a_process_that_is_hidden_is_not_gone():
    """Rule G4."""
    pid = os.getpid()
    look = [sys.executable, "-c", _LOOKS, str(pid), str(processes.started(pid))]

    done = subprocess.run([*THROUGH["user, hidden"], *look], capture_output=True, text=True)

    assert done.stdout == "False True\n[False, False]\n", done.stderr


#: No dump of it may be taken, as of an agent that keeps keys: to its own user /proc may hide it.
_UNDUMPABLE = "import ctypes,time; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); time.sleep(12345)"


@can_hide
@pytest.mark.usefixtures("users_end")
def test_an_undumpable_process_that_is_hidden_later_is_not_gone(tmp_path: Path):
    """Rule G4: without a mark, in a session of its own, it is found below its keeper alone."""
    node = users_node(tmp_path / "node", "user, still shown")
    try:
        agent = node.meet_agent()
        escapes = f'setsid env -i {sys.executable} -S -c "$0" & exec sleep 12346'
        node.start(agent, "sh", "-c", escapes, _UNDUMPABLE, lease_s=600.0)
        assert agent.hear("started", "refused")["say"] == "started"
        await_fact(lambda: len(_undumpable()) == 1, "it cannot be dumped")
        before = len(narrow.of_user())

        narrow.hide_processes(node.guardian.pid)
        agent.tell(say="kill", run=node.runs)
        await_fact(lambda: len(narrow.of_user()) < before, "what can be seen is dead")
        assert len(_undumpable()) == 1
        assert "ended" not in agent.heard_so_far()
        narrow.show_processes(node.guardian.pid)

        agent.hear("ended")
        assert _undumpable() == []
        node.leave(agent)
    finally:
        node.close()


def _undumpable() -> list[int]:
    """Return the processes that run that text; what /proc tells of them belongs to root."""
    found = []
    for pid, seen in processes.everyone().items():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if seen.alive and _UNDUMPABLE.encode() in words[:4] and words[0] != b"sh":
                found.append(pid)
    return [pid for pid in found if os.stat(f"/proc/{pid}/environ").st_uid == 0]


@can_be_another
@pytest.mark.usefixtures("users_end")
@pytest.mark.parametrize(("what", "least"), [("nofile", 3), ("nproc", 1)])
def test_a_guardian_that_can_make_no_agent_makes_it_later(tmp_path: Path, what: str, least: int):
    """G8: that no agent can be made is an agent lost, and tried again."""
    log = tmp_path / "log"
    node = users_node(tmp_path / "node", "user", log)
    try:
        agent, spare = node.meet_agent(), node.meet("spare")
        node.start_shape(agent, "forks", lease_s=60.0)
        narrow.limit_to(what, least, node.guardian.pid)

        for each in (spare, agent):
            signal.pidfd_send_signal(each.pidfd, signal.SIGKILL)
            await_death(each)

        told = lambda: "no agent can be made now" in log.read_text()  # noqa: E731
        if what == "nproc":
            node.await_deaths()
        else:  # without a descriptor it cannot look whom to kill, but with a process it can tell
            await_fact(told, "it is told")
        assert node.guardian.poll() is None, log.read_text()
        narrow.limit_to(what, None, node.guardian.pid)
        assert node.meet_agent().pid != agent.pid
        node.await_deaths()
        await_fact(told, "it is told in the end")
    finally:
        node.close()


@pytest.mark.skipif(LIMITING is None, reason="no cgroup here limits processes")
def test_a_node_without_a_process_to_spare_goes_on_guarding(nodes: Bed):
    """Rule G8: the promoted spare makes no spare and no thread, and joins when it can."""
    assert LIMITING is not None
    limit = ProcessLimit(LIMITING)
    for name in ("node-1", "node-2"):
        nodes.start(name, "--isolation", "plain")
    run = nodes.wait_for_run()
    nodes.wait_for_standbys(1)
    holder = nodes.nodes[run.node]
    try:
        agent = holder.pid_of("agent")
        holder.pid_of("spare")
        limit.take_in([holder.process.pid, *descendants(holder.process.pid)])
        limit.set(1)

        os.kill(agent, signal.SIGKILL)

        nodes.wait_for_run(after=run.term, within_s=30)
        assert holder.process.poll() is None, nodes.story()
        limit.set(None)
        nodes.wait_for_standbys(1)
        assert holder.stands_by(), nodes.story()
    finally:
        limit.set(None)
        holder.end()
        limit.close()


@can_be_another
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler for the forker")
@pytest.mark.usefixtures("users_end")
def test_a_program_that_forks_as_fast_as_it_is_killed_ends(tmp_path: Path):
    """Rule G4: a death that makes room for a fork is no progress, so all are stopped first."""
    forker = tmp_path / "forker"
    source = Path(narrow.__file__).with_name("forker.c")
    subprocess.run(["cc", "-O2", "-o", str(forker), str(source)], check=True)
    node = users_node(tmp_path / "node", "user", tmp_path / "log")
    try:
        agent = node.meet_agent()
        node.start(agent, "prlimit", f"--nproc={FORKERS}", str(forker), lease_s=600.0)
        agent.order(keep=600.0)
        assert agent.hear("started", "refused")["say"] == "started"
        await_fact(lambda: len(narrow.of_user()) >= FORKERS, "there is no room for more")
        assert forker.name in {seen.name for seen in narrow.of_user().values()}

        agent.tell(say="kill", run=node.runs)

        agent.hear("ended")
        # By name: an orphan would be below the guardian, where its writer of log lines is, too.
        assert not [seen for seen in narrow.of_user().values() if seen.name == forker.name]
        assert node.leave(agent) == 0
    finally:
        node.close()


def test_a_node_inside_of_a_program_is_killed_with_its_own_program(nodes: Bed):
    """Rule G4: what the inner node started carries the mark of the outer run, too."""
    apart = ("sh", "-c", 'setsid "$@" & wait', "sh", *nodes.recorder())
    options = ("--isolation", "plain")
    inner, env = nodes.command_of(
        "inner", *options, behind=("--", *apart), env={"COORD_GROUP_ID": "inner"}
    )
    given = [f"{name}={value}" for name, value in env.items() if name.startswith("COORD_")]
    outer = nodes.start("outer", *options, command=("env", *given, *inner))
    nodes.wait_for_run()
    # Those that could kill it by its own mark stand still.
    family = [os.pidfd_open(pid) for pid in _inner_agents(outer.process.pid)]
    recorder = os.pidfd_open(int(nodes.record.read_text().split()[2]))
    try:
        assert len(family) == 2, outer.doing()
        for pidfd in family:
            signal.pidfd_send_signal(pidfd, signal.SIGSTOP)

        os.kill(outer.process.pid, signal.SIGKILL)

        await_fact(lambda: _dead(recorder), "the inner program is dead", 20)
    finally:
        for pidfd in (*family, recorder):
            if not _dead(pidfd):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)


def _inner_agents(guardian: int) -> list[int]:
    """Return the agents and spares below a guardian that are not its own."""
    parents = {pid: seen.parent for pid, seen in processes.everyone().items()}
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(guardian)}
    agents = [pid for pid, said in commands.items() if b"\0--channel-fd\0" in said]
    return [pid for pid in agents if guardian not in (parents[pid], parents[parents[pid]])]


def _dead(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return True
    return False
