"""Measure the time and the round trips of take, release and leave over paths of several lengths.

`python -m bench.adr.race_trips`
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from psycopg.conninfo import conninfo_to_dict

from bench import floor
from bench.measure import boottime, median
from bench.parts.tokens import TIMEOUT_S
from coordinator.protocol.messages.requests import (
    Answer,
    Join,
    Leave,
    NodeFacts,
    Release,
    Take,
    View,
)
from coordinator.store.connection.postgres import PostgresStore
from tests.conformance.worlds import Node
from tests.support.networks.stalling_proxy import StallingProxy, stalling_proxy
from tests.support.servers.postgres import Server
from tests.support.servers.round_trips import counted

#: There and back, in milliseconds.
PATHS_MS = (0, 50, 150, 300)
#: The median of so many; the path does not vary.
ROUNDS = 5


def take_free(session: str, view: View) -> Take:
    """Return the request that takes the token as `view` shows it, free."""
    return Take(
        session=session,
        seen_term=view.token.term,
        seen_node=view.token.node,
        seen_session=None,
        seen_beat=None,
        next_term=view.token.term + 1,
        branch=view.identity.branch,
        how="release" if view.token.term else "first",
        reason="",
        detected_s=0.0,
    )


def timed(node: Node, call: Callable[[], Answer]) -> tuple[Answer, int, float]:
    """Return the answer, its round trips and its milliseconds."""
    began = boottime()
    answer, trips = counted(node, call)
    assert answer.done
    return answer, trips, 1000 * (boottime() - began)


def measure(proxy: StallingProxy, path_ms: int) -> str:
    """Take, release and leave over one path; return a line for people."""
    group = f"path-{path_ms}"
    facts = NodeFacts(node="node", group=group, liveness_s=60.0, heartbeat_s=1.0, lease_s=48.0)
    proxy.delay()
    connection = PostgresStore(proxy.conninfo, floor.SCHEMA, facts).connect(TIMEOUT_S)
    node, session = Node(facts, connection), str(uuid.uuid4())
    view = connection.ask(Join(session=session, previous=None), TIMEOUT_S).view
    proxy.delay(path_ms / 2000, path_ms / 2000)
    took, gave = [], []
    for _ in range(ROUNDS):
        free = take_free(session, view)
        taken, take_trips, ms = timed(node, lambda free=free: connection.ask(free, TIMEOUT_S))
        took.append(ms)
        release = Release(session=session, term=taken.term, reason="bench")
        answer, give_trips, ms = timed(
            node, lambda release=release: connection.ask(release, TIMEOUT_S)
        )
        gave.append(ms)
        view = answer.view
    leave = Leave(session=session, reason="bench")
    _, leave_trips, left_ms = timed(node, lambda: connection.ask(leave, TIMEOUT_S))
    connection.close()
    return (
        f"path {path_ms:3} ms: take {take_trips} trips {median(took):.0f} ms,"
        f" release {give_trips} trips {median(gave):.0f} ms,"
        f" leave {leave_trips} trips {left_ms:.0f} ms"
    )


def main() -> None:
    """Measure all paths through one proxy."""
    server = Server.create(tcp=True)
    try:
        database = floor.new_database(server)
        name = str(conninfo_to_dict(database.conninfo)["dbname"])
        with stalling_proxy(server.conninfo(name, tcp=True)) as proxy:
            for path_ms in PATHS_MS:
                print(measure(proxy, path_ms), flush=True)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
