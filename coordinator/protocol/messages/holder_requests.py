"""Request of a process that holds tokens for its own code: give some back, take others, look.

Tokens are named in full, as in the tables. One request is one statement of the database.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Give:
    """A term that is given back, because the body that it guarded has ended.

    ended_s: seconds between that end and the sending, own clock.
    """

    token: str
    term: int
    reason: str
    ended_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """A session that was watched for its whole interval; beat None: its node has no row."""

    node: str
    session: str
    term: int
    beat: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A token that is taken if it is free, or if its holder is `silent` and still as it was seen.

    least_term: the new term is not below it: this process remembers the one before.
    watched_s:  seconds of the watch, own clock.
    """

    token: str
    least_term: int
    silent: Silent | None = None
    watched_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Give tokens back and take others under `session`; look at more. The answer shows all.

    branch: of the database, as it was seen. own: look at all tokens of the session, too.
    An answer that is not done: the session is over, and nothing was taken.
    """

    session: str
    branch: str
    gives: tuple[Give, ...] = ()
    wants: tuple[Want, ...] = ()
    looks: tuple[str, ...] = ()
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenNow:
    """One token as an exchange has left it.

    term 0: it has no row. node, session: its holder; session None: it is free.
    known: the holder has a row in its group; of that row: ended, beat, liveness_s, age_s, where.
    is_task: a task of the group has this token, so no other code may take it.
    """

    token: str
    term: int
    node: str | None
    session: str | None
    known: bool = False
    ended: bool = False
    beat: int = 0
    liveness_s: float = 0.0
    heartbeat_s: float = 1.0
    age_s: float = 0.0
    where: str = ""
    is_task: bool = False

    @property
    def free(self) -> bool:
        """True when it was released, never held, or its holder's session was ended."""
        return self.session is None or (self.known and self.ended)
