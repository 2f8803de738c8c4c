"""The channel and the alarm: what the guardian hears and wakes by."""

from __future__ import annotations

import contextlib
import math
import os
import select

import pytest

from coordinator.runtime.linux.channel import Channel, pair
from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.runtime.linux.syscalls import Alarm


def test_messages_come_whole_and_in_order():
    one, other = pair()

    assert one.send({"say": "first", "text": "ü\udcff"})
    assert one.send({"say": "second"})

    assert other.receive()[0] == {"say": "first", "text": "ü\udcff"}
    assert other.receive()[0] == {"say": "second"}
    assert other.poll() is None
    assert other.peer_pid == os.getpid()


def test_message_longer_than_a_socket_buffer_arrives():
    one, other = pair()
    text = "x" * 3_000_000

    assert one.send({"text": text})

    message, fds = other.receive()
    assert message == {"text": text}
    assert fds == []


def test_descriptors_travel_with_the_message():
    one, other = pair()
    read_fd, write_fd = os.pipe()

    one.send({"say": "become", "text": "y" * 100_000}, [write_fd])
    os.close(write_fd)
    message, (passed,) = other.receive()
    os.write(passed, b"through")

    assert message is not None
    assert os.read(read_fd, 10) == b"through"
    assert not os.get_inheritable(passed)
    os.close(passed)
    os.close(read_fd)


def test_closed_peer_is_the_end_and_not_an_error():
    one, other = pair()
    one.send({"say": "last"})
    one.close()

    assert other.receive()[0] == {"say": "last"}
    assert other.receive() == (None, [])
    assert other.poll() == (None, [])
    assert not other.send({"say": "too late"})


def test_peer_that_does_not_read_blocks_nobody():
    one, _other = pair()
    sent = 0

    while one.send({"n": sent}, wait_s=0):
        sent += 1
        assert sent < 100_000

    assert sent > 100


def test_inherited_descriptor_becomes_a_channel():
    one, other = pair()

    again = Channel.from_fd(other.detach())
    one.send({"say": "hello"})

    assert again.receive()[0] == {"say": "hello"}


@pytest.fixture
def alarm():
    with contextlib.closing(Alarm()) as alarm:
        yield alarm


def test_alarm_rings_at_its_moment_and_not_before(alarm):
    clock = BoottimeClock()
    poll = select.poll()
    poll.register(alarm.fileno(), select.POLLIN)

    at = clock.now() + 0.02
    alarm.set(at)

    assert poll.poll(5_000)
    assert clock.now() >= at
    alarm.silence()
    assert not poll.poll(0)


def test_alarm_for_the_past_rings_at_once_and_for_never_not_at_all(alarm):
    clock = BoottimeClock()
    poll = select.poll()
    poll.register(alarm.fileno(), select.POLLIN)

    alarm.set(clock.now() - 10)
    assert poll.poll(1_000)
    alarm.silence()
    alarm.set(clock.now() + 0.01)
    alarm.set(math.inf)

    assert not poll.poll(30)
