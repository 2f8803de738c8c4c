"""A swarm: one process that plays many protocol-true nodes. For load only: it guards no program.

usage: python -m bench.swarm CONNINFO SCHEMA GROUP NODES HEARTBEAT_S LIVENESS_S
           [--threads 4] [--first 0] [--per-group N] [--shard K --shards M]

It writes "ready" when every node has joined and beats. To each line of its stdin it answers with a
line of JSON: what happened since it was asked last. It ends when its stdin does.

Each node is the real machine of coordinator/protocol on a real connection of its own; what is
played is the loop around it: a few threads, each of which carries its nodes' requests itself.
Where several of these processes make up one swarm, each counts its nodes from --first on; where
its groups are spread over several databases, each plays those of NODES whose group is in its shard.
"""

from __future__ import annotations

import argparse
import heapq
import json
import selectors
import sys
import threading
import uuid
import zlib
from collections import deque
from dataclasses import dataclass, field

from coordinator.errors import CoordError
from coordinator.ports import StoreConnection
from coordinator.protocol.messages.requests import Beat, NodeFacts, Request
from coordinator.protocol.node.events import (
    Answered,
    Ask,
    Event,
    Failed,
    KillProgram,
    Notified,
    ProgramEnded,
    Reconnect,
    StopProgram,
    Ticked,
)
from coordinator.protocol.node.machine import step, wake_at
from coordinator.protocol.node.state.node import Node, Policy
from coordinator.protocol.rules.timing import Timing
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.store.connection.postgres import PostgresStore

SLEEP_MAX_S = 0.5
READY_MAX_S = 300.0
now = BoottimeClock().now


@dataclass
class Player:
    """One node: its machine, its store, its connection; the program is a thought.

    waits, trips: of each acknowledged heartbeat, the seconds from the moment at which it was due to
    that at which it was sent, which are this process's own lateness, and from there to the answer.
    """

    node: Node
    store: PostgresStore
    connection: StoreConnection | None = None
    due_at: float = float("-inf")
    failures: int = 0
    joined: threading.Event = field(default_factory=threading.Event)
    owed_at: float | None = (
        None  #: moment at which the heartbeat that is not acknowledged yet was due
    )
    waits: list[float] = field(default_factory=list)
    trips: list[float] = field(default_factory=list)

    def feed(self, event: Event) -> None:
        """Step the machine and obey it until it wants nothing more."""
        waiting: deque[Event] = deque([event])
        while waiting:
            beat_at = self.node.beat_at
            self.node, commands = step(self.node, waiting.popleft())
            for command in commands:
                match command:
                    case Ask(request):
                        waiting.append(self._ask(request, beat_at))
                    case StopProgram(run) | KillProgram(run):
                        waiting.append(ProgramEnded(now(), run, 0, "stopped"))
                    case Reconnect():
                        self.drop()
                    case _:
                        pass
        if self.node.session is not None and self.node.beat_count:
            self.joined.set()
        self.due_at = wake_at(self.node, now())

    def hear(self) -> None:
        """Take in what the database pushed."""
        try:
            heard = self.connection is not None and self.connection.heard()
        except CoordError as error:
            self.drop()
            self.feed(Failed(now(), None, str(error)))
        else:
            if heard:
                self.feed(Notified(now()))

    def drop(self) -> None:
        """Close the connection; the next request makes another."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def _ask(self, request: Request, beat_at: float) -> Event:
        """Ask the database now; a heartbeat that has failed before is still owed since then."""
        timeout_s = self.node.timing.attempt_s
        if isinstance(request, Beat) and self.owed_at is None:
            self.owed_at = beat_at
        try:
            if self.connection is None:
                self.connection = self.store.connect(timeout_s)
            sent_at = now()
            answer = self.connection.ask(request, timeout_s)
        except CoordError as error:
            self.failures += 1
            self.drop()
            return Failed(now(), request, str(error))
        answered_at = now()
        if isinstance(request, Beat):
            # A notification may ask for one before it was due: that is not late.
            self.waits.append(max(0.0, sent_at - (self.owed_at or sent_at)))
            self.trips.append(answered_at - sent_at)
            self.owed_at = None
        return Answered(answered_at, request, answer, sent_at)


def play(players: list[Player], ended: threading.Event) -> None:
    """Play these nodes on this thread until the end."""
    due = [(player.due_at, number) for number, player in enumerate(players)]
    heapq.heapify(due)
    watched: dict[int, StoreConnection] = {}
    with selectors.DefaultSelector() as selector:

        def fed(number: int) -> None:
            """Note when a player is due next, and on which connection it is told something."""
            heapq.heappush(due, (players[number].due_at, number))
            seen, connection = watched.get(number), players[number].connection
            if connection is not seen:
                if seen is not None:
                    selector.unregister(fds.pop(number))
                    del watched[number]
                if connection is not None:
                    fds[number] = connection.fileno()
                    selector.register(fds[number], selectors.EVENT_READ, number)
                    watched[number] = connection

        fds: dict[int, int] = {}
        while not ended.is_set():
            moment = now()
            while due[0][0] <= moment:
                due_at, number = heapq.heappop(due)
                if due_at == players[number].due_at:  # not one that a notification made old
                    players[number].feed(Ticked(moment))
                    players[number].hear()  # what came beside an answer wakes no selector
                    fed(number)
            wait_s = max(0.0, min(due[0][0] - now(), SLEEP_MAX_S))
            for key, _ in selector.select(wait_s):
                players[key.data].hear()
                fed(key.data)
    for player in players:
        player.drop()


def player(conninfo: str, schema: str, group: str, name: str, timing: Timing) -> Player:
    """Make one node that has done nothing yet."""
    facts = NodeFacts(
        node=name,
        group=group,
        liveness_s=timing.liveness_s,
        heartbeat_s=timing.heartbeat_s,
        lease_s=timing.lease_s,
        host="swarm",
    )
    policy = Policy(node=name, group=group, seed=uuid.uuid4().hex)
    return Player(Node(policy=policy, timing=timing), PostgresStore(conninfo, schema, facts))


def told(players: list[Player], began_at: float, joined_at: float) -> str:
    """Return what happened since this was asked last; moments in seconds of CLOCK_BOOTTIME."""
    waits: list[float] = []
    trips: list[float] = []
    failures = 0
    for each in players:
        # Trips first: the thread that plays appends to it last, so no pair is torn apart.
        count = len(each.trips)
        trips += each.trips[:count]
        waits += each.waits[:count]
        del each.trips[:count], each.waits[:count]
        failures += each.failures
    return json.dumps(
        {
            "began_at": began_at,
            "joined_at": joined_at,
            "failures": failures,
            "waits_s": [round(wait, 5) for wait in waits],
            "trips_s": [round(trip, 5) for trip in trips],
        }
    )


def main() -> None:
    """Play, say when everybody is there, answer, and end with stdin."""
    arguments = _arguments()
    timing = Timing(liveness_s=arguments.liveness_s, heartbeat_s=arguments.heartbeat_s)
    players = []
    for number in range(arguments.first, arguments.first + arguments.nodes):
        group = group_of(arguments.group, number, arguments.per_group)
        if shard_of(group, arguments.shards) == arguments.shard:
            name = f"swarm-{number}"
            players.append(player(arguments.conninfo, arguments.schema, group, name, timing))
    ended = threading.Event()
    threads = min(arguments.threads, len(players))  # none where a shard has none of these groups
    workers = [
        threading.Thread(target=play, args=(players[n::threads], ended), name=f"swarm-{n}")
        for n in range(threads)
    ]
    began_at = now()
    for worker in workers:
        worker.daemon = True  # one that is stuck must not keep the process
        worker.start()
    give_up_at = began_at + READY_MAX_S
    for each in players:
        each.joined.wait(max(0.0, give_up_at - now()))
    joined, joined_at = sum(each.joined.is_set() for each in players), now()
    print("ready" if joined == len(players) else f"only {joined} joined", flush=True)
    for _ in sys.stdin:
        print(told(players, began_at, joined_at), flush=True)
    ended.set()
    for worker in workers:
        worker.join(5.0)
    print(f"failures {sum(each.failures for each in players)}", flush=True)


def group_of(group: str, number: int, per_group: int | None) -> str:
    """Return the group of the node of this number: one for all, or one for each so many."""
    return group if per_group is None else f"{group}-{number // per_group}"


def shard_of(group: str, shards: int) -> int:
    """Return which database a group is in: the same on every machine and in every process."""
    return zlib.crc32(group.encode()) % shards


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.swarm", description=__doc__)
    parser.add_argument("conninfo")
    parser.add_argument("schema")
    parser.add_argument("group")
    parser.add_argument("nodes", type=int)
    parser.add_argument("heartbeat_s", type=float)
    parser.add_argument("liveness_s", type=float)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="number of the first node")
    parser.add_argument("--per-group", type=int, help="nodes of a group; default: one group")
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1, help="databases that share the groups")
    return parser.parse_args()


if __name__ == "__main__":
    main()
