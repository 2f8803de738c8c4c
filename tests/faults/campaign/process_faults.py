"""Faults of processes: killed, stopped, asked to leave."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from tests.faults.campaign.ground import Ground
from tests.faults.campaign.limits import LEASE_S, LIVENESS_S
from tests.support.nodes.logs import Tap
from tests.support.nodes.processes import descendants

Inject = Callable[[Ground], None]
#: Shorter than a lease, and surely longer than the others wait.
SHORT_S, LONG_S = 0.4 * LEASE_S, LIVENESS_S + 0.7


def kill_node(ground: Ground) -> None:
    """Kill every process of a node at one moment, as when its machine loses power."""
    holding = ground.holder()
    name = ground.victim()
    node = ground.node(name)
    node.send(signal.SIGKILL, "all")
    node.process.wait(5)
    if name == holding.node:
        ground.wait_for_run(after=holding.term)


def kill_guardian(ground: Ground) -> None:
    name = ground.victim()
    node = ground.node(name)
    node.send(signal.SIGKILL, "guardian")
    node.process.wait(5)


def kill_agent(ground: Ground) -> None:
    """Kill the agent; another process of its node ends its session."""
    name = ground.victim()
    before = ground.live().get(name)
    ground.node(name).send(signal.SIGKILL, "agent")
    ground.wait(lambda: _other_session(ground, name, before), f"{name} has another session")


def _other_session(ground: Ground, name: str, before: tuple[str, int] | None) -> bool:
    now = ground.live().get(name)
    return now is not None and before is not None and now[0] != before[0]


def kill_program(ground: Ground) -> None:
    """Kill the program's first process; the guardian has to kill the rest."""
    holding = ground.holder()
    ground.node(holding.node).send(signal.SIGKILL, "program")
    ground.wait_for_run(after=holding.term)


def stop_one(who: str, for_s: float) -> Inject:
    """SIGSTOP the guardian or the agent of a node, and SIGCONT after so many seconds."""

    def inject(ground: Ground) -> None:
        holding = ground.holder()
        name = ground.victim()
        pid = ground.node(name).pid_of(who)
        os.kill(pid, signal.SIGSTOP)
        try:
            ground.pass_time(for_s)
            if name == holding.node and for_s > LIVENESS_S:
                ground.wait_for_run(after=holding.term)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    return inject


def several(faults: tuple[tuple[int, str], ...], for_s: float) -> Inject:
    """Signal several processes of a node at one moment; wake after so long what was stopped."""

    def inject(ground: Ground) -> None:
        holding = ground.holder()
        name = ground.victim()
        node = ground.node(name)
        pids = {who: node.pid_of(who) for _, who in faults}
        for signum, who in faults:
            with suppress(ProcessLookupError):
                os.kill(pids[who], signum)
        try:
            if name == holding.node:
                ground.wait_for_run(after=holding.term)
            ground.pass_time(for_s)
        finally:
            for pid in pids.values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    return inject


def with_stuck_log(then: Inject) -> Inject:
    """Let the holder's log take nothing any more, and then something that it would tell of."""

    def inject(ground: Ground) -> None:
        tap = ground.parts[ground.holder().node]
        assert isinstance(tap, Tap)
        share, ground.holder_share = ground.holder_share, 1.0
        tap.stop()
        try:
            then(ground)
            ground.pass_time(LEASE_S)
        finally:
            ground.holder_share = share
            tap.go_on()

    return inject


def stop_program(for_s: float) -> Inject:
    """SIGSTOP every process of the program: its node goes on holding. SIGCONT later."""

    def inject(ground: Ground) -> None:
        name = ground.holder().node
        program = ground.node(name).pid_of("program")
        wake = ground.stop_still(name, [program, *descendants(program)], whole=False)
        try:
            ground.pass_time(for_s)
        finally:
            wake()
        ground.run_on(0.1)

    return inject


def freeze_node(ground: Ground) -> None:
    """The whole node stands still for three leases, as a suspended machine does."""
    holding = ground.holder()
    name = ground.victim()
    wake = ground.freeze(name)
    try:
        ground.pass_time(3 * LEASE_S)
        if name == holding.node:
            ground.wait_for_run(after=holding.term)
    finally:
        wake()


def leave(ground: Ground) -> None:
    """Send SIGTERM to a node: it stops its program, releases, and ends."""
    node = ground.node(ground.victim())
    node.process.terminate()
    node.process.wait(10)


def resign(ground: Ground) -> None:
    """Send SIGUSR1 to the holder: it gives the token away and stays."""
    holding = ground.holder()
    ground.node(holding.node).process.send_signal(signal.SIGUSR1)
    ground.wait_for_run(after=holding.term)
