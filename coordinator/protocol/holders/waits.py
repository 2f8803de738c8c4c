"""Waits of a process for tokens, kept so that no event has to walk all of them.

A change copies containers, which costs no step for each wait; what is asked of them names the waits
that it is about: the first for each token, those whose time is over, those for one token.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from coordinator.protocol.holders.events import Wish

_NONE: Mapping[int, Wish] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Waits by token, in the order in which they came; replaced, never changed.

    queues:   of each token, by number: the first has waited longest.
    tokens:   of each wait, by number, in the order in which all came.
    moments:  until when each waits, with its number; sorted.
    tries:    numbers of those that give up once somebody is seen to hold the token.
    """

    queues: Mapping[str, Mapping[int, Wish]] = field(default_factory=lambda: MappingProxyType({}))
    tokens: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    moments: tuple[tuple[float, int], ...] = ()
    tries: frozenset[int] = frozenset()

    def __iter__(self) -> Iterator[Wish]:
        """Yield all of them, in the order in which they came."""
        return (self.queues[token][number] for number, token in self.tokens.items())

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, number: object) -> bool:
        return number in self.tokens

    def of(self, token: str) -> Mapping[int, Wish]:
        """Return those for a token, by number."""
        return self.queues.get(token, _NONE)

    def first(self, token: str) -> Wish | None:
        """Return the one that has waited longest for a token."""
        return next(iter(self.of(token).values()), None)

    def firsts(self) -> Iterator[Wish]:
        """Yield the first for each token."""
        return (next(iter(queue.values())) for queue in self.queues.values())

    def over(self, now: float) -> Iterator[Wish]:
        """Yield those whose time is over, and those that only try."""
        ended = self.moments[: bisect_right(self.moments, (now, float("inf")))]
        for number in sorted(self.tries.union(number for _, number in ended)):
            yield self.queues[self.tokens[number]][number]

    def next_end(self, now: float) -> float:
        """Return the first moment after `now` at which the time of one is over."""
        at = bisect_right(self.moments, (now, float("inf")))
        return self.moments[at][0] if at < len(self.moments) else float("inf")

    def with_one(self, wish: Wish) -> Waits:
        """Return them with one more, the last."""
        moments = list(self.moments)
        insort(moments, (wish.until, wish.number))
        queue = {**self.of(wish.token), wish.number: wish}
        return Waits(
            queues={**self.queues, wish.token: queue},
            tokens={**self.tokens, wish.number: wish.token},
            moments=tuple(moments),
            tries=self.tries if wish.waits else self.tries | {wish.number},
        )

    def without(self, numbers: Iterable[int]) -> Waits:
        """Return them without some of them, which they have."""
        queues, tokens, moments = dict(self.queues), dict(self.tokens), list(self.moments)
        gone = frozenset(numbers)
        changed: dict[str, dict[int, Wish]] = {}
        for number in gone:
            token = tokens.pop(number)
            if token not in changed:
                changed[token] = dict(queues[token])
            wish = changed[token].pop(number)
            del moments[bisect_left(moments, (wish.until, number))]
        for token, queue in changed.items():
            if queue:
                queues[token] = queue
            else:
                del queues[token]
        tries = self.tries - gone
        return Waits(queues=queues, tokens=tokens, moments=tuple(moments), tries=tries)


def waits(*wishes: Wish) -> Waits:
    """Return these, in this order."""
    all_of_them = Waits()
    for wish in wishes:
        all_of_them = all_of_them.with_one(wish)
    return all_of_them
