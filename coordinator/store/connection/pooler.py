"""Find out by trial whether a pooler between us and the server passes notifications on.

A pooler in transaction mode lends a session for one transaction: LISTEN stays with the session, and
the client that asked for it gets no notification. No setting shows this; so one is sent.
"""

from __future__ import annotations

import select
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from coordinator.errors import CoordError
from coordinator.store.driver import connect as driver

#: A pooler without a free session keeps the sender waiting; a node starts without it then.
SENT_WITHIN_S = 1.0
#: From the sender's commit to the listener: a signal and a packet. A node that misses a
#: later one is only slower: it polls as well.
HEARD_WITHIN_S = 0.25

Connection = psycopg.Connection[Any]


def hears(connection: Connection, heard: Callable[[], bool], conninfo: str) -> bool:
    """Return true when `connection` gets the notifications of another connection.

    The channel is new: a lent session keeps listening, and its next client must not be notified.
    Errors: psycopg.Error when `connection` breaks.
    """
    channel = sql.Identifier(f"coord_{uuid.uuid4().hex}")
    connection.execute(sql.SQL("LISTEN {}").format(channel))
    sent = _notify(_same_host(connection, conninfo), sql.SQL("NOTIFY {}").format(channel))
    told = sent and _readable(connection.fileno(), HEARD_WITHIN_S) and heard()
    connection.execute(sql.SQL("UNLISTEN {}").format(channel))
    return told


def _notify(conninfo: str, statement: sql.Composed) -> bool:
    """Notify from another connection: a session gets its own notification with the answer.

    Otherwise the listener would get it even where that session was lent for two transactions.
    """
    try:
        with closing(driver.connect(conninfo)) as other:
            # Not waited for by the driver, which knows no bound.
            other.pgconn.send_query(statement.as_bytes(None))
            other.pgconn.flush()
            return _readable(other.fileno(), SENT_WITHIN_S)
    except (psycopg.OperationalError, CoordError):
        return False  # no second connection is to be had: then there is no way to know


def _same_host(connection: Connection, conninfo: str) -> str:
    """Name the one host of several that the connection leads to."""
    info = connection.info
    where = {"host": info.host, "hostaddr": info.hostaddr, "port": str(info.port)}
    return make_conninfo(conninfo, **{key: value for key, value in where.items() if value})


def _readable(fd: int, within_s: float) -> bool:
    return bool(select.select([fd], [], [], within_s)[0])
