"""Messages between guardian, agent and spare: what is built is read again, whole."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.protocol.guardian import wire
from coordinator.protocol.guardian.events import EVERY_RUN, StartOrdered

WORDS = get_args(wire.Word)
NUMBERS = st.integers(-(2**40), 2**40)
MOMENTS = st.floats(allow_nan=False)
TEXTS = st.text(max_size=20)
HANDLES = st.dictionaries(TEXTS, NUMBERS | TEXTS, max_size=3)
#: Values that a field of a message may hold, by its name where its type does not say it.
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "argv": st.lists(TEXTS, max_size=3).map(tuple),
    "unset": st.lists(TEXTS, max_size=3).map(tuple),
    "env": st.dictionaries(TEXTS, TEXTS, max_size=3).map(lambda env: tuple(env.items())),
    "keep_fds": st.lists(NUMBERS, max_size=3).map(tuple),
    "forward": st.lists(NUMBERS, max_size=3).map(tuple),
    "runs": st.lists(st.tuples(NUMBERS, HANDLES), max_size=3).map(tuple),
    "handle": HANDLES,
}
TYPES: dict[str, st.SearchStrategy[Any]] = {
    "int": NUMBERS,
    "float": MOMENTS,
    "float | None": st.none() | MOMENTS,
    "str": TEXTS,
    "str | None": st.none() | TEXTS,
    "bool": st.booleans(),
}


def words_of(kind: Any) -> st.SearchStrategy[wire.Word]:
    """Return any word of a kind, from what its fields are declared to hold."""
    declared = {name: _declared(kind, name) for name in kind._fields}
    return st.builds(
        kind,
        **{
            name: FIELDS[name] if name in FIELDS else TYPES[text] for name, text in declared.items()
        },
    )


def _declared(kind: Any, name: str) -> str:
    annotation = kind.__annotations__[name]
    return getattr(annotation, "__forward_arg__", str(annotation))


@pytest.mark.parametrize("kind", WORDS, ids=lambda kind: kind.__name__)
def test_what_is_built_is_read_again(kind: Any) -> None:
    @given(words_of(kind))
    def read_again(word: wire.Word) -> None:
        carried = json.loads(json.dumps(wire.build(word)))

        assert wire.parse(carried) == word
        assert type(wire.parse(carried)) is kind

    read_again()


def test_each_kind_of_word_has_a_name_of_its_own() -> None:
    says = [wire.build(word)["say"] for word in map(_any_of, WORDS)]

    assert len(set(says)) == len(WORDS)


@pytest.mark.parametrize("kind", WORDS, ids=lambda kind: kind.__name__)
def test_a_field_that_has_no_default_must_be_there(kind: Any) -> None:
    message = wire.build(_any_of(kind))
    for field in set(kind._fields) - set(kind._field_defaults):
        with pytest.raises(KeyError):
            wire.parse({key: value for key, value in message.items() if key != field})


def test_a_field_that_has_a_default_may_be_missing() -> None:
    short = {"say": "start", "run": 1, "term": 2, "trusted_until": 3.0, "stop_timeout_s": 4.0}

    assert wire.parse(short) == StartOrdered(1, 2, 3.0, 4.0)


@pytest.mark.parametrize(
    "message",
    [
        {"say": "extend", "run": "one", "trusted_until": 1.0},
        {"say": "extend", "run": EVERY_RUN, "trusted_until": None},
        {"say": "session", "session": 7, "term": 1},
        {"say": "running", "run": 1, "handle": "plain"},
        {"say": "runs", "runs": [1, 2], "session": None, "term": 0},
    ],
    ids=lambda message: message["say"],
)
def test_an_ill_formed_word_is_refused(message: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        wire.parse(message)


@pytest.mark.parametrize("message", [{}, {"say": "later"}, {"tell": 1}])
def test_an_unknown_word_is_none(message: dict[str, object]) -> None:
    assert wire.parse(message) is None


def _any_of(kind: Any) -> wire.Word:
    plain = {"int": 1, "float": 1.0, "float | None": None, "str": "", "str | None": None}
    values: dict[str, Any] = {"handle": {}, "runs": (), "argv": (), "env": (), "unset": ()}
    values |= {"keep_fds": (), "forward": ()}
    fields = {
        name: values[name] if name in values else plain.get(_declared(kind, name), False)
        for name in kind._fields
    }
    word: wire.Word = kind(**fields)
    return word
