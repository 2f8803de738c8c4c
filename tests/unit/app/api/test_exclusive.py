"""The decorator: the body of each run is inside a holding, or decorating is refused."""

from __future__ import annotations

import asyncio
import functools
from contextlib import asynccontextmanager, contextmanager

import pytest

from coordinator.app.api.exclusive import exclusive


class Token:
    """A token that says whether it is held."""

    def __init__(self) -> None:
        self.held = False

    @contextmanager
    def sync(self):
        self.held = True
        yield
        self.held = False

    @asynccontextmanager
    async def later(self):
        with self.sync():
            yield

    def __call__(self, function):
        return exclusive(function, self.sync, self.later)


@pytest.fixture
def token() -> Token:
    return Token()


class Worker:
    def __init__(self, token: Token) -> None:
        self.token = token

    async def __call__(self) -> bool:
        await asyncio.sleep(0)
        return self.token.held


def test_a_function_runs_inside(token):
    assert token(lambda number: (token.held, number))(3) == (True, 3)
    assert not token.held


def test_a_coroutine_function_runs_inside_to_its_end(token):
    """Calling it makes an object only: the token must be held when that runs."""

    async def job(number: int) -> tuple[bool, int]:
        """Do it."""
        await asyncio.sleep(0)
        return token.held, number

    decorated = token(job)
    assert asyncio.iscoroutinefunction(decorated)
    assert decorated.__doc__ == "Do it."
    coroutine = decorated(number=3)
    assert not token.held
    assert asyncio.run(coroutine) == (True, 3)
    assert not token.held


@pytest.mark.parametrize("make", [lambda worker: worker, lambda worker: functools.partial(worker)])
def test_an_object_that_is_called_like_a_coroutine_function_runs_inside(token, make):
    worker = Worker(token)

    assert asyncio.run(token(make(worker.__call__))()) is True
    assert asyncio.run(token(worker)()) is True


def test_generator_functions_are_refused_when_they_are_decorated(token):
    def rows():
        yield 1

    async def rows_later():
        yield 1

    class Rows:
        def __call__(self):
            yield 1

    for function in (rows, rows_later, Rows(), functools.partial(rows)):
        with pytest.raises(TypeError, match="generator function"):
            token(function)


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async_generator", "Future"])
def test_an_answer_whose_body_has_not_run_is_refused(token, kind):
    """Nothing tells beforehand that a plain function returns what is to be awaited."""
    ran = []

    async def coroutine():
        ran.append(1)

    async def async_generator():
        ran.append(1)
        yield

    def generator():
        ran.append(1)
        yield

    makers = {
        "coroutine": coroutine,
        "generator": generator,
        "async_generator": async_generator,
        "Future": lambda: asyncio.get_running_loop().create_future(),
    }

    async def main() -> None:
        with pytest.raises(TypeError, match=f"returned a {kind}"):
            token(lambda: makers[kind]())()

    asyncio.run(main())
    assert ran == []
