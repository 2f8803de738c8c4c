"""Block of a `with` that holds a token. It may be entered again, and by several threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from coordinator.app.api.main_thread import (
    MainThreadCancel,
    raise_what_waited,
    refuse_other_threads,
    shield,
)
from coordinator.app.api.session import Session
from coordinator.app.api.token import Token

#: Ways in which a loss is raised in the body.
Cancel = Literal["main-thread"]


class ThreadTokens(threading.local):
    """Tokens that blocks of the current thread hold, by full name."""

    def __init__(self) -> None:
        self.held: dict[str, Token] = {}


@dataclass(slots=True)
class Entered:
    """One entry of a block.

    hold: releases the token; None: the token is an outer block's.
    outer: the token of the same name that an outer block of the thread holds, if it still does.
    """

    token: Token
    hold: AbstractContextManager[Token] | None
    outer: Token | None
    cancel: MainThreadCancel | None = None


class _Entries(threading.local):
    def __init__(self) -> None:
        self.stack: list[Entered] = []


class TokenBlock:
    """Holds a token between entry and exit; see `Coordinator.token`."""

    def __init__(
        self,
        name: str,
        hold: Callable[[], AbstractContextManager[Token]],
        tokens: ThreadTokens,
        *,
        reentrant: bool,
        cancel: Cancel | None,
    ) -> None:
        self._name, self._hold, self._tokens = name, hold, tokens
        self._reentrant, self._cancel = reentrant, cancel
        self._entries = _Entries()

    def __enter__(self) -> Token:
        if self._cancel is not None:
            refuse_other_threads()
        outer = self._tokens.held.get(self._name)
        if self._reentrant and outer is not None:
            outer.check()
            self._entries.stack.append(Entered(outer, None, outer))
            return outer
        hold, entered = self._hold(), None
        try:
            token = hold.__enter__()
            entered = Entered(token, hold, outer)
            self._entries.stack.append(entered)
            self._tokens.held[self._name] = token
            if self._cancel is not None:
                entered.cancel = MainThreadCancel()
                entered.cancel.arm(token.on_lost, f"the token of {token.name} is lost")
        except BaseException:
            # Interrupted, perhaps by the loss of an outer block's token: there is no exit.
            if entered is not None and entered in self._entries.stack:
                self.__exit__(*sys.exc_info())
            else:
                hold.__exit__(*sys.exc_info())
            raise
        return token

    def __exit__(self, *exc: object) -> None:
        left = False
        try:
            self._leave(*exc)
        finally:
            left = True  # noqa: F841 - read by the handler of the signal
            raise_what_waited()

    def _leave(self, *exc: object) -> None:
        entered = self._entries.stack.pop()
        if entered.hold is None:
            return
        if entered.cancel is not None:
            entered.cancel.disarm()
        if entered.outer is None:
            self._tokens.held.pop(self._name, None)
        else:
            self._tokens.held[self._name] = entered.outer
        entered.hold.__exit__(*exc)  # type: ignore[arg-type]


shield(TokenBlock.__exit__.__code__, Session.give_up.__code__)
