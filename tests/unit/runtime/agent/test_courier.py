"""The courier's order: what was notified is taken in before the next request is sent."""

from __future__ import annotations

import queue
import socket
import threading
from dataclasses import replace

import pytest

from coordinator.errors import DatabaseUnreachableError
from coordinator.protocol.messages.requests import Beat, Join
from coordinator.protocol.messages.task_requests import GivenTask, ReleaseTasks
from coordinator.protocol.node.events import Answered, Failed, Notified
from coordinator.runtime.agent.courier import Courier, Couriers
from coordinator.runtime.linux.clock import BoottimeClock

WITHIN_S = 10.0
BEAT = Beat(session="some")


class Connection:
    """A connection whose socket is looked at only once `ready` is set."""

    def __init__(self, *, broken: bool = False) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._broken = broken
        self.ready = threading.Event()
        self.done: list[str] = []

    def fileno(self) -> int:
        assert self.ready.wait(WITHIN_S)
        return self._ours.fileno()

    def heard(self) -> bool:
        if self._broken:
            raise DatabaseUnreachableError("the connection is closed")
        try:
            self._ours.recv(1)
        except BlockingIOError:
            return False
        self.done.append("heard")
        return True

    def ask(self, request, timeout_s):  # noqa: ARG002
        self.done.append("asked")
        return "the answer"

    def abort(self) -> None:
        self.ready.set()

    def close(self) -> None:
        self.done.append("closed")
        self.closed()

    def closed(self) -> None:
        self._ours.close()
        self.theirs.close()


class Store:
    def __init__(self) -> None:
        self.made = Connection()
        self.made.ready.set()

    def connect(self, timeout_s):  # noqa: ARG002
        return self.made


@pytest.fixture
def carried():
    """Let a courier find a request and word from the database at the same moment."""
    couriers = []

    def carried(connection: Connection, store: Store):
        events = queue.SimpleQueue()
        courier = Courier(store, BoottimeClock(), events.put, connection)
        couriers.append((courier, store))
        connection.theirs.send(b"!")
        courier.carry(BEAT, 1.0)
        connection.ready.set()
        return [events.get(timeout=WITHIN_S) for _ in range(2)]

    yield carried
    for courier, store in couriers:
        courier.dismiss()
        assert courier.join(WITHIN_S)
        store.made.closed()


def test_word_from_the_database_goes_before_the_next_request(carried):
    connection = Connection()

    told, answered = carried(connection, Store())

    assert isinstance(told, Notified)
    assert isinstance(answered, Answered)
    assert connection.done[:2] == ["heard", "asked"]


def test_a_request_that_meets_a_closed_connection_gets_another(carried):
    connection, store = Connection(broken=True), Store()

    failed, answered = carried(connection, store)

    assert isinstance(failed, Failed)
    assert failed.request is None
    assert isinstance(answered, Answered)
    assert connection.done == ["closed"]
    assert store.made.done == ["asked"]


@pytest.mark.parametrize("broken", ["connect", "ask", "heard"])
def test_an_error_that_nobody_expected_is_told_by_its_name(broken: str):
    """E5: a courier that died of it would leave a node that asks nothing more."""

    def fail(*_: object) -> None:
        raise TypeError("cannot use a string pattern\non a bytes-like object")

    store, told = Store(), queue.SimpleQueue()
    setattr(store if broken == "connect" else store.made, broken, fail)
    store.made.ready.set()
    courier = Courier(store, BoottimeClock(), told.put)
    try:
        courier.carry(BEAT, 1.0)
        event = told.get(timeout=WITHIN_S)
        if broken == "heard":
            event = told.get(timeout=WITHIN_S)

        assert isinstance(event, Failed)
        assert event.why == "unexpected TypeError: cannot use a string pattern"
        assert courier.is_alive()
    finally:
        courier.dismiss()
        assert courier.join(WITHIN_S)


def test_without_a_thread_to_spare_a_request_fails_and_the_next_one_hires_again():
    """A node whose machine can make no thread now asks later; it does not die."""
    store, told, threads = Store(), queue.SimpleQueue(), [False, False, True]

    def hire(connection):
        if not threads.pop(0):
            raise RuntimeError("can't start new thread")
        return Courier(store, BoottimeClock(), told.put, connection)

    couriers, first = Couriers(hire), Connection()
    couriers.start_with(first)

    assert first.done == ["closed"]
    assert "no thread" in couriers.carry(BEAT, 1.0)
    assert couriers.carry(BEAT, 1.0) is None
    assert isinstance(told.get(timeout=WITHIN_S), Answered)
    couriers.end(WITHIN_S)
    store.made.closed()
    first.closed()


class SlowStore(Store):
    """Makes a connection only after a second by the clock."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self._clock = clock

    def connect(self, timeout_s):
        self._clock.moment += 1.0
        return super().connect(timeout_s)


class SetClock:
    """A clock that shows what it was set to."""

    moment = 5.0

    def now(self) -> float:
        return self.moment


GIVEN = GivenTask(task="t", term=1, reason="moved", ended_s=2.0)


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (
            Join(session="s", previous=None, ended_term=1, ended_s=2.0),
            Join(session="s", previous=None, ended_term=1, ended_s=3.0),
        ),
        (
            ReleaseTasks(session="s", given=(GIVEN, replace(GIVEN, ended_s=0.0))),
            ReleaseTasks(
                session="s", given=(replace(GIVEN, ended_s=3.0), replace(GIVEN, ended_s=0.0))
            ),
        ),
    ],
    ids=["join", "tasks"],
)
def test_how_long_ago_a_program_ended_is_counted_to_the_question(request_, sent):
    """A connection may have to be made first, and a failover be waited for meanwhile."""
    events = queue.SimpleQueue()
    clock = SetClock()
    store = SlowStore(clock)
    asked = []
    store.made.ask = lambda request, _timeout_s: asked.append(request)
    courier = Courier(store, clock, events.put)
    try:
        courier.carry(request_, WITHIN_S)
        answered = events.get(timeout=WITHIN_S)
    finally:
        courier.dismiss()
        courier.join(WITHIN_S)
        store.made.closed()

    assert asked == [sent]
    assert answered.request == request_, "the node knows its request again"
