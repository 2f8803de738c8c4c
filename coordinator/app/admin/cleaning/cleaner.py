"""Cleaning for people: prune groups, delete one, list tokens, release one of a dead holder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from coordinator.app.admin.task_views import Asked
from coordinator.app.admin.tasks import author
from coordinator.app.config.database_choice import Resolved
from coordinator.errors import NodeAliveError, NotFoundError
from coordinator.ports import Clock
from coordinator.protocol.rules.timing import RATE_ERROR
from coordinator.store.admin.cleaning import retention, tokens
from coordinator.store.admin.cleaning.retention import Limits
from coordinator.store.admin.connection import AdminConnection, Row

#: Seconds between two looks at a holder that is waited for.
LOOK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLine:
    """One token; state: "held", "silent" (its holder), "over" (its holder's session) or "free"."""

    token: str
    state: str
    node: str | None
    last_node: str | None
    term: int
    acquired_age_s: float | None
    beat_age_s: float | None
    liveness_s: float | None


class Cleaner:
    """Connection of one command; close it after use."""

    __slots__ = ("_database", "_resolved")

    def __init__(self, resolved: Resolved, *, schema: str, timeout_s: float) -> None:
        """Connect.

        Errors: DatabaseUnreachableError, DatabaseRefusedError, SchemaError.
        """
        self._resolved = resolved
        self._database = AdminConnection.to_whole_schema(
            resolved.conninfo, schema, resolved.label, timeout_s
        )

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def asked(self) -> Asked:
        """Return the moment of the answer, by the server's clock."""
        return Asked(server_time=self._database.server_time(), scope=self._resolved.scope)

    def prune(self, group: str | None, limits: Limits) -> Iterator[tuple[str, int]]:
        """Delete what is too old, in small transactions; yield each group with its count."""
        names = retention.groups(self._database)
        if group is not None and group not in names:
            raise NotFoundError(f"there is no group {group!r} in {self._resolved.label}")
        for name in names if group is None else [group]:
            gone = 0
            while step := retention.prune_step(self._database, name, limits):
                gone += step
            yield name, gone

    def delete_group(self, group: str) -> None:
        """Delete a group of which no node lives.

        Errors: NotFoundError; NodeAliveError with what is in the way.
        """
        refusal = retention.delete_group(self._database, group)
        if refusal == "there is no such group":
            raise NotFoundError(f"there is no group {group!r} in {self._resolved.label}")
        if refusal is not None:
            raise NodeAliveError(f"{group}: not deleted: {refusal}")

    def tokens(self, group: str | None) -> tuple[TokenLine, ...]:
        """Return the tokens of a group and below it, or all."""
        found = tuple(map(_line, tokens.tokens(self._database, group)))
        if group is not None and not found:
            raise NotFoundError(f"there is no group {group!r} in {self._resolved.label}")
        return found

    def release(
        self,
        token: str,
        *,
        clock: Clock,
        pause: Callable[[float], object],
        fenced: Callable[[TokenLine], None] | None,
        reason: str | None,
    ) -> int:
        """Give a token back whose holder is dead; return how many tokens its session had.

        Without `fenced`, the holder has to be silent for its whole interval, watched here, with
        room for clocks that differ in rate (T1, O4). `fenced` kills the holder's node, or raises:
        then nothing is waited for.
        Errors: NotFoundError; NodeAliveError when the holder sends a heartbeat.
        """
        row = self._held(token)
        if fenced is not None:
            fenced(_line(row))
        elif row["state"] != "over":
            self._wait(token, row, clock, pause)
        why = reason or ("fenced by an operator" if fenced else "released by an operator")
        row = self._held(token) if fenced is not None else row
        given = tokens.end_holder(self._database, row, who=author(), reason=why)
        if given is None:
            raise NodeAliveError(f"{token}: {row['node']} lives: it has sent a heartbeat")
        return given

    def _wait(self, token: str, row: Row, clock: Clock, pause: Callable[[float], object]) -> None:
        """Watch a holder until it has been silent for its interval."""
        began, wait_s = clock.now(), float(row["liveness_s"]) * (1 + RATE_ERROR)
        seen = (row["session"], row["beat"])
        while clock.now() - began < wait_s:
            pause(min(LOOK_S, wait_s))
            now = self._held(token)
            if (now["session"], now["beat"]) != seen:
                raise NodeAliveError(
                    f"{token}: {row['node']} lives: it has sent a heartbeat; stop it, or let"
                    " --fence kill it"
                )

    def _held(self, token: str) -> Row:
        found = tokens.tokens(self._database, None, token)
        if not found:
            raise NotFoundError(f"there is no token {token!r} in {self._resolved.label}")
        (row,) = found
        if row["state"] == "free":
            raise NotFoundError(f"{token}: nobody holds it (term {row['term']})")
        if row["session"] is None:
            raise NotFoundError(
                f"{token}: the row of its holder, {row['last_node']}, was removed: a node waits"
                " for it like for a silent one"
            )
        return row


def _line(row: Row) -> TokenLine:
    return TokenLine(
        token=row["token"],
        state=row["state"],
        node=row["node"],
        last_node=row["last_node"],
        term=row["term"],
        acquired_age_s=row["acquired_age_s"],
        beat_age_s=row["beat_age_s"],
        liveness_s=row["liveness_s"],
    )
