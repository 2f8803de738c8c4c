"""Calls that block, in a thread of their own: one of the loop's executor may not be had."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_own_thread(name: str, function: Callable[[], T]) -> T:
    """Call a function in a thread, and return what it returns.

    A task that is cancelled does not learn how the call ends; the call goes on.
    Errors: those of the function; RuntimeError when no thread can be made.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def resolve(value: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, failed = None, None
        try:
            value = function()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(resolve, value, failed)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    value = await answer
    thread.join()
    return value
