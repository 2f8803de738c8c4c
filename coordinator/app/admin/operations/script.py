"""Statements of a text: where each begins and ends, and which kind it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Pieces inside which a semicolon ends no statement: texts, names, comments, dollar-quoted texts. A
#: word is one piece, so that no quote begins inside of it; after E a backslash quotes, too.
_PIECES = re.compile(
    r"[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)"
    r"|'(?:[^']|'')*(?:'|\Z)"
    r'|"(?:[^"]|"")*(?:"|\Z)'
    r"|[^\W\d](?:\w|\$)*"
    r"|--[^\n]*"
    r"|(?P<comment>/\*)"
    r"|(\$(?:[^\W\d]\w*)?\$).*?(?:\2|\Z)"
    r"|;"
    r"|.",
    re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")
_SPACE = re.compile(r"(?:\s|--[^\n]*)*")
#: First words of a question to the database; anything else is parsed as one of our statements.
_QUERIES = ("select", "with", "table", "values", "show", "explain")


@dataclass(frozen=True, slots=True)
class Piece:
    """One statement of a text, without its semicolon; `ended`: it had one."""

    text: str
    offset: int
    ended: bool

    @property
    def is_query(self) -> bool:
        """True for a question that the database answers."""
        word = re.match(r"\(*\s*([a-z]+)", self.text[_behind_blank(self.text) :].lower())
        return word is not None and word[1] in _QUERIES


def split(text: str) -> list[Piece]:
    """Return the statements of a text; what is blank between semicolons is none."""
    pieces: list[Piece] = []
    begin = at = 0
    while found := _PIECES.match(text, at):
        at = found.end()
        if found["comment"]:
            at = _end_of_comment(text, at)
        elif found[0] == ";":
            pieces.append(Piece(text[begin : found.start()], begin, True))
            begin = at
    pieces.append(Piece(text[begin:], begin, False))
    return [piece for piece in pieces if _behind_blank(piece.text) < len(piece.text)]


def _behind_blank(text: str) -> int:
    """Return where a text begins, behind blanks and comments."""
    at = 0
    while True:
        found = _SPACE.match(text, at)
        assert found is not None, "it matches nothing, too"
        at = found.end()
        if not text.startswith("/*", at):
            return at
        at = _end_of_comment(text, at + 2)


def _end_of_comment(text: str, at: int) -> int:
    """Return the end of a comment that began before `at`; as in PostgreSQL they may be nested."""
    depth = 1
    for found in _COMMENT.finditer(text, at):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return found.end()
    return len(text)
