"""The last words of a node's process are heard, whatever it leaves unread (rule G11)."""

from __future__ import annotations

import json
import os
import select
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.protocol.node.events import ProgramEnded, StopAsked
from coordinator.runtime.linux import channel, spawn
from coordinator.runtime.linux.channel import pair
from tests.unit.runtime.agent.test_guardian_link import Line

#: One step of two processes that talk to each other: who, and whether it speaks or reads.
steps = st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from(["say", "read"])), max_size=12)


@given(steps, st.sampled_from([0, 1]), st.booleans(), st.booleans())
def test_all_that_was_said_before_a_close_is_heard_once_and_in_order(
    before: list[tuple[int, str]], leaver: int, speaks_after: bool, waits: bool
):
    """On the real kind of socket; the leaver may leave anything unread."""
    ends, said, heard = pair(), ([], []), ([], [])

    def hear(who: int) -> None:
        if received := ends[who].poll():
            assert received[0] is not None
            heard[who].append(received[0]["n"])

    for number, (who, what) in enumerate(before):
        if what == "read":
            hear(who)
        elif ends[who].send({"n": number}):
            said[who].append(number)
    stays = 1 - leaver
    ends[leaver].close()
    if speaks_after:
        assert not ends[stays].send({"n": -1})

    receive = ends[stays].receive if waits else ends[stays].poll
    while (received := receive()) != (None, []):
        assert received is not None
        assert received[0] is not None
        heard[stays].append(received[0]["n"])

    assert heard[stays] == said[leaver]
    assert receive() == (None, [])
    ends[stays].close()


def test_a_reader_that_takes_a_reset_for_the_end_is_caught(monkeypatch: pytest.MonkeyPatch):
    def broken(end: socket.socket, *limits: int) -> tuple[bytes, list[tuple[int, int, bytes]]]:
        try:
            return end.recvmsg(*limits)[:2]
        except ConnectionError:
            return b"", []

    monkeypatch.setattr(channel, "receive", broken)

    with pytest.raises(AssertionError):
        test_all_that_was_said_before_a_close_is_heard_once_and_in_order()


def refused_by_a_process_that_leaves(unread: bool) -> list[bytes]:
    line = spawn.Line()
    pid = os.fork()
    if pid == 0:
        line.close()
        line.far.send(spawn.READY)
        if unread:
            select.select([line.far], [], [])  # the permission is there, and stays unread
        line.far.send(json.dumps({"why": "w", "code": 126}).encode())
        os._exit(0)
    line.far.close()
    line.permit(1.0)
    os.waitpid(pid, 0)
    packets = [packet for packet, _ in line.packets()]
    line.close()
    return packets


def test_a_programs_process_is_heard_to_its_end_also_when_it_left_its_permission_unread():
    told = [spawn.READY, b'{"why": "w", "code": 126}', b""]

    assert refused_by_a_process_that_leaves(unread=True) == told


def test_an_agent_hears_how_a_program_ended_from_a_guardian_that_is_gone():
    """Its own word that cannot be sent any more does not deafen it."""
    line = Line()
    line.start(1)
    line.far.send({"say": "ended", "run": 1, "status": 0, "why": "itself"})
    line.far.close()  # the order to start, unread, makes it a reset

    line.link.finish(0)
    events = list(line.link.events())

    assert [type(event) for event in events] == [ProgramEnded]
    assert events[0].status == 0
    _, alone = line.link.tick(line.clock.now())
    assert [type(event) for event in alone] == [StopAsked]


def test_an_agent_without_a_guardian_speaks_of_no_run_twice():
    line = Line()
    line.start(1)
    line.far.close()
    list(line.link.events())

    _, alone = line.link.tick(line.clock.now())

    assert [type(event) for event in alone] == [StopAsked, ProgramEnded]
    assert list(line.link.events()) == []
    assert list(line.link.tick(line.clock.now())[1]) == []
