"""Findings of an examination, each with a light and, unless it is green, with a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Light(StrEnum):
    """Light of a finding."""

    GREEN = "green"
    AMBER = "amber"  #: a node runs, and something is worse than it could be
    RED = "red"  #: `coord run` refuses to start, or cannot work


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was examined.

    code: exit code of `coord run` because of it; 0 unless it is red.
    """

    area: str
    light: Light
    text: str
    remedy: str = ""
    code: int = 0


def good(area: str, text: str) -> Finding:
    """Return a green finding."""
    return Finding(area=area, light=Light.GREEN, text=text)


def weak(area: str, text: str, remedy: str) -> Finding:
    """Return an amber finding."""
    return Finding(area=area, light=Light.AMBER, text=text, remedy=remedy)


def bad(area: str, text: str, remedy: str, code: int = 78) -> Finding:
    """Return a red finding."""
    return Finding(area=area, light=Light.RED, text=text, remedy=remedy, code=code)
