"""Rules G4 and G8 where /proc hides processes, and where no descriptor can be had."""

from __future__ import annotations

import os
import platform
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.guarded_node import WAIT_S, GuardedNode, await_fact

pytestmark = pytest.mark.real

#: Root without the right to look at others: what any user is to a process that cannot be dumped.
HIDING = (
    *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
    "mount -t proc -o hidepid=2,gid=64321 proc /proc"
    ' && exec setpriv --bounding-set=-sys_ptrace "$@"',
    *("sh", "--inh-caps=-sys_ptrace"),
)


def _can_hide() -> bool:
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    if os.geteuid() != 0 or release < (5, 8):  # before, hidepid held for every mount of /proc
        return False
    return subprocess.run([*HIDING, "true"], capture_output=True, check=False).returncode == 0


can_hide = pytest.mark.skipif(not _can_hide(), reason="no /proc with hidepid=2 can be mounted")


@can_hide
def test_a_node_that_could_not_see_whom_it_must_kill_does_not_start(tmp_path: Path):
    node = GuardedNode(tmp_path, "plain", through=HIDING)
    try:
        assert node.guardian.wait(WAIT_S) == 78
        said = node.stderr().splitlines()
        assert len(said) == 1
        assert "hidepid" in said[0]
        assert "ProtectProc" in said[0]
    finally:
        node.close()


def _limit_descriptors(node: GuardedNode, soft: int) -> int:
    usual, hard = resource.prlimit(node.guardian.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.guardian.pid, resource.RLIMIT_NOFILE, (soft, hard))
    return usual


def test_a_guardian_that_can_make_no_agent_makes_it_later(tmp_path: Path):
    """G8: that no agent can be made is an agent lost, and tried again."""
    log = tmp_path / "log"
    with log.open("wb") as file:
        node = GuardedNode(tmp_path / "node", "plain", stderr=file.fileno())
    try:
        agent = node.meet_agent()
        node.start_shape(agent, "forks", lease_s=60.0)
        usual = _limit_descriptors(node, 3)

        signal.pidfd_send_signal(agent.pidfd, signal.SIGKILL)

        await_fact(lambda: "no agent can be made now" in log.read_text(), "it is told")
        assert node.guardian.poll() is None, log.read_text()
        _limit_descriptors(node, usual)
        assert node.meet_agent().pid != agent.pid
        await_fact(lambda: not node.survivors(), "the program is dead")
    finally:
        node.close()
