"""Two and three faults of one node's processes at once: one of the three that is left is enough.

The holder's program ignores SIGTERM and writes when it lives; so does its successor. Rules G5, G7
and G9: whatever was stopped or killed, the program is dead before the next one starts.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from coordinator.runtime.isolation import levels as isolation
from tests.support.machines import narrow
from tests.support.nodes.processes import Bed, RunningNode, descendants, eventually
from tests.support.nodes.record import Interval, overlaps, terms_rise

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

LEVELS = [level.name for level in isolation.available() if level.available]
WHO = ("guardian", "agent", "spare")
SIGNALS = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}
FAULTS = list(itertools.product(SIGNALS, WHO))
Fault = tuple[str, str]
LIMITING = narrow.limiting_parent()
#: State of the holder before its faults: it can make no process, or /proc hides its own.
PLACES = ["no process to spare", "processes hidden"]
#: An old program that is still there has so long to show that it runs beside its successor.
BESIDE_S = 0.7

PAIRS = list(itertools.combinations_with_replacement(FAULTS, 2))
#: Three faults that leave one of the three processes alone.
TRIPLES = [
    faults
    for faults in itertools.combinations_with_replacement(FAULTS, 3)
    if len({who for _, who in faults}) == 2
]
#: One of each kind, for each change.
SOME = [
    (("kill", "agent"), ("stop", "guardian")),
    (("stop", "agent"), ("stop", "guardian")),
    (("stop", "guardian"), ("kill", "agent"), ("stop", "agent")),
]


def named(faults: tuple[Fault, ...]) -> str:
    return ", ".join(" ".join(fault) for fault in faults)


class Holder:
    """The node that holds, and its processes as they were before the first fault."""

    def __init__(self, nodes: Bed, run: Interval) -> None:
        self.run, self.node = run, nodes.nodes[run.node]
        found = eventually(
            lambda: self.node.family() if set(WHO) <= self.node.family().keys() else None,
            15,
            lambda: f"{run.node} is whole{nodes.story()}",
        )
        assert isinstance(found, dict)
        self.pids: dict[str, int] = found
        self._pidfds = [os.pidfd_open(pid) for pid in found.values()]

    def hurt(self, faults: tuple[Fault, ...]) -> None:
        """Inject the faults at one moment; a second one of a process meets its successor."""
        hurt: set[str] = set()
        for what, who in faults:
            pid = self.node.family().get(who) if who in hurt else self.pids[who]
            hurt.add(who)
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, SIGNALS[what])

    def end(self) -> None:
        """End the node, and those of its processes that this test has stopped and orphaned."""
        self.node.end()
        for pidfd in self._pidfds:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)


def deaf_node(nodes: Bed, name: str, level: str, place: str = "") -> RunningNode:
    """Start a node whose program SIGTERM does not end."""
    recorder = nodes.recorder()
    deaf = ("sh", "-c", 'trap "" TERM; "$@" & wait', "sh", *recorder)
    through = narrow.THROUGH["root, still shown"] if place == "processes hidden" else ()
    return nodes.start(name, "--isolation", level, command=deaf, through=through)


@contextmanager
def narrowed(holder: Holder, place: str) -> Iterator[None]:
    """Bring a running node into the narrow place; end it afterwards."""
    guardian = holder.pids["guardian"]
    if place == "processes hidden":
        narrow.hide_processes(guardian)
    with ExitStack() as after:
        if place == "no process to spare":
            assert LIMITING is not None
            limit = narrow.ProcessLimit(LIMITING)
            after.callback(limit.close)
            after.callback(holder.end)
            after.callback(limit.set, None)
            limit.take_in([guardian, *descendants(guardian)])
            limit.set(1)
        else:
            after.callback(holder.end)
        yield


def go_through(nodes: Bed, level: str, cases: list[tuple[Fault, ...]], place: str = "") -> None:
    """Hurt the holder in each of these ways; the other node takes over, and a fresh one joins."""
    for name in ("node-1", "node-2"):
        deaf_node(nodes, name, level, place)
    run = nodes.wait_for_run()
    for faults in cases:
        nodes.wait_for_standbys(1)
        holder = Holder(nodes, run)
        with narrowed(holder, place):
            _hurt_and_take_over(nodes, holder, faults)
        run = nodes.runs()[-1]
        other = next(name for name in ("node-1", "node-2") if name != run.node)
        deaf_node(nodes, other, level, place)
    assert terms_rise(nodes.runs())


def _hurt_and_take_over(nodes: Bed, holder: Holder, faults: tuple[Fault, ...]) -> None:
    holder.hurt(faults)
    successor = next_run(nodes, holder.run, faults)
    run_beside(nodes, successor)
    found = overlaps(nodes.runs())
    assert found == [], f"{named(faults)}: {found}{nodes.story()}"


def next_run(nodes: Bed, run: Interval, faults: tuple[Fault, ...]) -> Interval:
    """Wait for a run under a later term; what harms nothing is followed by an end by hand."""
    if {who for _, who in faults} == {"spare"}:
        nodes.nodes[run.node].send(signal.SIGKILL, "guardian")
    return nodes.wait_for_run(after=run.term, within_s=30)


def run_beside(nodes: Bed, successor: Interval) -> None:
    def long_enough() -> bool:
        now = next(run for run in nodes.runs() if run.term >= successor.term)
        newest = nodes.runs()[-1]
        return newest is not now or now.last - now.first > BESIDE_S

    eventually(long_enough, 15, "the successor runs for a while")


@pytest.mark.parametrize("level", LEVELS[:1])
def test_some_pairs_and_triples_leave_no_program_behind(nodes: Bed, level: str):
    """Rule G9."""
    go_through(nodes, level, list(SOME))


@pytest.mark.long
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("faults", PAIRS, ids=named)
def test_no_pair_leaves_a_program_behind(nodes: Bed, level: str, faults: tuple[Fault, ...]):
    go_through(nodes, level, [faults])


@pytest.mark.long
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("faults", TRIPLES, ids=named)
def test_no_triple_leaves_a_program_behind(nodes: Bed, level: str, faults: tuple[Fault, ...]):
    go_through(nodes, level, [faults])


@pytest.mark.long
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("faults", [*PAIRS, *SOME[2:]], ids=named)
def test_no_pair_in_a_narrow_place_leaves_a_program_behind(
    nodes: Bed, place: str, faults: tuple[Fault, ...]
):
    """Rules G4, G8 and G9 together; level plain, which depends on /proc and on new processes."""
    if place == "no process to spare" and LIMITING is None:
        pytest.skip("no cgroup here limits processes")
    if place == "processes hidden" and not narrow.can("root, still shown"):
        pytest.skip("no /proc with hidepid=2 can be mounted")
    go_through(nodes, "plain", [faults], place)


def test_there_are_21_pairs_and_36_triples():
    assert (len(PAIRS), len(TRIPLES)) == (21, 36)
