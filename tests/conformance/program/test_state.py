"""The state of a token: the fake of the simulation and PostgreSQL keep the same promises."""

from __future__ import annotations

import pytest

from coordinator.errors import StateTooLargeError, TokenLostError
from coordinator.protocol.rules.saved_state import STATE_BYTES_MAX, StateSeen, StateWanted
from tests.conformance.worlds import GROUP

#: Bytes that a text would not survive: NUL, and what is no UTF-8.
ODD = b"\x00\xff\xfe\r\n\\x41'\"%s\x00"


def test_a_state_is_read_as_it_was_put_byte_by_byte(world, node):
    """Y3"""
    alone = node("a")
    state = world.state(GROUP, alone.win(), alone.session)
    assert state.get() is None

    for sequence, content in enumerate((b"", ODD, b"x" * STATE_BYTES_MAX), start=1):
        assert state.put(content) == sequence
        assert state.get() == content


def test_the_next_holder_reads_what_the_last_one_put_and_counts_on(world, node):
    """Y1"""
    first, second = node("a"), node("b")
    before = first.win()
    world.state(GROUP, before, first.session).put(b"first")
    first.release(before)
    after = second.win()

    state = world.state(GROUP, after, second.session)

    assert state.get() == b"first"
    assert state.put(b"second") == 2


def test_a_take_tells_that_no_state_was_saved_so_far(world, node):
    """Y4: a program without a state starts without a reading."""
    first, second = node("a"), node("b")
    never = first.take(first.look())
    world.state(GROUP, never.term, first.session).put(b"first")
    first.release(never.term)

    after = second.take(second.look())

    assert never.stateless == ((GROUP, never.term),)
    assert after.done
    assert after.stateless == ()


def test_a_holder_that_was_deposed_saves_and_reads_nothing(world, node):
    """Y1: the state of a later term is never replaced by one of an earlier term."""
    first, second = node("a"), node("b")
    old = world.state(GROUP, first.win(), first.session)
    old.put(b"first")
    new = world.state(GROUP, second.win(), second.session)
    new.put(b"second")

    with pytest.raises(TokenLostError):
        old.put(b"late")
    with pytest.raises(TokenLostError):
        old.get()

    assert new.get() == b"second"


def test_a_state_that_is_too_large_is_refused_and_the_last_one_stays(world, node):
    """Y3"""
    alone = node("a")
    state = world.state(GROUP, alone.win(), alone.session)
    state.put(b"kept")

    with pytest.raises(StateTooLargeError, match=r"1048577 bytes, more than 1048576 \(1 MiB\)"):
        state.put(b"x" * (STATE_BYTES_MAX + 1))

    assert state.get() == b"kept"


def test_one_reading_shows_the_holding_and_what_was_saved_last(world, node):
    """Y4"""
    first, second = node("a"), node("b")
    wanted = [StateWanted(token=token, term=1, session="s") for token in (GROUP, "nothing")]
    reader = world.reader()
    before = first.win()
    assert reader.read(wanted) == {
        GROUP: StateSeen(term=before, session=first.session, content=None)
    }

    world.state(GROUP, before, first.session).put(ODD)
    first.release(before)
    assert reader.read(wanted)[GROUP] == StateSeen(term=before, session=None, content=ODD)
    after = second.win()

    assert reader.read(wanted)[GROUP] == StateSeen(term=after, session=second.session, content=ODD)
