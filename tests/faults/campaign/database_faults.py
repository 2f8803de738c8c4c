"""Faults of one server: sessions ended, crashes, locks, no room for connections."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress

import psycopg

from tests.faults.campaign.ground import NAMES, Ground
from tests.faults.campaign.limits import HEARTBEAT_S, LEASE_S, LIVENESS_S
from tests.support.servers.postgres import Server

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY pid"
FREEZE = "SELECT {schema}.coord_fence(%s, %s, %s)"
LOCK = "SELECT FROM {schema}.token_holder WHERE group_id = %s FOR UPDATE"
#: Clients that push into every free connection.
PUSHERS = 2


def terminate_session(ground: Ground) -> None:
    """An administrator ends the holder's connection."""
    name = ground.holder().node
    back = ground.said_since(name, "answers again")
    assert ground.ask(TERMINATE, name)
    ground.wait(back, f"{name} is back")


def terminate_session_unheard(ground: Ground) -> None:
    """The same to a node whose log takes nothing: that it went on is seen in what it does."""
    assert ground.ask(TERMINATE, ground.holder().node)
    ground.run_on(LEASE_S)


def kill_backend(ground: Ground) -> None:
    """SIGKILL one backend: the postmaster ends all of them and recovers from the log."""
    backends = ground.ask(BACKENDS, ground.rng.choice(NAMES))
    assert backends
    back = [ground.said_since(name, "answers again") for name in NAMES]
    with ground.outage():
        os.kill(int(str(backends[0][0])), signal.SIGKILL)
        ground.wait(lambda: all(done() for done in back), "all are back")


def kill_postmaster(ground: Ground) -> None:
    """Kill the postmaster as the kernel's OOM killer does, and start it again at once."""
    with ground.outage():
        ground.server.kill9()
        ground.server.start()
        ground.forget_connection()


def restart_immediately(ground: Ground) -> None:
    """Restart without a shutdown checkpoint: the server recovers from its log."""
    with ground.outage():
        ground.server.restart("immediate")
        ground.forget_connection()


def outlast_lease(ground: Ground) -> None:
    """The server is gone for two leases: the holder has to stop, and no node can begin."""
    with ground.outage():
        ground.server.kill9()
        ground.pass_time(2 * LEASE_S)
        ground.server.start()
        ground.forget_connection()


def freeze_server(ground: Ground) -> None:
    """Stop every process of the server for two leases; then it answers all requests."""
    with ground.outage():
        ground.server.freeze()
        try:
            ground.pass_time(2 * LEASE_S)
        finally:
            ground.server.thaw()


def lock_token(ground: Ground) -> None:
    """Lock the token's row, kill the holder, and keep the lock while the takeover is due.

    All standbys that are due wait at the same row, and are let go at the same moment.
    """
    holding = ground.holder()
    node = ground.node(holding.node)
    with ground.server.connect(ground.dbname) as other, ground.outage():
        other.execute("BEGIN")
        other.execute(LOCK.replace("{schema}", ground.bed.schema), [ground.bed.group])
        node.send(signal.SIGKILL, "all")
        node.process.wait(5)
        ground.pass_time(LIVENESS_S + 0.2)
        other.execute("ROLLBACK")
    ground.wait_for_run(after=holding.term)


def freeze_fenced(ground: Ground) -> None:
    """A client of the dead holder stands still within its fenced transaction."""
    holding = ground.holder()
    node = ground.node(holding.node)
    with ground.server.connect(ground.dbname) as frozen:
        frozen.execute("BEGIN")
        fence = FREEZE.replace("{schema}", ground.bed.schema)
        frozen.execute(fence, [ground.bed.group, holding.term, holding.session])
        node.send(signal.SIGKILL, "all")
        node.process.wait(5)
        ground.wait_for_run(after=holding.term)
        with suppress(psycopg.OperationalError):
            frozen.execute("COMMIT")


class Crowd:
    """Clients that take every connection there is, the moment that it is free."""

    def __init__(self, server: Server, dbname: str) -> None:
        self._server, self._dbname, self._over = server, dbname, threading.Event()
        self._taken: list[psycopg.Connection[tuple[object, ...]]] = []
        self.full = threading.Event()
        self._threads = [threading.Thread(target=self._push, name="crowd") for _ in range(PUSHERS)]
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        for connection in self._taken:
            connection.close()

    def _push(self) -> None:
        while not self._over.wait(0.001):
            try:
                self._taken.append(self._server.connect(self._dbname))
            except psycopg.OperationalError:
                self.full.set()


def exhaust_connections(ground: Ground) -> None:
    """Reach max_connections: others took the holder's place when its connection ended."""
    holding = ground.holder()
    crowd = Crowd(ground.server, ground.dbname)
    try:
        assert crowd.full.wait(10), "the server is never full"
        ground.wait(lambda: _crowded_out(ground, holding.node), "the holder finds no room")
        ground.wait_for_run(after=holding.term)
    finally:
        crowd.leave()


def _crowded_out(ground: Ground, name: str) -> bool:
    """End a node's connections; say whether it has had none for a heartbeat."""
    if ground.ask(TERMINATE, name):
        return False
    ground.pass_time(HEARTBEAT_S)
    return not ground.ask(BACKENDS, name)
