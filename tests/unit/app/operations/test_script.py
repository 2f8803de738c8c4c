"""Statements of a text: where each ends, and which of them are questions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.app.admin.operations.script import split
from coordinator.app.admin.operations.session import lines_of
from coordinator.errors import StatementError


def texts(text: str) -> list[str]:
    return [piece.text.strip() for piece in split(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" ; ;\n", []),
        ("-- nothing\n/* at all */;", []),
        ("a;b", ["a", "b"]),
        ("a;b;", ["a", "b"]),
        ("a = ';' ; b", ["a = ';'", "b"]),
        ("a = 'it''s;' ; b", ["a = 'it''s;'", "b"]),
        ('SELECT ";" ; b', ['SELECT ";"', "b"]),
        ("a -- ; not here\n; b", ["a -- ; not here", "b"]),
        ("a /* ; \n ; */ ; b", ["a /* ; \n ; */", "b"]),
        ("SELECT $$;$$ ; b", ["SELECT $$;$$", "b"]),
        ("SELECT $x$ $$ ; $x$ ; b", ["SELECT $x$ $$ ; $x$", "b"]),
        ("a 'not ended ; b", ["a 'not ended ; b"]),
        (r"SELECT E'it\'s; not here' ; b", [r"SELECT E'it\'s; not here'", "b"]),
        (r"SELECT e'\\' ; b", [r"SELECT e'\\'", "b"]),
        (r"SELECT type'\' ; b", [r"SELECT type'\'", "b"]),
        ("SELECT a$b$c ; b", ["SELECT a$b$c", "b"]),
        ("SELECT $ä$;$ä$ ; b", ["SELECT $ä$;$ä$", "b"]),
        ("a /* /* ; */ ; */ ; b", ["a /* /* ; */ ; */", "b"]),
        ("/* /* nothing */ at all */ ; b", ["b"]),
    ],
)
def test_where_a_statement_ends(text: str, found: list[str]):
    assert texts(text) == found


@given(st.text("ab;'\"-/* \n$", max_size=40))
def test_pieces_lie_where_they_say(text: str):
    for piece in split(text):
        assert text[piece.offset :].startswith(piece.text)
        assert piece.ended == (text[piece.offset + len(piece.text) :][:1] == ";")


@pytest.mark.parametrize(
    ("text", "is_query"),
    [
        ("SELECT 1", True),
        ("-- why\n select 1", True),
        ("/* why */ (SELECT 1)", True),
        ("/* why /* not */ */ SELECT 1", True),
        ("WITH a AS (SELECT 1) TABLE a", True),
        ("CREATE TASK TYPE x", False),
        ("selected", False),
        ("DELETE FROM sys.tasks", False),
        ("", False),
    ],
)
def test_questions_go_to_the_database(text: str, is_query: bool):
    pieces = split(text)

    assert [piece.is_query for piece in pieces] == ([is_query] if pieces else [])


def test_an_error_is_shown_where_it_is():
    (piece,) = split("CREATE TASK\n\tTYPE oops")
    error = StatementError("there is no type 'oops'", "22023", 18, hint="Types are a, b.")

    assert lines_of(error, piece) == [
        "ERROR: 22023: there is no type 'oops'",
        "LINE 2:  TYPE oops",
        "              ^",
        "HINT: Types are a, b.",
    ]
    assert lines_of(StatementError("no", "42601", None), piece) == ["ERROR: 42601: no"]
    (long,) = split(f"x{'y' * 1_000}z{'y' * 1_000}")
    excerpt, mark = lines_of(StatementError("no", "42601", 1_001), long)[1:]
    assert excerpt[mark.index("^")] == "z"
    assert len(excerpt) < 230
    (ended,) = split("SELECT (\n")
    assert lines_of(StatementError("no", "42601", 9), ended)[1:] == ["LINE 2: ", "        ^"]
    assert lines_of(StatementError("no", "42601", 0), split("x")[0])[1:] == [
        "LINE 1: x",
        "        ^",
    ]
