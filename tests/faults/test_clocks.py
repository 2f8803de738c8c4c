"""Clocks that are wrong: stepped, fast, slow, and a whole node that stood still.

No wall clock decides anything, and the intervals hold for rates within 10 % of true. The recorder
keeps the machine's own clock, by which overlaps are judged.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time

import pytest

from coordinator.protocol.rules.timing import lease_of
from tests.support.bounds import within
from tests.support.machines.faketime import Clocks, unfaked
from tests.support.networks.stalling_proxy import stalling_proxy
from tests.support.nodes.processes import RECORDER, bed, descendants, eventually
from tests.support.nodes.record import overlaps, terms_rise
from tests.support.servers.postgres import Server

#: Time that two shared cores may add to any bound: scheduling, not the protocol.
MACHINE_S = 1.0
HOUR_S = 3600.0
LIVENESS_S, HEARTBEAT_S = 1.5, 0.3


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def recorder(group) -> tuple[str, ...]:
    """Return a recorder on the true clocks that SIGTERM does not end: it lives to the deadline."""
    deaf = ("/bin/sh", "-c", 'trap "" TERM; exec "$@"', "sh")
    return unfaked(*deaf, sys.executable, "-S", str(RECORDER), str(group.record))


def start(group, name: str, clocks: Clocks, **env: str) -> None:
    group.start(name, command=recorder(group), env={**clocks.env, **env})


def run_on(group, for_s: float) -> None:
    """Wait until the running program has recorded so many seconds more."""
    mark = group.runs()[-1].last
    eventually(lambda: group.runs()[-1].last > mark + for_s, for_s + 5, "the program runs on")


def assert_nothing_happened(group, holder: str) -> None:
    """One holding since the start, and no session lost, neither the holder's nor the standby's."""
    assert [(run.node, run.term) for run in group.runs()] == [(holder, 1)], group.story()
    assert "session is over" not in group.story()
    assert "the database does not answer" not in group.story()


# --- the fake itself ------------------------------------------------------------------------------

PROBE = """
import json, select, threading, time
from coordinator.runtime.linux.syscalls import Alarm
names = ("MONOTONIC", "BOOTTIME", "MONOTONIC_RAW", "REALTIME")
read = lambda: [time.clock_gettime(getattr(time, "CLOCK_" + name)) for name in names]
before = read()
threading.Event().wait(0.3)
alarm = Alarm()
alarm.set(time.clock_gettime(time.CLOCK_BOOTTIME) + 0.3)
select.select([alarm.fileno()], [], [])
select.select([], [], [], 0.3)
select.epoll().poll(0.3)
print(json.dumps([after - first for first, after in zip(before, read())]))
"""


@pytest.mark.parametrize("rate", [0.7, 1.4])
def test_on_a_fake_clock_whatever_waits_and_whatever_tells_the_time_agree(rate):
    """Otherwise the tests below would show nothing."""
    env = {**os.environ, **Clocks(rate).env}
    program = [sys.executable, "-c", f"import time\n{PROBE}"]

    took = json.loads(subprocess.run(program, env=env, capture_output=True, check=True).stdout)

    # Four waits of 0.3 s each, by the process's own clocks.
    assert min(took) >= 1.2 - 0.02
    within(max(took), 1.2 + 0.5 * rate)


# --- nothing happens ------------------------------------------------------------------------------


def test_steps_of_a_nodes_wall_clock_by_an_hour_change_nothing(tmp_path, database):
    """T6: forward and back, under the holder and under the standby."""
    with bed(tmp_path, database.conninfo, database.schema) as group:
        group.liveness_s, group.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        clocks = {name: Clocks() for name in ("node-1", "node-2")}
        for name, own in clocks.items():
            start(group, name, own)
        first = group.wait_for_run()
        group.wait_for_standbys(1)

        for own in clocks.values():
            for step_s in (HOUR_S, -HOUR_S, 0.0):
                own.step(step_s)
                run_on(group, 1.5 * HEARTBEAT_S)

        run_on(group, LIVENESS_S)
        assert_nothing_happened(group, first.node)


@pytest.fixture
def server_clocks(monkeypatch):
    clocks = Clocks()
    monkeypatch.setenv("COORD_PG_BINDIR", str(clocks.programs()))
    return clocks


def test_steps_of_the_servers_wall_clock_by_an_hour_change_nothing(tmp_path, server_clocks):
    """O1: what the server calls the time is shown to people, and decides nothing."""
    server = Server.create()
    try:
        with bed(tmp_path, server.conninfo(), "public") as group:
            group.liveness_s, group.heartbeat_s = LIVENESS_S, HEARTBEAT_S
            for name in ("node-1", "node-2"):
                group.start(name)
            first = group.wait_for_run()
            group.wait_for_standbys(1)

            for step_s in (HOUR_S, -HOUR_S, 0.0):
                server_clocks.step(step_s)
                ((now,),) = server.query("SELECT extract(epoch FROM clock_timestamp())::float8")
                assert abs(now - time.time() - step_s) < 60
                run_on(group, 2 * HEARTBEAT_S)

            assert_nothing_happened(group, first.node)
            server_clocks.step(-HOUR_S)
            group.nodes[first.node].send(signal.SIGKILL, "all")
            dead_at = boottime()
            second = group.wait_for_run(after=first.term)
            waited_s = second.first - dead_at
            within(waited_s, LIVENESS_S + HEARTBEAT_S + 0.1 + MACHINE_S)
            assert overlaps(group.runs()) == []
    finally:
        server.remove()


def test_clocks_that_run_wrong_by_half_a_percent_change_nothing(tmp_path, monkeypatch):
    """Two nodes and the server, apart by a minute to begin with, and by more every second."""
    monkeypatch.setenv("COORD_PG_BINDIR", str(Clocks(1.005).programs()))
    server = Server.create()
    try:
        with bed(tmp_path, server.conninfo(), "public") as group:
            group.liveness_s, group.heartbeat_s = LIVENESS_S, HEARTBEAT_S
            start(group, "node-1", Clocks(0.995))
            start(group, "node-2", Clocks(1.005))
            first = group.wait_for_run()
            group.wait_for_standbys(1)

            run_on(group, 1.5 * LIVENESS_S)

            assert_nothing_happened(group, first.node)
    finally:
        server.remove()


# --- the rates that the intervals are made for ----------------------------------------------------


@pytest.mark.parametrize(("holder", "watcher"), [(1.1, 1.0), (0.9, 1.1)])
def test_no_overlap_at_the_limits_of_the_rates(tmp_path, database, holder, watcher):
    """T1: the program of a slow holder is dead before a fast watcher has waited long enough.

    The second pair is the worst that the intervals are made for: both wrong at the same time.
    """
    with (
        stalling_proxy(database.conninfo) as proxy,
        bed(tmp_path, database.conninfo, database.schema) as group,
    ):
        group.liveness_s, group.heartbeat_s = LIVENESS_S, HEARTBEAT_S
        start(group, "node-1", Clocks(holder), COORD_DATABASE_URL=proxy.conninfo)
        first = group.wait_for_run()
        start(group, "node-2", Clocks(watcher))
        group.wait_for_standbys(1)

        # Its network goes: the agent and the guardian each know when trust ends.
        proxy.stall()
        second = group.wait_for_run(after=first.term)
        proxy.resume()
        came_back = f"standby (node-2 active, term {second.term})"
        eventually(lambda: came_back in group.nodes["node-1"].said(), 10, group.story())
        group.nodes["node-2"].process.send_signal(signal.SIGUSR1)
        third = group.wait_for_run(after=second.term)
        assert third.node == "node-1"
        run_on(group, 4 * HEARTBEAT_S)  # until who resigned may take again
        # Its agent freezes: the guardian alone knows.
        group.nodes["node-1"].send(signal.SIGSTOP, "agent")
        fourth = group.wait_for_run(after=third.term)

        runs = {run.term: run for run in group.runs()}
        margins = [
            later.first - runs[earlier.term].last
            for earlier, later in ((first, second), (third, fourth))
        ]
        print(f"\nrates {holder}, {watcher}: dead", end=" ")
        print(" and ".join(f"{margin:.3f} s" for margin in margins), "before the next began")
        group.nodes["node-1"].send(signal.SIGCONT, "agent")
        assert (second.node, fourth.node) == ("node-2", "node-2")
        assert min(margins) > 0
        assert overlaps(group.runs()) == [], group.story()
        assert terms_rise(group.runs())


# --- suspend --------------------------------------------------------------------------------------

SUSPENDED = tuple(f"node-{number}" for number in range(1, 7))
#: Median and worst case of what a program may still do; the machine has two shared cores.
WOKEN_S = 0.05
WOKEN_MAX_S = 0.5


def test_a_node_that_stood_still_for_three_leases_wakes_up_dead(tmp_path, database):
    """T6: all of its processes go on at the same moment, and the guardian has to be the first."""
    with bed(tmp_path, database.conninfo, database.schema) as group:
        group.liveness_s, group.heartbeat_s = 1.2, 0.3
        for name in SUSPENDED:
            group.start(name, env={"COORD_GROUP_ID": name})
        eventually(
            lambda: len(group.runs()) == len(SUSPENDED), 15, lambda: f"all run{group.story()}"
        )

        families = {name: stop_still(group.nodes[name]) for name in SUSPENDED}
        stopped_at = boottime()
        eventually(lambda: boottime() > stopped_at + 3 * lease_of(1.2), 10, "three leases")
        woken_s = sorted(woken(group, name, family) for name, family in families.items())

        shown = ", ".join(f"{each * 1000:.0f}" for each in woken_s)
        print(f"\nafter SIGCONT the programs went on for {shown} ms")
        within(statistics.median(woken_s), WOKEN_S, "median of all nodes")
        within(woken_s[-1], WOKEN_MAX_S)


def stop_still(node) -> list[int]:
    """SIGSTOP every process of a node at once, as a suspend does."""
    family = [node.process.pid, *descendants(node.process.pid)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    return family


def woken(group, name: str, family: list[int]) -> float:
    """Wake a node, the program first; return for how long the program went on."""
    pid = next(run.pid for run in group.runs() if run.node == name)
    woken_at = boottime()
    for each in reversed(family):
        os.kill(each, signal.SIGCONT)
    eventually(lambda: "the program ended" in group.nodes[name].said(), 5, group.story())
    last = max(run.last for run in group.runs() if run.pid == pid)
    return max(0.0, last - woken_at)
