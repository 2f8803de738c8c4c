"""Deliberately broken variants of rules U: each must be found by some of the plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from coordinator.protocol.holders import intake, machine
from coordinator.protocol.holders.state import Ending, Holders

Patch = tuple[Any, str, Any]


def trust_from_the_answer() -> Patch:
    """U1: holdings are trusted for longer than from the sending of the heartbeat."""
    right = intake.extended

    def extended(holders, before):
        lease_s = holders.node.timing.lease_s
        return tuple(
            replace(each, trusted_until=each.trusted_until + lease_s)
            for each in right(holders, before)
        )

    return intake, "extended", extended


def released_before_the_end() -> Patch:
    """U2: the token is given back while its body runs."""
    right = intake._grant

    def grant(holders, wish, term, session):
        holders, granted = right(holders, wish, term, session)
        ending = Ending(token=wish.token, term=term, session=session, reason="", ended_at=0.0)
        return replace(holders, endings=(*holders.endings, ending)), granted

    return intake, "_grant", grant


def a_name_twice() -> Patch:
    """U3: a name is asked for while a body of this process has it."""

    def fronts(holders):
        return tuple({wish.token: wish for wish in reversed(tuple(holders.wishes))}.values())

    return Holders, "fronts", fronts


def nothing_is_in_doubt() -> Patch:
    """U4: after a lost answer the holdings are not read."""
    return intake, "in_doubt", lambda holders: holders


def joins_beside_its_bodies() -> Patch:
    """U5: the process joins again while bodies of the session that is over still run."""
    return machine, "with_bodies", lambda holders, _now: holders


PLANTED: tuple[Callable[[], Patch], ...] = (
    trust_from_the_answer,
    released_before_the_end,
    a_name_twice,
    nothing_is_in_doubt,
    joins_beside_its_bodies,
)


@contextmanager
def planted(patch: Patch) -> Iterator[None]:
    """Break the rule for the block."""
    where, name, wrong = patch
    right = getattr(where, name)
    setattr(where, name, wrong)
    try:
        yield
    finally:
        setattr(where, name, right)
