"""Loss of a token as an exception in the main thread, by a signal that this process sends itself.

SIGURG: by default it is ignored, so one that comes late does no harm.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from coordinator.errors import TokenLostError, UsageError

SIGNAL = signal.SIGURG


class MainThreadCancel:
    """Raises TokenLostError in the main thread, once, between `arm` and `disarm`.

    shielded: code of the block's own entry and exit; nothing is raised while it runs.
    """

    def __init__(self, shielded: frozenset[CodeType]) -> None:
        self._told = ""
        self._shielded = shielded
        self._armed = False
        self._loss = ""
        self._previous: Any = None

    def arm(self, on_lost: Callable[[Callable[[str], None]], None], told: str) -> None:
        """Take over the signal, and register for the loss.

        told: the beginning of the error's text.
        Errors: UsageError outside the main thread.
        """
        refuse_other_threads()
        self._told = told
        self._previous = signal.signal(SIGNAL, self._caught)
        self._armed = True
        on_lost(self._lost)

    def disarm(self) -> None:
        """Raise nothing any more, and give the signal back."""
        if self._armed:
            self._armed = False
            signal.signal(SIGNAL, signal.SIG_DFL if self._previous is None else self._previous)

    def _lost(self, reason: str) -> None:
        """Note the loss, and interrupt the main thread; called in any thread."""
        self._loss = reason
        main = threading.main_thread().ident
        if self._armed and main is not None:
            signal.pthread_kill(main, SIGNAL)

    def _caught(self, signum: int, frame: FrameType | None) -> None:
        loss, self._loss = self._loss, ""
        if not loss:
            if callable(self._previous):  # an outer block's, or the application's own
                self._previous(signum, frame)
            return
        while frame is not None:
            if frame.f_code in self._shielded:
                return  # the block is ending, and checks the token by itself
            frame = frame.f_back
        raise TokenLostError(f"{self._told}: {loss}")


def refuse_other_threads() -> None:
    """Refuse a thread that no signal reaches.

    Errors: UsageError.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError(
            'cancel="main-thread": this block runs in another thread; use token.check(), on_lost or'
            " token.lost there"
        )
