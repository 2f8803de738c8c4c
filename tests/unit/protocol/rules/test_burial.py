"""G12: the session of a unit that was killed is ended only when nothing of its node can live."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coordinator.protocol.rules import burial
from coordinator.protocol.rules.burial import Remains, hindrance

DEAD = Remains(
    same_boot=True,
    same_start=True,
    same_place=True,
    guarded=False,
    others=frozenset(),
    unknown=frozenset(),
    left=frozenset(),
)
#: Each alone forbids it, with a word of the reason.
SIGNS_OF_LIFE: dict[str, tuple[dict[str, Any], str]] = {
    "another boot": ({"same_boot": False}, "boot"),
    "another start of the unit": ({"same_start": False}, "start"),
    "a shell of a person": ({"same_place": False}, "cgroup"),
    "the agent lives": ({"others": frozenset({41, 42})}, "41, 42"),
    "a guardian that was moved": ({"guarded": True}, "guardian lives"),
    "a cgroup that cannot be read": ({"others": None}, "cannot be read"),
    "a run without a handle": ({"unknown": frozenset({7})}, "being started"),
    "a program that left the cgroup": ({"left": frozenset({7})}, "cannot be killed"),
}


def test_the_session_of_a_unit_without_a_process_is_ended():
    assert hindrance(DEAD) == ""


@pytest.mark.parametrize("sign", SIGNS_OF_LIFE)
def test_one_sign_of_life_is_enough(sign: str):
    """Rule G12."""
    changes, word = SIGNS_OF_LIFE[sign]

    assert word in hindrance(replace(DEAD, **changes))


def test_every_sign_is_looked_at():
    """Rule G12: a variant that trusts the cgroup alone takes an escaped program for dead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(burial, "_may_live", lambda remains: bool(remains.others))
        missed = [
            sign
            for sign, (changes, _) in SIGNS_OF_LIFE.items()
            if not hindrance(replace(DEAD, **changes))
        ]

    assert missed == [
        "a guardian that was moved",
        "a cgroup that cannot be read",
        "a run without a handle",
        "a program that left the cgroup",
    ]
