"""The plan: faults, their number and ground, and the promises that hold under each."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from tests.faults.campaign import (
    clock_faults,
    database_faults,
    failover_faults,
    foil_faults,
    grounds,
    hostile_faults,
    network_faults,
    process_faults,
    schedule_faults,
    wrecked_faults,
)
from tests.faults.campaign.ground import Ground
from tests.faults.campaign.history import News
from tests.faults.campaign.limits import (
    BOUND_S,
    FAILOVER_BOUND_S,
    WRECKED_BOUND_S,
)

MakeGround = Callable[[Path, random.Random], AbstractContextManager[Ground]]

GROUNDS: dict[str, MakeGround] = {
    "plain": grounds.plain,
    "logged": grounds.logged,
    "hostile": grounds.hostile,
    "wrecked": grounds.wrecked,
    "proxied": grounds.proxied,
    "networked": grounds.networked,
    "synchronous": partial(grounds.replicated, sync=True),
    "asynchronous": partial(grounds.replicated, sync=False),
    "clocked": grounds.clocked,
    "origin": foil_faults.origin,
}
#: So many faults meet one and the same group; the next ones a fresh one.
PER_GROUP = {"synchronous": 4, "asynchronous": 4, "networked": 10}
PER_GROUP_ELSE = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row of the table."""

    name: str
    ground: str
    inject: Callable[[Ground], None]
    long: int  #: times in the long form
    short: int  #: times in the short form
    bound_s: float = BOUND_S
    unpromised: Literal["", "both", "forgotten"] = (
        ""  #: reason for which zero overlaps are not promised, if so
    )
    news: News = "prompt"
    ours: bool = True  #: False for the foil, of which nothing is promised

    @property
    def one_runner(self) -> bool:
        """True when zero overlaps are promised."""
        return self.ours and not self.unpromised


def _stop(who: str, length: str, for_s: float, *, long: int, short: int) -> Fault:
    inject = process_faults.stop_one(who, for_s)
    if who == "program":
        inject = process_faults.stop_program(for_s)
    name = f"SIGSTOP of the {who}, {length}"
    return _plain(name, inject, long, short, news="held")


def _plain(
    name: str,
    inject: Callable[[Ground], None],
    long: int,
    short: int,
    *,
    news: News = "prompt",
) -> Fault:
    return Fault(
        name=name,
        ground="plain",
        inject=inject,
        long=long,
        short=short,
        news=news,
    )


ORIGIN_RACE = "origin's pattern: token row locked while a takeover is due"
ORIGIN_PAUSE = "origin's pattern: SIGSTOP of the holder, longer than W"
SHORT, LONG = process_faults.SHORT_S, process_faults.LONG_S

STOP, KILL = signal.SIGSTOP, signal.SIGKILL
#: Two and three faults of one node's processes at the same moment: one process is left.
SEVERAL: dict[str, tuple[tuple[int, str], ...]] = {
    "SIGSTOP of guardian and agent": ((STOP, "guardian"), (STOP, "agent")),
    "SIGSTOP of the guardian, kill -9 of the agent": ((STOP, "guardian"), (KILL, "agent")),
    "kill -9 of the agent, SIGSTOP of the guardian": ((KILL, "agent"), (STOP, "guardian")),
    "kill -9 of the guardian, SIGSTOP of the agent": ((KILL, "guardian"), (STOP, "agent")),
    "kill -9 of guardian and agent": ((KILL, "guardian"), (KILL, "agent")),
    "kill -9 of the guardian, SIGSTOP of the spare": ((KILL, "guardian"), (STOP, "spare")),
    "SIGSTOP of guardian and spare": ((STOP, "guardian"), (STOP, "spare")),
    "SIGSTOP of agent and spare": ((STOP, "agent"), (STOP, "spare")),
    "kill -9 of agent and spare": ((KILL, "agent"), (KILL, "spare")),
    "SIGSTOP of guardian and agent, kill -9 of the agent": (
        (STOP, "guardian"),
        (STOP, "agent"),
        (KILL, "agent"),
    ),
}


def _several(name: str, faults: tuple[tuple[int, str], ...]) -> Fault:
    inject = process_faults.several(faults, LONG)
    return Fault(
        name=name,
        ground="logged",
        inject=inject,
        long=16,
        short=0,
        news="held",
    )


def _stuck(name: str, then: Callable[[Ground], None], *, short: int) -> Fault:
    return Fault(
        name=f"log stuck, {name}",
        ground="logged",
        inject=process_faults.with_stuck_log(then),
        long=16,
        short=short,
        news="held",
    )


def _network(name: str, inject: Callable[[Ground], None]) -> Fault:
    return Fault(
        name=name,
        ground="networked",
        inject=inject,
        long=24,
        short=0,
        news="sent again",
    )


def _hostile(name: str, settings: hostile_faults.Settings, *, short: int = 0) -> Fault:
    inject = hostile_faults.under(settings)
    return Fault(
        name=f"hostile settings: {name}", ground="hostile", inject=inject, long=24, short=short
    )


def _wrecked(
    name: str, statement: str, *, short: int = 0, unpromised: Literal["", "forgotten"] = ""
) -> Fault:
    return Fault(
        name=f"rows wrecked: {name}",
        ground="wrecked",
        inject=wrecked_faults.wreck(statement),
        long=24,
        short=short,
        bound_s=WRECKED_BOUND_S,
        unpromised=unpromised,
    )


FAULTS: tuple[Fault, ...] = (
    _plain("kill -9 of the whole node", process_faults.kill_node, 110, 4),
    _plain("kill -9 of the guardian", process_faults.kill_guardian, 110, 4),
    _plain("kill -9 of the agent", process_faults.kill_agent, 110, 4),
    _plain("kill -9 of the program", process_faults.kill_program, 100, 4),
    _stop("guardian", "0.4 leases", SHORT, long=50, short=3),
    _stop("agent", "0.4 leases", SHORT, long=50, short=3),
    _stop("program", "0.4 leases", SHORT, long=50, short=3),
    _stop("guardian", "longer than W", LONG, long=32, short=1),
    _stop("agent", "longer than W", LONG, long=32, short=1),
    _stop("program", "longer than W", LONG, long=24, short=1),
    # Not in the short form, which runs beside other tests: how soon a woken guardian kills is the
    # scheduler's to say.
    _plain(
        "SIGSTOP of the whole node, 3 leases",
        process_faults.freeze_node,
        60,
        0,
        news="held",
    ),
    _plain("SIGTERM: graceful stop", process_faults.leave, 100, 4),
    _plain("SIGUSR1: the holder resigns", process_faults.resign, 110, 4),
    _plain("holder's session terminated", database_faults.terminate_session, 120, 5),
    _plain("kill -9 of a backend", database_faults.kill_backend, 50, 2),
    _plain("kill -9 of the postmaster, restart", database_faults.kill_postmaster, 50, 2),
    _plain("immediate restart of the database", database_faults.restart_immediately, 50, 2),
    _plain(
        "database down for two leases",
        database_faults.outlast_lease,
        30,
        1,
    ),
    _plain(
        "SIGSTOP of the database, two leases",
        database_faults.freeze_server,
        30,
        1,
        news="held",
    ),
    _plain(
        "token row locked while a takeover is due",
        database_faults.lock_token,
        40,
        1,
        news="held",
    ),
    _plain("fenced transaction frozen by its client", database_faults.freeze_fenced, 50, 2),
    _plain(
        "connection slots exhausted",
        database_faults.exhaust_connections,
        20,
        1,
    ),
    *(_several(name, faults) for name, faults in SEVERAL.items()),
    _stuck("kill -9 of the agent", process_faults.kill_agent, short=1),
    _stuck("SIGSTOP of the agent", process_faults.stop_one("agent", LONG), short=0),
    _stuck("SIGSTOP of the guardian", process_faults.stop_one("guardian", LONG), short=0),
    _stuck("session terminated", database_faults.terminate_session_unheard, short=1),
    _hostile("styles, time zone, encoding, quoting", hostile_faults.STYLES),
    _hostile("search_path with functions of strangers", hostile_faults.SEARCH_PATH, short=1),
    _hostile("synchronous_commit off", hostile_faults.DURABILITY),
    _hostile("transactions read-only, serializable", hostile_faults.TRANSACTIONS, short=1),
    _hostile("limits of 5 ms for statements, 1 ms for locks", hostile_faults.LIMITS),
    _hostile("idle sessions end within half a heartbeat", hostile_faults.IDLE),
    _wrecked("the token's row deleted", wrecked_faults.TOKEN, short=1),
    _wrecked("the holder's node deleted", wrecked_faults.HOLDERS_NODE),
    _wrecked("all nodes deleted", wrecked_faults.NODES),
    _wrecked("the group's record deleted", wrecked_faults.RECORD),
    _wrecked("the database's epochs deleted", wrecked_faults.EPOCHS),
    _wrecked("all tables but the history truncated", wrecked_faults.ALL_BUT_HISTORY, short=1),
    _wrecked(
        "the token's row deleted with its history",
        wrecked_faults.TOKEN_AND_HISTORY,
        unpromised="forgotten",
    ),
    _wrecked("all tables truncated", wrecked_faults.ALL, unpromised="forgotten"),
    _network("network cut", network_faults.cut),
    _network("network one-way: answers lost", network_faults.cut_answers),
    _network("machine dies half-open", network_faults.half_open),
    _network("network flaps", network_faults.flap),
    Fault(
        name="path stalls",
        ground="proxied",
        inject=network_faults.stall,
        long=40,
        short=1,
        news="held",
    ),
    Fault(
        name="path slower by 120 ms",
        ground="proxied",
        inject=network_faults.delay,
        long=30,
        short=1,
    ),
    Fault(
        name="connections reset (RST)",
        ground="proxied",
        inject=network_faults.reset,
        long=60,
        short=3,
    ),
    Fault(
        name="failover, synchronous",
        ground="synchronous",
        inject=failover_faults.promote_synchronous,
        long=24,
        short=0,
        bound_s=FAILOVER_BOUND_S,
    ),
    Fault(
        name="failover, asynchronous, last takeover lost",
        ground="asynchronous",
        inject=failover_faults.promote_without_last_takeover,
        long=24,
        short=0,
        bound_s=FAILOVER_BOUND_S,
    ),
    Fault(
        name="failover, asynchronous, both primaries alive",
        ground="asynchronous",
        inject=failover_faults.promote_beside_old,
        long=12,
        short=0,
        bound_s=FAILOVER_BOUND_S,
        unpromised="both",
    ),
    _plain("wall clock stepped under a schedule", schedule_faults.step_under_schedule, 16, 1),
    Fault(
        name="wall clock of a node stepped by ±1 h",
        ground="clocked",
        inject=clock_faults.step,
        long=50,
        short=0,
    ),
    Fault(
        name="clock rates 0.9, 1.0, 1.1; path stalls",
        ground="clocked",
        inject=clock_faults.stall_at_wrong_rates,
        long=40,
        short=0,
        news="held",
    ),
    Fault(
        name=ORIGIN_RACE,
        ground="origin",
        inject=foil_faults.simultaneous_takeover,
        long=20,
        short=1,
        ours=False,
    ),
    Fault(
        name=ORIGIN_PAUSE,
        ground="origin",
        inject=foil_faults.paused_holder,
        long=20,
        short=1,
        ours=False,
    ),
)


@dataclass(frozen=True, slots=True)
class Shift:
    """The faults that one group will meet, in this order."""

    ground: str
    seed: str
    faults: tuple[Fault, ...]


def shifts(*, long: bool, seed: int, only: str = "", at_most: int | None = None) -> list[Shift]:
    """Deal the faults out to groups, each at most so often; the same seed deals the same."""
    planned: list[Shift] = []
    for ground in GROUNDS:
        faults = [
            fault
            for fault in FAULTS
            for _ in range(fault.long if long else fault.short)[:at_most]
            if fault.ground == ground and only in fault.name
        ]
        random.Random(f"{seed}/{ground}").shuffle(faults)
        size = PER_GROUP.get(ground, PER_GROUP_ELSE if long else 22)
        planned += [
            Shift(ground, f"{seed}/{ground}/{first}", tuple(faults[first : first + size]))
            for first in range(0, len(faults), size)
        ]
    # The longest first, so that no lane works alone at the end.
    return sorted(planned, key=lambda shift: -len(shift.faults))
