"""Tools for the tests of programs that use coord.

FakeCoordinator       a Coordinator without a database, for unit tests
FakeAsyncCoordinator  the same for AsyncCoordinator
FakeTokens            the tokens that several fakes share, and how to lose one
FakeRecord            what the group remembers of a schedule

The pytest plugin, which pytest loads by itself, adds the fixture `coord_group`: real nodes on a
real database (docs/testing.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coordinator.testing.fakes.asynchronous import FakeAsyncCoordinator, FakeAsyncToken
    from coordinator.testing.fakes.coordinator import FakeCoordinator, FakeToken
    from coordinator.testing.fakes.tokens import FakeRecord, FakeTokens

__all__ = [
    "FakeAsyncCoordinator",
    "FakeAsyncToken",
    "FakeCoordinator",
    "FakeRecord",
    "FakeToken",
    "FakeTokens",
]

_HOMES = {
    "FakeAsyncCoordinator": "coordinator.testing.fakes.asynchronous",
    "FakeAsyncToken": "coordinator.testing.fakes.asynchronous",
    "FakeCoordinator": "coordinator.testing.fakes.coordinator",
    "FakeRecord": "coordinator.testing.fakes.tokens",
    "FakeToken": "coordinator.testing.fakes.coordinator",
    "FakeTokens": "coordinator.testing.fakes.tokens",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
