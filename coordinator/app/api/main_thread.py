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
#: Local variable of shielded code: true once nothing is left to be shielded.
LEFT = "left"

#: Blocks of the main thread in which a loss is raised, in the order of their entries.
_armed: list[MainThreadCancel] = []
#: Code that gives a token back: a loss waits until it is done, or the token stays.
_shielded: set[CodeType] = set()
#: The application's own handler, which has the signal back after the last block.
_previous: Any = None


class MainThreadCancel:
    """Raises TokenLostError in the main thread, once, between `arm` and `disarm`."""

    def __init__(self) -> None:
        self._told = ""
        self._loss = ""

    def arm(self, on_lost: Callable[[Callable[[str], None]], None], told: str) -> None:
        """Take over the signal, and register for the loss.

        told: the beginning of the error's text.
        Errors: UsageError outside the main thread; TokenLostError for a token that is lost already.
        """
        global _previous
        refuse_other_threads()
        self._told = told
        if not _armed:
            _previous = signal.signal(SIGNAL, _caught)
        _armed.append(self)
        on_lost(self._lost)

    def disarm(self) -> None:
        """Raise nothing any more; the last block gives the signal back."""
        if self in _armed:
            _armed.remove(self)
            if not _armed:
                signal.signal(SIGNAL, signal.SIG_DFL if _previous is None else _previous)

    def take(self) -> TokenLostError | None:
        """Return the loss, if there is one that was not raised yet."""
        loss, self._loss = self._loss, ""
        return TokenLostError(f"{self._told}: {loss}") if loss else None

    def _lost(self, reason: str) -> None:
        """Note the loss, and interrupt the main thread; called in any thread."""
        self._loss = reason
        main = threading.main_thread().ident
        if self in _armed and main is not None:
            signal.pthread_kill(main, SIGNAL)


def shield(*code: CodeType) -> None:
    """Raise nothing while this code runs, until its local variable LEFT is true."""
    _shielded.update(code)


def raise_what_waited() -> None:
    """Raise a loss that came while shielded code ran; called when that is done.

    Errors: TokenLostError.
    """
    if _armed and threading.current_thread() is threading.main_thread():
        for cancel in reversed(_armed):
            loss = cancel.take()
            if loss is not None:
                raise loss


def refuse_other_threads() -> None:
    """Refuse a thread that no signal reaches.

    Errors: UsageError.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError(
            'cancel="main-thread": this block runs in another thread; use token.check(), on_lost or'
            " token.lost there"
        )


def _caught(signum: int, frame: FrameType | None) -> None:
    if not any(cancel._loss for cancel in _armed):
        if callable(_previous):  # the application's own
            _previous(signum, frame)
        return
    while frame is not None:
        if frame.f_code in _shielded and not frame.f_locals.get(LEFT):
            return  # it raises what has waited by itself
        frame = frame.f_back
    raise_what_waited()
