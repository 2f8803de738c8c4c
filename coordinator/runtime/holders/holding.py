"""Holding of a token by code in this process: cooperative, because a thread cannot be killed.

The guarded code is the body of a `with`. A loss cannot stop it: `check` raises from then on, the
callbacks run, and the token is given back only when the body has ended.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from coordinator.errors import TokenLostError
from coordinator.ports import Clock
from coordinator.protocol.rules.trust import expired, fresh_since

OnLost = Callable[[str], None]
#: Called with the reason of a loss; with None when the holding was given back.
OnEnd = Callable[[str | None], None]

GIVEN_BACK = "it was given back"
FORKED = "this process is a fork of the one that holds it"

#: The one logger of code that holds tokens in its own process.
LOGGER = "coordinator"
_logger = logging.getLogger(LOGGER)


class Holding:
    """One holding of a token by code in this process.

    Attributes: group (full name of the token), node (name of the holder), term (rises with every
    holding: the fencing token), session (uuid; with the term it tells two holders apart even when
    terms were lost), run (number of the holding in this process).
    """

    def __init__(
        self,
        clock: Clock,
        *,
        group: str,
        node: str,
        term: int,
        session: str,
        run: int,
        trusted_until: float,
    ) -> None:
        self.group, self.node = group, node
        self.term, self.session, self.run = term, session, run
        self._clock = clock
        self._trusted_until, self._extended_at = trusted_until, float("-inf")
        self._pid = os.getpid()
        # Reentrant: the handler of a signal may ask for a callback, or leave the block.
        self._lock = threading.RLock()
        self._ended = ""
        self._callbacks: list[OnEnd] = []
        self._last: list[OnEnd] = []

    @property
    def trusted_until(self) -> float:
        """Moment of this machine's CLOCK_BOOTTIME after which the token must not be acted on."""
        return self._trusted_until

    @property
    def seconds_left(self) -> float:
        """Seconds for which the holding may still be trusted; negative when it is over."""
        return -1.0 if self._over() else self._trusted_until - self._clock.now()

    def fresh(self, lease_s: float, heartbeat_s: float) -> bool:
        """Say whether something new may be started: not after two missed renewals (rule T5)."""
        now = self._clock.now()
        return not self._over() and fresh_since(
            self._trusted_until, self._extended_at, now, lease_s=lease_s, heartbeat_s=heartbeat_s
        )

    def is_held(self) -> bool:
        """Say whether the token may be acted on at this moment, by comparing clocks."""
        return not self._over() and not expired(self._trusted_until, self._clock.now())

    def check(self) -> None:
        """Return when the token is held at this moment.

        Errors: TokenLostError otherwise. The process can still be paused between this check and the
        code after it: only a fenced write is safe against that.
        """
        if not self.is_held():
            why = self._over() or "no heartbeat was acknowledged in time"
            raise TokenLostError(f"the token of {self.group} (term {self.term}) is lost: {why}")

    def on_lost(self, callback: OnLost) -> None:
        """Call back with the reason when the token is lost; at once when it already is."""

        def ended(reason: str | None) -> None:
            if reason is not None:
                callback(reason)

        self.on_end(ended)

    def on_end(self, callback: OnEnd, *, last: bool = False) -> None:
        """Call back when the holding ends, or at once when it has ended.

        The callback runs in the thread that notices, and must not block. Exceptions that it raises
        are logged.
        last: after those that are not.
        """
        # Checked first: a lock may have been held at the moment of a fork, and stay locked.
        if not self._is_forked():
            with self._lock:
                if not self._ended:
                    (self._last if last else self._callbacks).append(callback)
                    return
        over = self._over()
        callback(None if over == GIVEN_BACK else over)

    def extended(self, trusted_until: float) -> None:
        """Move the deadline (called by the session)."""
        self._trusted_until, self._extended_at = trusted_until, self._clock.now()

    def given_back(self) -> None:
        """End the holding without a loss."""
        self._call_back(self._end(GIVEN_BACK), None)

    def lost(self, reason: str) -> None:
        """End the holding with a loss (called by the session)."""
        self._call_back(self._end(reason), reason)

    def _over(self) -> str:
        """Return why the holding is over, if that has been reported; empty otherwise."""
        return FORKED if self._is_forked() else self._ended

    def _is_forked(self) -> bool:
        """Say whether this is a forked copy: trust is not renewed there, nor a loss reported."""
        return os.getpid() != self._pid

    def _end(self, reason: str) -> list[OnEnd]:
        """Note why the holding is over, unless it already is; return the callbacks."""
        with self._lock:
            if self._ended:
                return []
            self._ended = reason
            callbacks = [*self._callbacks, *self._last]
            self._callbacks, self._last = [], []
        return callbacks

    def _call_back(self, callbacks: list[OnEnd], reason: str | None) -> None:
        for callback in callbacks:
            try:
                callback(reason)
            except BaseException:  # user code; the next callback may be the one that stops the work
                _logger.exception(
                    "a callback of the token of %s (term %d) raised", self.group, self.term
                )
