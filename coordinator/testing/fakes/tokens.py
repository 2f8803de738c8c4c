"""Tokens in memory: what the database is to coordinators, for fakes.

Any number of fakes share one FakeTokens, as processes share a database. It has no thread: who gives
a token back, or loses it, hands it to the one that has waited longest.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from coordinator.errors import CoordError, TokenHeldError, TokenLostError
from coordinator.protocol.rules.saved_state import checked_size
from coordinator.runtime.holders.holding import Holding

#: Seconds for which a fake's token can still be trusted; its clock stands still.
LEASE_S = 24.0
#: Reason of a loss, unless a test gives another one.
ENDED = "the session was ended by another node"
CLOSED = "the coordinator is closed"

Granted = Callable[[Holding], None]
Refused = Callable[[CoordError], None]


class StoppedClock:
    """Clock of the fakes: a deadline passes when a test says so."""

    def now(self) -> float:
        """Return the same moment always."""
        return 1_000_000.0


@dataclass(slots=True)
class Wish:
    """Wish of one waiter.

    granted: called with the holding in the thread that hands it over.
    refused: called in the thread that closes the coordinator.
    """

    token: str
    node: str
    granted: Granted
    refused: Refused


@dataclass(slots=True)
class _Row:
    """One token: its last term, its holding, those that wait, and the saved state."""

    term: int = 0
    holding: Holding | None = None
    waiting: deque[Wish] = field(default_factory=deque)
    state: bytes | None = None
    sequence: int = 0
    checkpoint: tuple[str, bytes] | None = None
    checkpoints: int = 0


@dataclass(slots=True)
class FakeRecord:
    """Record of one schedule of the group, as a test may read it.

    outcomes: of its runs, the oldest first: "ok", "failed", "stopped", "skipped" or "died"; the
    last one is "running" while the run goes on.
    """

    fired_count: int = 0
    skipped_count: int = 0
    last_fire_at: datetime | None = None
    outcomes: list[str] = field(default_factory=list)
    last_error: str | None = None
    ended: bool = False
    end_reason: str = ""
    terminated_at: datetime | None = None
    term: int = 0


class FakeTokens:
    """Tokens of any group, by full name: "orders", "orders/nightly"."""

    def __init__(self) -> None:
        self._clock = StoppedClock()
        self._lock = threading.RLock()
        self._rows: dict[str, _Row] = {}
        self._records: dict[tuple[str, str], FakeRecord] = {}
        self._runs = 0
        self._closed: set[str] = set()

    # --- for tests ------------------------------------------------------------------------------

    def holder(self, token: str) -> str | None:
        """Return the node that holds a token; None if it is free."""
        with self._lock:
            holding = self._row(token).holding
            return None if holding is None else holding.node

    def term(self, token: str) -> int:
        """Return the term of the last holding of a token; 0 before the first."""
        with self._lock:
            return self._row(token).term

    def waiting(self, token: str) -> int:
        """Return how many wait for a token."""
        with self._lock:
            return len(self._row(token).waiting)

    def record(self, token: str, name: str = "") -> FakeRecord:
        """Return the record of the schedule that runs under a token: "orders/nightly".

        name: of a schedule under the group's own token.
        """
        with self._lock:
            return self._records.setdefault((token, name), FakeRecord())

    def lose(self, token: str, reason: str = ENDED) -> None:
        """End the holding as a takeover does: the holder is told, and the token is free.

        Errors: AssertionError if nobody holds it.
        """
        with self._lock:
            holding = self._row(token).holding
            assert holding is not None, f"nobody holds {token}"
            self._row(token).holding = None
        self._hand_over(token)
        # In a thread, as a session tells it: the caller may be the one to be interrupted.
        teller = threading.Thread(target=holding.lost, args=(reason,), name="coord-fake")
        teller.start()
        teller.join()

    def expire(self, token: str) -> None:
        """Let the deadline pass before anybody is told: the holder was frozen, for example.

        Errors: AssertionError if nobody holds it.
        """
        with self._lock:
            holding = self._row(token).holding
            assert holding is not None, f"nobody holds {token}"
            holding.extended(self._clock.now())

    # --- for the fakes --------------------------------------------------------------------------

    def ask(self, token: str, node: str, granted: Granted, refused: Refused, *, wait: bool) -> Wish:
        """Ask for a token; granted is called at once if it is free.

        Errors: TokenHeldError if wait is False, and it is held or others wait for it; CoordError
        for the node of a closed coordinator.
        """
        wish = Wish(token, node, granted, refused)
        with self._lock:
            if node in self._closed:
                raise CoordError(CLOSED)
            row = self._row(token)
            if row.holding is not None and not wait:
                raise TokenHeldError(f"the token is held by {row.holding.node} (term {row.term})")
            if row.waiting and not wait:
                # It is on its way to them: somebody is just giving it back.
                raise TokenHeldError(f"the token is waited for by {row.waiting[0].node}")
            row.waiting.append(wish)
        self._hand_over(token)
        return wish

    def give_up(self, wish: Wish) -> bool:
        """Withdraw a wish; False if it was granted meanwhile."""
        with self._lock:
            try:
                self._row(wish.token).waiting.remove(wish)
            except ValueError:
                return False
            return True

    def close(self, node: str) -> None:
        """Refuse what a node waits for, and whatever it asks for later."""
        refused: list[Wish] = []
        with self._lock:
            self._closed.add(node)
            for row in self._rows.values():
                mine = [wish for wish in row.waiting if wish.node == node]
                for wish in mine:
                    row.waiting.remove(wish)
                refused += mine
        for wish in refused:
            wish.refused(CoordError(CLOSED))

    def give_back(self, holding: Holding) -> None:
        """End a holding without a loss, if it has not ended yet."""
        with self._lock:
            row = self._row(holding.group)
            if row.holding is holding:
                row.holding = None
        holding.given_back()
        self._hand_over(holding.group)

    def check(self, token: str, term: int) -> None:
        """Return if the last holding of a token has this term and has not ended.

        Errors: TokenLostError, as the fence of the database raises it.
        """
        with self._lock:
            row = self._row(token)
            if row.term != term or row.holding is None:
                raise TokenLostError(
                    f"the token of {token} (term {term}) is lost: nothing was written"
                )

    @contextmanager
    def under(self, token: str, term: int) -> Iterator[None]:
        """Let nobody take the token during a block.

        Errors: as `check`, before it.
        """
        with self._lock:
            self.check(token, term)
            yield

    def read(self, token: str) -> bytes | None:
        """Return the state that was saved last."""
        with self._lock:
            return self._row(token).state

    def save(self, token: str, term: int, content: bytes) -> int:
        """Save a state; return its sequence.

        Errors: StateTooLargeError; TokenLostError when another holding has the token, or none.
        """
        checked_size(content)
        with self._lock:
            self.check(token, term)
            row = self._row(token)
            row.state, row.sequence = bytes(content), row.sequence + 1
            return row.sequence

    def keep(self, token: str, term: int, form: str, content: bytes) -> int:
        """Keep a checkpoint; return its sequence. Errors: TokenLostError, as `check`."""
        with self.under(token, term):
            row = self._row(token)
            row.checkpoint, row.checkpoints = (form, content), row.checkpoints + 1
            return row.checkpoints

    def kept(self, token: str) -> tuple[str, bytes] | None:
        """Return form and content of the newest checkpoint."""
        with self._lock:
            return self._row(token).checkpoint

    def sequence(self, token: str) -> int:
        """Return the sequence of the state that was saved last; 0 before the first."""
        with self._lock:
            return self._row(token).sequence

    def _row(self, token: str) -> _Row:
        return self._rows.setdefault(token, _Row())

    def _hand_over(self, token: str) -> None:
        """Grant a free token to the one that has waited longest."""
        with self._lock:
            row = self._row(token)
            if row.holding is not None or not row.waiting:
                return
            wish = row.waiting.popleft()
            row.term += 1
            self._runs += 1
            holding = row.holding = Holding(
                self._clock,
                group=token,
                node=wish.node,
                term=row.term,
                session=str(uuid.uuid4()),
                run=self._runs,
                trusted_until=self._clock.now() + LEASE_S,
            )
            # Under the lock: who withdraws a wish in vain finds its holding.
            wish.granted(holding)
