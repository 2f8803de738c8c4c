"""A swarm: one process that plays many protocol-true nodes. For load only: it guards no program.

usage: python -m bench.swarm CONNINFO SCHEMA GROUP NODES HEARTBEAT_S LIVENESS_S [THREADS]
It writes "ready" when every node has joined and beats, and ends when its stdin does.

Each node is the real machine of coordinator/protocol on a real connection of its own; what is
played is the loop around it: a few threads, each of which carries its nodes' requests itself.
"""

from __future__ import annotations

import selectors
import sys
import threading
import uuid
from collections import deque
from dataclasses import dataclass, field

from coordinator.errors import CoordError
from coordinator.ports import StoreConnection
from coordinator.protocol.events import (
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
from coordinator.protocol.machine import step, wake_at
from coordinator.protocol.node import Node, Policy
from coordinator.protocol.requests import NodeFacts, Request
from coordinator.protocol.timing import Timing
from coordinator.runtime.clock import BoottimeClock
from coordinator.store.postgres import PostgresStore

SLEEP_MAX_S = 0.5
READY_MAX_S = 300.0
now = BoottimeClock().now


@dataclass
class Player:
    """One node: its machine, its store, its connection; the program is a thought."""

    node: Node
    store: PostgresStore
    connection: StoreConnection | None = None
    due_at: float = float("-inf")
    failures: int = 0
    joined: threading.Event = field(default_factory=threading.Event)

    def feed(self, event: Event) -> None:
        """Step the machine and obey it until it wants nothing more."""
        waiting: deque[Event] = deque([event])
        while waiting:
            self.node, commands = step(self.node, waiting.popleft())
            for command in commands:
                match command:
                    case Ask(request):
                        waiting.append(self._ask(request))
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

    def _ask(self, request: Request) -> Event:
        timeout_s = self.node.timing.attempt_s
        try:
            if self.connection is None:
                self.connection = self.store.connect(timeout_s)
            sent_at = now()
            answer = self.connection.ask(request, timeout_s)
        except CoordError as error:
            self.failures += 1
            self.drop()
            return Failed(now(), request, str(error))
        return Answered(now(), request, answer, sent_at)


def play(players: list[Player], ended: threading.Event) -> None:
    """Play these nodes on this thread until the end."""
    watched: dict[int, Player] = {}
    with selectors.DefaultSelector() as selector:
        while not ended.is_set():
            moment = now()
            for player in players:
                if player.due_at <= moment:
                    player.feed(Ticked(moment))
                    player.hear()  # what was pushed while an answer was read wakes no selector
            current = {p.connection.fileno(): p for p in players if p.connection is not None}
            if current.keys() != watched.keys():
                for fd in watched.keys() - current.keys():
                    selector.unregister(fd)
                for fd in current.keys() - watched.keys():
                    selector.register(fd, selectors.EVENT_READ)
            watched = current
            wait_s = min(min(player.due_at for player in players) - now(), SLEEP_MAX_S)
            for key, _ in selector.select(max(0.0, wait_s)):
                watched[key.fd].hear()
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


def main() -> None:
    """Play, say when everybody is there, and end with stdin."""
    conninfo, schema, group = sys.argv[1:4]
    count, heartbeat_s, liveness_s = int(sys.argv[4]), float(sys.argv[5]), float(sys.argv[6])
    threads = int(sys.argv[7]) if len(sys.argv) > 7 else 4
    timing = Timing(liveness_s=liveness_s, heartbeat_s=heartbeat_s)
    players = [player(conninfo, schema, group, f"swarm-{n}", timing) for n in range(count)]
    ended = threading.Event()
    shares = [players[first::threads] for first in range(min(threads, count))]
    workers = [
        threading.Thread(target=play, args=(share, ended), name=f"swarm-{n}", daemon=True)
        for n, share in enumerate(shares)
    ]
    for worker in workers:
        worker.start()
    give_up_at = now() + READY_MAX_S
    for each in players:
        each.joined.wait(max(0.0, give_up_at - now()))
    joined = sum(each.joined.is_set() for each in players)
    print("ready" if joined == count else f"only {joined} joined", flush=True)
    sys.stdin.read()
    ended.set()
    for worker in workers:
        worker.join(5.0)
    print(f"failures {sum(each.failures for each in players)}", flush=True)


if __name__ == "__main__":
    main()
