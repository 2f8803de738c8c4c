"""O6: which heartbeats watch the holder's session alone, and which look at everything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.protocol.messages.requests import View
from coordinator.protocol.node.state.last_seen import (
    LOOK_EVERY,
    LOOK_EVERY_OF_TASKS,
    QUICK_SHARE,
    LastSeen,
    seen_again,
)
from tests.simulation.plans.script import FREE, held, seen, view

HELD = view(held("s-2"), seen("s-2"))
OWN_LINE = LastSeen(lent=False)


def known(shown: View, line: LastSeen = OWN_LINE, took_share: float = 0.1) -> View | None:
    """Return what the heartbeat after an answer watches."""
    return line.after_answer(shown, took_share).for_a_beat()[1]


def test_a_heartbeat_watches_the_holder_that_was_seen_last() -> None:
    assert known(HELD) is HELD
    assert OWN_LINE.for_a_beat()[1] is None, "nothing was seen yet"


@pytest.mark.parametrize(
    "shown",
    [
        view(FREE),
        view(held("s-2"), seen("s-2", ended=True)),
        view(held("s-2"), seen("s-3")),
        view(held("s-2"), None),
        view(held("s-2"), seen("s-2"), settled=False),
    ],
    ids=["free", "ended", "another session", "no row", "not settled"],
)
def test_what_is_not_held_is_looked_at_whole(shown: View) -> None:
    assert known(shown) is None


def test_behind_a_pooler_everything_is_looked_at() -> None:
    assert known(HELD, replace(OWN_LINE, lent=True)) is None


def test_on_a_slow_path_everything_is_looked_at() -> None:
    assert known(HELD, took_share=QUICK_SHARE) is HELD
    assert known(HELD, took_share=QUICK_SHARE + 0.01) is None


def test_after_a_notification_everything_is_looked_at_until_an_answer_shows_it() -> None:
    told = OWN_LINE.after_answer(HELD, 0.1).after_notification()
    assert told.for_a_beat()[1] is None

    # It came while the answer was under way, which may be older.
    assert told.after_answer(HELD, 0.1).for_a_beat()[1] is None

    heard, news = told.hear()
    assert (news, heard.hear()[1]) == (True, False)
    assert heard.for_a_beat()[1] is None
    assert heard.after_answer(HELD, 0.1).for_a_beat()[1] is HELD


@pytest.mark.parametrize(
    ("hosts_tasks", "every"), [(False, LOOK_EVERY), (True, LOOK_EVERY_OF_TASKS)]
)
def test_one_heartbeat_of_a_few_looks_at_everything(hosts_tasks: bool, every: int) -> None:
    line = LastSeen(lent=False, hosts_tasks=hosts_tasks)
    looks = []
    for _ in range(3 * every):
        line, watched = line.after_answer(HELD, 0.1).for_a_beat()
        looks.append(watched is None)

    assert [number for number, look in enumerate(looks, 1) if look] == [every, 2 * every, 3 * every]


def test_a_watch_shows_the_holders_beat_and_nothing_else() -> None:
    again = seen_again(HELD, 7, -0.5)

    assert HELD.holder is not None
    assert again == replace(HELD, holder=replace(HELD.holder, beat=7, age_s=0.0))
