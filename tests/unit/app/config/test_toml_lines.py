"""The line scanner finds every key of any TOML text, at the line where it stands."""

from __future__ import annotations

import re
import tomllib
from datetime import date

import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.app.config.toml_lines import key_lines

# Values are full of what would mislead a scanner; keys carry a mark that no value has.
TRAPS = ['"', "'", '"""', "'''", "\\", "#", "[x]", "\n", "fake = 1", ",", "]", "}", "=", "é", " "]
TEXTS = st.lists(st.sampled_from(TRAPS), max_size=8).map("".join)
SCALARS = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.just(date(2026, 1, 2)),
    TEXTS,
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
SHAPES = st.recursive(
    st.one_of(VALUES, st.just({})),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
        st.lists(
            st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2), max_size=2
        ),
    ),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abcdef"), SHAPES, max_size=5)


class Marks:
    """Gives each key a name that occurs once in the whole text."""

    def __init__(self) -> None:
        self.count = 0

    def marked(self, shape: object) -> object:
        if isinstance(shape, dict):
            return {self._name(key): self.marked(value) for key, value in shape.items()}
        return [self.marked(value) for value in shape] if isinstance(shape, list) else shape

    def _name(self, key: str) -> str:
        self.count += 1
        return f"{key}{'. ' if self.count % 5 == 0 else ''}mark{self.count}_"


def all_paths(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found = {path} if path else set()
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        found |= all_paths(inner, (*path, key))
    return found


@settings(max_examples=300)
@given(DOCUMENTS)
def test_every_key_is_found_where_its_name_stands(shape):
    document = Marks().marked(shape)
    text = tomlkit.dumps(document)

    found = key_lines(text)

    parsed = tomllib.loads(text)
    assert set(found) == all_paths(parsed)
    for path, line in found.items():
        if isinstance(path[-1], str):
            mark = re.search(r"mark\d+_", path[-1])
            assert mark is not None
            assert line == text.count("\n", 0, text.index(mark[0])) + 1


@given(TEXTS, TEXTS, st.integers(0, 3))
def test_strings_over_several_lines_hide_what_looks_like_keys(first, second, blank_count):
    def basic(text: str) -> str:
        return '"""' + text.replace("\\", "\\\\").replace('"""', '""\\"') + '\\""""'

    def literal(text: str) -> str:
        return "'''" + text.replace("'", "") + "''''"

    blank = "\n" * blank_count
    text = f"one = {basic(first)} # two = 1\n{blank}two = [ {literal(second)}, # ]\n3 ]\nend = 0\n"

    found = key_lines(text)

    assert tomllib.loads(text).keys() == {"one", "two", "end"}
    assert {path for path in found if len(path) == 1} == {("one",), ("two",), ("end",)}
    assert found[("end",)] == text.count("\n")
    assert found[("two", 1)] == text.count("\n") - 1


def test_dotted_keys_inline_tables_and_arrays_of_tables_have_lines():
    text = """
a . "b c".d = 1
e = { f = 2, g = { h = [
  { i = 3 },
] } }
[[j]]
k = 1979-05-27 07:32:00
[[j]]
[j.l]
m = 4
"""

    assert key_lines(text) == {
        ("a",): 2,
        ("a", "b c"): 2,
        ("a", "b c", "d"): 2,
        ("e",): 3,
        ("e", "f"): 3,
        ("e", "g"): 3,
        ("e", "g", "h"): 3,
        ("e", "g", "h", 0): 4,
        ("e", "g", "h", 0, "i"): 4,
        ("j",): 6,
        ("j", 0): 6,
        ("j", 0, "k"): 7,
        ("j", 1): 8,
        ("j", 1, "l"): 9,
        ("j", 1, "l", "m"): 10,
    }
