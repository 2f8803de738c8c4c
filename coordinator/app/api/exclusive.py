"""Decorator: a function runs only while its process holds a token."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
Question = Callable[[object], bool]


def exclusive(
    function: Callable[P, R],
    held: Callable[[], AbstractContextManager[object]],
    held_async: Callable[[], AbstractAsyncContextManager[object]],
) -> Callable[P, R]:
    """Wrap a function, or a coroutine function, so that each run of its body is inside a holding.

    Errors: TypeError for a generator function; and, in the call, for a returned awaitable or
    generator of a plain function, whose body has not run yet.
    """
    if _is(inspect.isgeneratorfunction, function) or _is(inspect.isasyncgenfunction, function):
        raise TypeError(
            f"exclusive: {_name(function)} is a generator function: calling it runs nothing, so the"
            " token would be released before its body; hold `coordinator.token()` around the loop"
        )
    if _is(inspect.iscoroutinefunction, function):
        return cast("Callable[P, R]", _of_coroutines(cast("Any", function), held_async))

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with held():
            answer = function(*args, **kwargs)
            _refuse_later_body(function, answer)
            return answer

    return call


def exclusive_coroutine(
    function: Callable[P, Coroutine[Any, Any, R]],
    held_async: Callable[[], AbstractAsyncContextManager[object]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Wrap a coroutine function so that each run of its body is inside a holding.

    Errors: TypeError for every other function.
    """
    if not _is(inspect.iscoroutinefunction, function):
        raise TypeError(
            f"exclusive: {_name(function)} is no coroutine function: an AsyncCoordinator holds a"
            " token for `async def` only; decorate a plain function with a Coordinator's"
        )
    return _of_coroutines(function, held_async)


def _of_coroutines(
    function: Callable[P, Coroutine[Any, Any, R]],
    held_async: Callable[[], AbstractAsyncContextManager[object]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        async with held_async():
            return await function(*args, **kwargs)

    return call


def _is(question: Question, function: object) -> bool:
    """Apply a predicate to a function, and to the `__call__` of an object."""
    return question(function) or question(getattr(function, "__call__", None))  # noqa: B004


def _refuse_later_body(function: object, answer: object) -> None:
    """Refuse an answer whose body has not run: it would run without the token.

    Errors: TypeError.
    """
    later = inspect.isawaitable(answer) or inspect.isgenerator(answer)
    if not later and not inspect.isasyncgen(answer):
        return
    if inspect.iscoroutine(answer) or inspect.isgenerator(answer):
        answer.close()
    raise TypeError(
        f"exclusive: {_name(function)} returned a {type(answer).__name__}, whose body has not run"
        " yet: decorate the `async def` itself, or hold a token of an AsyncCoordinator around it"
    )


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
