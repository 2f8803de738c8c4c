"""Levels of isolation are stated once; the values of the setting are the same."""

from __future__ import annotations

from typing import get_args

import pytest

from coordinator.app.config.settings import Isolation
from coordinator.runtime.isolation import levels


def test_the_setting_takes_auto_and_every_level():
    assert get_args(Isolation) == ("auto", *levels.LEVELS)


@pytest.mark.parametrize("level", levels.LEVELS)
def test_every_level_says_what_it_kills(level: str):
    assert levels.reach(level).startswith("everything ")


def test_a_handle_of_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="no such isolation level: jail"):
        levels.kill_everything({"level": "jail"})
