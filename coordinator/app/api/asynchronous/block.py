"""Block of an `async with` that holds a token. It may be entered again, and by several tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary, ref

from coordinator.app.api.asynchronous.token import AsyncToken
from coordinator.errors import TokenLostError

#: Ways in which a loss is raised in the body.
AsyncCancel = Literal["task"]


class TaskTokens:
    """Tokens that blocks of each task hold, by full name.

    Tasks are referred to weakly: one that is thrown away with its loop must be collected, for that
    ends its block.
    """

    def __init__(self) -> None:
        self._held: WeakKeyDictionary[asyncio.Task[Any], dict[str, AsyncToken]] = (
            WeakKeyDictionary()
        )

    def get(self, task: asyncio.Task[Any], name: str) -> AsyncToken | None:
        """Return the token that a block of the task holds."""
        return self._held.get(task, {}).get(name)

    def put(self, task: asyncio.Task[Any], name: str, token: AsyncToken | None) -> None:
        """Note the token that a block of the task holds now; None: it holds none."""
        held = self._held.setdefault(task, {})
        if token is None:
            held.pop(name, None)
        else:
            held[name] = token


class TaskCancel:
    """Cancels a task, once, when a token is lost, and tells its cancellation from others."""

    def __init__(self, task: asyncio.Task[Any], token: AsyncToken) -> None:
        self._task, self._token = ref(task), token
        self._armed = True
        self._loss = ""
        token.on_lost(self._lost)

    def disarm(self) -> str:
        """Cancel nothing any more; return why the task was cancelled, if nobody else did so too."""
        self._armed = False
        task = self._task()
        if self._loss and task is not None and task.uncancel() > 0:
            return ""  # somebody else has cancelled the task as well: that goes before
        return self._loss

    def _lost(self, reason: str) -> None:
        task = self._task()
        if self._armed and task is not None:
            self._loss = reason
            task.cancel(f"the token of {self._token.name} is lost: {reason}")


@dataclass(slots=True)
class AsyncEntered:
    """One entry of a block.

    hold: releases the token; None: the token is an outer block's.
    outer: the token of the same name that an outer block of the task holds, if it still does.
    """

    token: AsyncToken
    hold: AbstractAsyncContextManager[AsyncToken] | None
    outer: AsyncToken | None
    cancel: TaskCancel | None = None


class AsyncTokenBlock:
    """Holds a token between entry and exit; see `AsyncCoordinator.token`."""

    def __init__(
        self,
        name: str,
        hold: Callable[[], AbstractAsyncContextManager[AsyncToken]],
        tokens: TaskTokens,
        *,
        reentrant: bool,
        cancel: AsyncCancel | None,
    ) -> None:
        self._name, self._hold, self._tokens = name, hold, tokens
        self._reentrant, self._cancel = reentrant, cancel
        self._entries: dict[asyncio.Task[Any], list[AsyncEntered]] = {}

    async def __aenter__(self) -> AsyncToken:
        task = _task()
        outer = self._tokens.get(task, self._name)
        stack = self._entries.setdefault(task, [])
        if self._reentrant and outer is not None:
            outer.check()
            stack.append(AsyncEntered(outer, None, outer))
            return outer
        try:
            hold = self._hold()
            token = await hold.__aenter__()
        except BaseException:
            if not stack:
                del self._entries[task]
            raise
        entered = AsyncEntered(token, hold, outer)
        stack.append(entered)
        self._tokens.put(task, self._name, token)
        if self._cancel is not None:
            entered.cancel = TaskCancel(task, token)
        return token

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: Any
    ) -> None:
        task = self._leaving_task()
        entered = self._entries[task].pop()
        if not self._entries[task]:
            del self._entries[task]
        if entered.hold is None:
            return
        self._tokens.put(task, self._name, entered.outer)
        loss = "" if entered.cancel is None else entered.cancel.disarm()
        await entered.hold.__aexit__(kind, error, trace)
        if loss and isinstance(error, asyncio.CancelledError):
            raise TokenLostError(f"the token of {entered.token.name} is lost: {loss}") from error

    def _leaving_task(self) -> asyncio.Task[Any]:
        """Return the task that leaves; one that is thrown away with its loop is no current task."""
        try:
            return _task()
        except RuntimeError:
            over = (task for task in self._entries if task.get_loop().is_closed())
            return next(over, next(iter(self._entries)))


def _task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None, "a block is entered by a task"
    return task
