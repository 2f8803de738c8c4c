"""Deliveries of a group to its webhook: claim, mark, note a failure, leave.

Each verb is one transaction of a function of the schema (migrations/sql/webhook.sql).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from coordinator.errors import CoordError
from coordinator.store.admin.connection import AdminConnection, Cursor, Row
from coordinator.store.driver.errors import database_error
from coordinator.store.sql.statement import named
from coordinator.store.sql.view import channel_of

#: Longest time of one request, in seconds.
TIMEOUT_S = 5.0
#: Events that one claim brings: with texts of their greatest length, less than 1 MB.
EVENTS_MAX = 100

CLAIM: LiteralString = """
SELECT {schema}.coord_webhook_claim(
    %(group)s, %(session)s::uuid, %(sender)s::uuid, %(claim_s)s, %(count)s
) AS answer
"""
DELIVERED: LiteralString = """
SELECT {schema}.coord_webhook_delivered(
    %(group)s, %(sender)s::uuid, %(event)s, %(claim_s)s
) AS answer
"""
FAILED: LiteralString = """
SELECT {schema}.coord_webhook_failed(
    %(group)s, %(sender)s::uuid, %(error)s, %(wait_s)s
) AS answer
"""
LEAVE: LiteralString = "SELECT {schema}.coord_webhook_leave(%(group)s, %(sender)s::uuid) AS answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The database of a sender, and for whom it sends.

    session: of the node, which has to hold the group's token. sender: a uuid of this process.
    claim_s: seconds for which one claim holds, longer than a delivery can take.
    """

    conninfo: str
    schema: str
    where: str
    group: str
    session: str
    sender: str
    claim_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Answer to a claim; state as coord_webhook_claim has it.

    failed: failed deliveries in a row so far. now_s: the server's clock, since 1970.
    """

    state: str
    wait_s: float = 0.0
    failed: int = 0
    now_s: float = 0.0
    events: tuple[Mapping[str, Any], ...] = ()


class Deliveries:
    """Port of a sender to the database; reconnects when it has to. Errors: CoordError."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._known: AdminConnection | None = None

    def close(self) -> None:
        """Close the connection."""
        known, self._known = self._known, None
        if known is not None:
            known.close()

    def claim(self) -> Claim:
        """Claim the group, and return what is to be delivered next."""
        answer = self._call(CLAIM, count=EVENTS_MAX)
        return Claim(
            state=answer["state"],
            wait_s=float(answer.get("wait_s", 0.0)),
            failed=int(answer.get("failed", 0)),
            now_s=float(answer.get("now_s", 0.0)),
            events=tuple(answer.get("events", ())),
        )

    def delivered(self, event: int, *, more: bool) -> bool:
        """Move the mark behind an event; false: another sender has claimed the group.

        more: the claim goes on, for the next event.
        """
        claim_s = self._place.claim_s if more else 0.0
        return bool(self._call(DELIVERED, event=event, claim_s=claim_s))

    def failed(self, error: str, wait_s: float) -> None:
        """Note why a delivery has failed, and that it is tried again in wait_s."""
        self._call(FAILED, error=error, wait_s=wait_s)

    def leave(self) -> None:
        """Give the claim back, if there is a connection."""
        if self._known is not None:
            self._call(LEAVE)

    def wait_for_news(self, seconds: float) -> None:
        """Wait until something may have happened in the group."""
        self._connected().wait_for_news(seconds)

    def _call(self, statement: LiteralString, **values: object) -> Any:
        place = self._place
        shared = {"group": place.group, "session": place.session, "sender": place.sender}
        shared_values = {**shared, "claim_s": place.claim_s, **values}

        def body(cursor: Cursor) -> Row:
            row = cursor.execute(named(statement, place.schema), shared_values).fetchone()
            assert row is not None, "a function has one row"
            return row

        try:
            return self._connected().write(body)["answer"]
        except psycopg.Error as error:
            self.close()
            raise database_error(error, place.where) from error
        except CoordError:
            self.close()
            raise

    def _connected(self) -> AdminConnection:
        if self._known is None:
            place = self._place
            made = AdminConnection(place.conninfo, place.schema, place.where, TIMEOUT_S)
            try:
                made.listen(channel_of(place.schema, place.group))
            except BaseException:
                made.close()
                raise
            self._known = made
        return self._known
