"""Readings for HTTP: one for all who ask, none that anybody waits for without a bound."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from coordinator.app.node.http import reader as reader_module
from coordinator.app.node.http.reader import Found, Question, Reader
from coordinator.errors import CoordError, DatabaseUnreachableError
from coordinator.web.http1 import Reply
from coordinator.web.node.routes import Read

TIMEOUT_S = 20


class World:
    """A database that can be away, or keep one waiting, and a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.away = False
        self.opened = self.closed = self.readings = 0
        self.free = threading.Event()
        self.free.set()
        self.reading = threading.Event()
        self.all_closed = threading.Event()

    def connect(self) -> World:
        if self.away:
            raise DatabaseUnreachableError("no route to db:5432")
        self.opened += 1
        self.all_closed.clear()
        return self

    def document(self, wanted: Read) -> dict[str, object]:
        self.reading.set()
        assert self.free.wait(TIMEOUT_S)
        if self.away:
            raise DatabaseUnreachableError("db:5432 is gone")
        self.readings += 1
        return {"kind": wanted, "reading": self.readings}

    def figures(self) -> object:
        raise ZeroDivisionError("a bug")

    def close(self) -> None:
        self.closed += 1
        if self.closed == self.opened:
            self.all_closed.set()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def reader(world) -> Iterator[Reader]:
    made = Reader(world.connect, lambda: world.now)
    yield made
    world.free.set()
    made.close()
    if (thread := made._thread) is not None:
        thread.join(TIMEOUT_S)


def written(found: Found) -> Reply:
    if isinstance(found, CoordError):
        return Reply(503, {"error": str(found)}, 0)
    return Reply(200, found, 0)


def ask(reader: Reader, wanted: Read = Read.STATUS) -> Reply:
    answers: queue.Queue[Reply] = queue.Queue()
    assert reader.ask(Question(wanted, written, answers.put)) is None
    return answers.get(timeout=TIMEOUT_S)


def test_nobody_asks_and_nothing_is_opened(world, reader):
    assert reader._thread is None
    assert world.opened == 0


def test_those_who_ask_within_a_second_share_a_reading(world, reader):
    first, second = ask(reader), ask(reader)
    world.now += reader_module.FRESH_S + 0.1
    third = ask(reader)

    assert [each.body["reading"] for each in (first, second, third)] == [1, 1, 2]
    assert world.opened == 1


def test_a_database_that_is_away_is_said_and_tried_again(world, reader):
    world.away = True
    assert ask(reader) == Reply(503, {"error": "no route to db:5432"}, 0)
    world.away, world.now = False, world.now + 2.0
    assert ask(reader).status == 200
    world.away, world.now = True, world.now + 2.0

    assert ask(reader) == Reply(503, {"error": "db:5432 is gone"}, 0)
    assert world.closed == 1


def test_a_bug_ends_no_thread(world, reader):
    assert ask(reader, Read.METRICS) == Reply(503, {"error": "unexpected ZeroDivisionError"}, 0)
    assert ask(reader).status == 200


def test_more_questions_than_there_is_room_for_are_refused_at_once(world, reader):
    world.free.clear()
    ignored = Question(Read.STATUS, written, lambda _: None)

    assert reader.ask(ignored) is None
    assert world.reading.wait(TIMEOUT_S)
    refusals = [reader.ask(ignored) for _ in range(reader_module.WAITING_MAX + 1)]

    assert refusals[:-1] == [None] * reader_module.WAITING_MAX
    assert refusals[-1] == "too many questions wait for the database"


def test_a_connection_for_which_nobody_asks_is_closed(monkeypatch, world, reader):
    monkeypatch.setattr(reader_module, "IDLE_S", 0.01)
    ask(reader)

    assert world.all_closed.wait(TIMEOUT_S)
