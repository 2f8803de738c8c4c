"""Machines that stand still: suspended to memory by their own kernel, or stopped by their host.

The holder's machine is a virtual one, with a kernel and clocks of its own. Its program is judged by
its own lines: none of them may come from a machine that slept through its lease, but for those that
it writes before its guardian has had a turn.
"""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from coordinator.store.schema import migrate
from tests.faults.test_campaign import broken
from tests.support.bounds import within
from tests.support.machines import image as machine_image
from tests.support.machines.virtual import Machine, environ_of, machine
from tests.support.networks import machines as networks
from tests.support.nodes.processes import RECORDER, ROLE_LINE, bed, eventually

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(300)]

LIVENESS_S, HEARTBEAT_S = 3.0, 0.5
SLEEPER, OTHER = "node-1", "node-2"
#: An emulated machine is slow to start a program.
START_S = 60.0
#: A program that has not written for so long does not live.
QUIET_S = 0.5
#: An agent has a turn at least so often.
NOTICED_S = 1.0
#: The time that T6 allows for.
SLEEP_WRONG_S = 3.0
#: From the thaw to the death of the program, at ten times the usual cost of everything.
THAW_S = 0.3


class Site:
    """A database, a machine that can sleep, and one beside it."""

    def __init__(self, folder: Path, net: networks.Network, box: Machine, group) -> None:
        self.folder, self.net, self.box, self.group = folder, net, box, group

    def hold(self, rule: str | None = None) -> None:
        """Have the machine's node hold the token, and the other stand by."""
        # It ignores SIGTERM: nothing but a kill ends it in time.
        deaf = ("--", "/bin/sh", "-c", 'trap "" TERM; exec "$@"', "sh")
        program = (sys.executable, "-S", str(RECORDER), str(self.group.record))
        command, environ = self.group.command_of(
            SLEEPER, behind=(*deaf, *program), env=broken(rule)
        )
        self.box.start(command, environ_of(environ), self.folder, self.folder / "log")
        eventually(self.runs, START_S, lambda: f"{SLEEPER} holds: {self.said()}")
        with self.net.inside(OTHER):
            self.group.start(OTHER)
        self.group.wait_for_standbys(1)

    def said(self) -> str:
        return self.box.ask("log", path=str(self.folder / "log"))

    def runs(self) -> bool:
        now = self.box.ask("clocks")["boottime"]
        return self.lines(now - QUIET_S)["count"] > 0

    def lines(self, after: float):
        return self.box.ask("lines", record=str(self.group.record), after=after)

    def written_since(self, moment: float, awake_at: float) -> float:
        """Wait until the program is dead; return for how long it wrote after a moment.

        Both are the machine's; before QUIET_S of being awake nothing says that it is dead.
        """

        def dead() -> bool:
            now = self.box.ask("clocks")["boottime"]
            return now > awake_at + QUIET_S and not self.lines(now - QUIET_S)["count"]

        eventually(dead, 30, lambda: f"the program ends: {self.said()}")
        first, last = self.lines(moment)["late"] or (0.0, 0.0)
        return last - first

    def stands_by(self) -> bool:
        return ROLE_LINE.findall(self.said())[-1:] == ["standby"]


@pytest.fixture
def site(tmp_path):
    missing = machine_image.lacking()
    if missing:
        pytest.skip(missing)
    with ExitStack() as stack:
        net = stack.enter_context(networks.network())
        server = stack.enter_context(networks.database_machine(net))
        for name in (SLEEPER, OTHER):
            net.add(name)
        networks.new_database(server, "sleepers", "root", "password")
        migrate.upgrade(server.conninfo("sleepers", user="root"), "public")
        planted = Path(broken("clock")["PYTHONPATH"])
        disk = machine_image.build(tmp_path, [planted])
        stack.callback(disk.unlink)
        box = stack.enter_context(machine(net, SLEEPER, disk, tmp_path))
        conninfo = networks.conninfo(net, "sleepers", "root", "password")
        group = stack.enter_context(bed(tmp_path, conninfo, "public"))
        group.liveness_s, group.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        yield Site(tmp_path, net, box, group)


@pytest.mark.parametrize("rule", ["clock", "sleep", None])
def test_a_machine_that_was_suspended_wakes_up_expired(site, rule):
    """T6: its cable is cut as well, so that nobody can tell it what it missed."""
    site.hold(rule)
    ahead_s = site.box.offset().ahead_s
    asleep_at = site.box.suspend()
    site.net.cut(SLEEPER)
    second = site.group.wait_for_run(after=1)

    site.box.wake()
    awake_at = site.box.ask("clocks")["boottime"]
    written_s = site.written_since(asleep_at + ahead_s, awake_at)

    print(f"wrote for {written_s:.3f} s after it woke")
    if rule == "clock":  # the clock alone tells that it expired
        assert written_s > THAW_S
    else:
        within(written_s, THAW_S)
    assert second.node == OTHER
    site.net.heal(SLEEPER)
    eventually(site.stands_by, START_S, lambda: f"a standby again: {site.said()}")
    assert [run.term for run in site.group.runs()] == [2]


@pytest.mark.parametrize("rule", ["sleep", None])
def test_a_nap_ends_trust_as_well(site, rule):
    """T6: how long it was is not asked; its lease goes on, and nobody can tell it anything."""
    site.group.liveness_s = 2 * LIVENESS_S  # much is left of the lease, however the nap is counted
    site.hold(rule)
    ahead_s = site.box.offset().ahead_s
    site.net.cut(SLEEPER)
    asleep_at = site.box.suspend()

    site.box.wake()
    awake_at = site.box.ask("clocks")["boottime"]
    written_s = site.written_since(asleep_at + ahead_s, awake_at)

    print(f"wrote for {written_s:.3f} s after it woke")
    if rule is None:
        within(written_s, NOTICED_S + THAW_S)
    else:
        assert written_s > NOTICED_S + THAW_S
    assert ("this machine was suspended" in site.said()) == (rule is None)
    site.net.heal(SLEEPER)
    # Either of them has the token next.
    eventually(
        lambda: site.group.runs() or site.runs(), START_S, lambda: f"somebody runs: {site.said()}"
    )


def test_a_machine_that_its_host_stopped_learns_from_the_database(site):
    """Its clocks stood still with it: only a notification or a heartbeat's answer tells it."""
    site.hold()
    ahead_s = site.box.offset().ahead_s
    stopped_at = site.box.pause()
    site.group.wait_for_run(after=1)

    site.box.go_on()
    awake_at = site.box.ask("clocks")["boottime"]
    written_s = site.written_since(stopped_at + ahead_s, awake_at)

    print(f"wrote for {written_s:.3f} s after it went on")
    within(written_s, HEARTBEAT_S + THAW_S)
    eventually(site.stands_by, START_S, lambda: f"a standby again: {site.said()}")
    assert [run.term for run in site.group.runs()] == [2]
    assert site.box.offset().ahead_s < ahead_s - LIVENESS_S / 2  # they did stand still


@pytest.mark.parametrize("stepped_s", [0.0, 1.5])
def test_what_a_sleep_is_counted_for_is_wrong_by_no_more_than_the_rules_allow(site, stepped_s):
    """T6: a kernel that wakes reads a clock of whole seconds, and corrects by its wall clock."""
    wrong = []
    for _ in range(6):
        site.box.ask("step", seconds=stepped_s)
        before = site.box.offset()
        site.box.suspend()
        threading.Event().wait(1.2)
        site.box.wake()
        wrong.append(before.ahead_s - site.box.offset().ahead_s)
        print(f"stepped by {stepped_s:g} s, then {wrong[-1]:+.2f} s of sleep not counted")

    assert all(abs(lost_s) < SLEEP_WRONG_S for lost_s in wrong)
    assert (max(wrong) > 1.0) == (stepped_s > 1.0)
