"""Making things go wrong in a world, as a plan says.

Not simulated, because it is not promised: two primaries that both acknowledge; two processes of
one node failing at the same time while the node itself lives on (its supervisor's work), but for a
guardian that stands still beside an agent that does so too, or is dead (rule G9); a clock outside
of RATE_ERROR. A promotion by mistake is mended only when the leases that it granted are over, or
while every node has seen it, and keeps in mind what it saw; and beside a primary on its first
branch that no standby was seen to follow, whose terms come from no clock, only while every node has
seen it and a live one remembers the highest granted term: that is spared until it has told the
database (docs/protocol.md, rule N3), and no node that knows nothing starts before.
Nor a rollback that loses nothing which was acknowledged to a node that would prove the restart.
What Server.must_know says.
"""

from __future__ import annotations

import signal

from coordinator.protocol.rules.timing import RATE_ERROR
from tests.simulation.group import faults as group_faults
from tests.simulation.group.stories import LOSING, RECORD_KINDS, STALLING
from tests.simulation.plans.stories import ANY, BASE_KINDS, HOLDER, PROCESS_KINDS, Fault
from tests.simulation.world.agent import Agent
from tests.simulation.world.guardian import Guardian
from tests.simulation.world.host import Host
from tests.simulation.world.settings import GROUP
from tests.simulation.world.world import World

#: Time for which a database is away that was promoted by mistake and is thrown away.
MENDING_S = 0.2
#: Faults after which a node knows nothing of what it has seen: a spare follows a silent agent, too.
FORGETTING_KINDS = ("crash", "stop", "leave", *PROCESS_KINDS)


def schedule(world: World, faults: list[Fault]) -> None:
    """Put the faults, and the backups that they need, into the world's queue."""
    for fault in faults:
        world.at(fault.at, apply, world, fault)
        if fault.kind in ("failover", "restore", "restore_same", "rollback", "mistake"):
            world.at(max(0.0, fault.at - fault.back_s), world.server.keep, fault.mark)


def apply(world: World, fault: Fault) -> None:
    if fault.kind in RECORD_KINDS:
        done, who = group_faults.to_the_record(world, fault), "record"
    elif fault.kind == STALLING:
        world.stalling[fault.target] = fault.for_s
        done, who = True, "question"
    elif fault.kind == LOSING:
        world.losing[fault.target] = lambda: _lose_from_here(world, fault)
        done, who = True, "database"
    elif fault.kind in BASE_KINDS:
        done = _to_the_database(world, fault)
        who = "database"
    else:
        host = _target(world, fault.target)
        spared = host is world.keeper or (
            world.now < world.spared_until and fault.kind in FORGETTING_KINDS
        )
        done = not spared and _to_a_node(host, fault)
        who = host.name
    if done:
        world.history.faults.append(f"{world.now:.3f} {fault.kind} {who} {fault.for_s:.2f} s")
    world.history.note(world.now, "fault", fault.kind, who, done)


def _lose_from_here(world: World, fault: Fault) -> None:
    """Let the database fail over soon, and forget everything from this moment on."""
    world.server.keep(-fault.mark)
    failover = Fault(world.now + fault.for_s, "failover", for_s=0.1, mark=-fault.mark)
    if failover.at < world.calm_at:
        world.at(failover.at, apply, world, failover)


def _target(world: World, target: str) -> Host:
    named = next((host for host in world.hosts if host.name == target), None)
    if named is not None:
        return named
    holder = world.holder()
    worker = group_faults.target(world, target)
    if worker is not None:
        return worker
    if target == HOLDER and holder is not None:
        return holder
    others = [host for host in world.hosts if host is not holder or target == ANY]
    return world.rng.choice(others or world.hosts)


def _to_a_node(host: Host, fault: Fault) -> bool:
    """Do it, unless the node is down, or another of its processes already fails."""
    agent, guardian = host.agent, host.guardian
    if agent is None or guardian is None:
        return False
    if fault.kind in PROCESS_KINDS:
        if agent.frozen or guardian.frozen:
            return False
        _to_a_process(host, agent, guardian, fault)
    elif fault.kind in ("cut", "cut_answers", "late_answers"):
        _to_the_way(host, fault)
    else:
        _to_the_whole(host, fault)
    return True


def _to_a_process(host: Host, agent: Agent, guardian: Guardian, fault: Fault) -> None:
    match fault.kind:
        case "crash_agent":
            host.crash_agent()
        case "crash_guardian":
            host.crash_guardian()
        case "freeze_agent":
            host.freeze_process(agent, fault.for_s)
        case "freeze_guardian":
            host.freeze_process(guardian, fault.for_s)
        case "freeze_both":
            host.freeze_process(guardian, fault.for_s)
            host.freeze_process(agent, fault.for_s)
        case "freeze_guardian_crash_agent":
            host.freeze_process(guardian, fault.for_s)
            host.crash_agent()
        case "crash_agent_freeze_guardian":
            host.crash_agent()
            host.soon(0.02, host.freeze_process, guardian, fault.for_s)
        case "freeze_to_the_end":
            # Thawed when the program is about to be stopped: a renewal in the last moment.
            stop_at = agent.node.trusted_until - agent.node.timing.last_stop_s(
                agent.node.timing.stop_timeout_s
            )
            left_s = host.true(stop_at) - host.world.now - host.world.rng.random() ** 2
            host.freeze_process(agent, max(0.1, left_s))
        case _:
            raise AssertionError(fault)


def _to_the_way(host: Host, fault: Fault) -> None:
    end = host.world.now + fault.for_s
    if fault.kind == "late_answers":
        host.late_until = end
        return
    host.cut, host.cut_until = ("both" if fault.kind == "cut" else "answers"), end
    host.world.at(end, host.mend)


def _to_the_whole(host: Host, fault: Fault) -> None:
    match fault.kind:
        case "crash":
            host.crash(fault.for_s)
        case "freeze":
            host.freeze(fault.for_s)
        case "exit":
            host.programs.exit()
        case "hang":
            host.programs.exit(hang=True)
        case "freeze_at_start":
            host.programs.freeze_at_start_s = fault.for_s
        case "leave":
            host.away_until = host.world.now + fault.for_s
            host.signal(signal.SIGTERM)
        case "stop":
            host.signal(signal.SIGTERM)
        case "resign":
            host.signal(signal.SIGUSR1)
        case _:
            raise AssertionError(fault)


def _to_the_database(world: World, fault: Fault) -> bool:
    server = world.server
    if fault.kind == "slow":
        world.slow_until, world.slow_s = world.now + 4 * fault.for_s, 0.4
        return True
    if not server.up:
        return False
    if fault.kind == "mistake":
        server.promote_by_mistake(fault.mark)
        end = max(0.0, fault.for_s - MENDING_S)
        world.at(world.now + end, _mend, world)
        _hang_up(world)
        return True
    if server.aside is not None and fault.kind not in ("outage", "slow"):
        return False
    server.up = False
    server.silent = world.rng.random() < 0.5
    world.at(world.now + fault.for_s, _back, world, fault)
    return True


def _back(world: World, fault: Fault) -> None:
    """The database answers again: the same, restarted, or one that has forgotten something."""
    server = world.server
    match fault.kind:
        case "outage":
            pass
        case "restart":
            server.restart()
        case "failover" | "restore":
            server.promote(fault.mark)
        case "restore_same":
            server.promote(fault.mark, same_number=True)
        case "rollback":
            if _loses_beats(world, fault.mark):
                server.roll_back(fault.mark)
            else:
                server.restart()
        case _:
            assert fault.kind == "mend"
            keeper = _who_remembers(world) if server.counts_terms() and _all_know(world) else None
            if server.counts_terms() and server.granted_max and keeper is None:
                server.stays()
                server.restart()
            else:
                server.mend()
                world.keeper = None if server.floor_is_kept() else keeper
    server.up = True
    if fault.kind != "outage":
        _hang_up(world)


def _mend(world: World) -> None:
    """Throw away what was promoted by mistake, when nobody can be hurt who knows nothing of it."""
    server, lasts_s = world.server, MENDING_S
    if server.aside is None or not server.up:
        server.stays()
        return
    longest_s = world.settings.longest_liveness_s
    if not _all_know(world):
        lasts_s = longest_s
    if world.now + lasts_s > world.calm_at:
        server.stays()
        return
    world.spared_until = world.now + lasts_s + longest_s / (1 - RATE_ERROR)
    server.up = False
    world.at(world.now + lasts_s, _back, world, Fault(world.now, "mend"))


def _all_know(world: World) -> bool:
    """Say whether each node has seen the branch that the database is on now, and stays as it is."""
    now = world.server.identity
    for host in world.hosts:
        stays = host.agent is not None and not host.agent.frozen
        seen = host.agent.node.epoch if stays and host.agent else None
        latest = None if seen is None else seen.latest
        if latest is None or latest.identity.started_at != now.started_at:
            return False
        if host.agent is None or not host.agent.runs:
            return False  # it may be killed for standing still, and its successor knows nothing
    return True


def _loses_beats(world: World, mark: int) -> bool:
    """Say whether each node that would prove a restart in place finds that it was none."""
    for host in world.hosts:
        agent = host.agent
        if agent is None or not agent.node.beats:
            continue
        if not world.server.loses_beats_of(mark, GROUP, host.name, agent.node.beats):
            return False
    return True


def _who_remembers(world: World) -> Host | None:
    """Return a node that will tell the database the highest term that was ever granted."""
    for host in world.hosts:
        agent, guardian = host.agent, host.guardian
        if agent is None or guardian is None or host.cut:
            continue
        stays = agent.runs and guardian.runs and agent.node.leaving is None
        if stays and agent.node.remembered >= world.server.granted_max:
            return host
    return None


def _hang_up(world: World) -> None:
    """Most idle connections learn at once that their server is gone; a pooler tells nobody."""
    if world.server.pooled:
        return
    for host in world.hosts:
        agent = host.agent
        if agent is None or agent.line is None or world.rng.random() < 0.3:
            continue
        delay_s = world.way_s(host, "answer")
        if delay_s is not None:
            raced = world.rng.random() < 0.1
            world.at(world.now + delay_s, agent.deliver, agent.hung_up, agent.line, raced)
