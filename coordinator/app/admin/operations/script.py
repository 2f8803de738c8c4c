"""Statements of a text: where each begins and ends, and which kind it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Pieces inside which a semicolon ends no statement: texts, names, comments, dollar-quoted texts.
_PIECES = re.compile(
    r"'(?:[^']|'')*(?:'|\Z)"
    r'|"(?:[^"]|"")*(?:"|\Z)'
    r"|--[^\n]*"
    r"|/\*.*?(?:\*/|\Z)"
    r"|(\$(?:[A-Za-z_]\w*)?\$).*?(?:\1|\Z)"
    r"|;"
    r"|.",
    re.DOTALL,
)
_BLANK = re.compile(r"(?:\s|--[^\n]*|/\*.*?\*/)*", re.DOTALL)
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
        begin = _BLANK.match(self.text)
        assert begin is not None, "it matches nothing, too"
        word = re.match(r"\(*\s*([a-z]+)", self.text[begin.end() :].lower())
        return word is not None and word[1] in _QUERIES


def split(text: str) -> list[Piece]:
    """Return the statements of a text; what is blank between semicolons is none."""
    pieces: list[Piece] = []
    begin = 0
    for found in _PIECES.finditer(text):
        if found[0] == ";":
            pieces.append(Piece(text[begin : found.start()], begin, True))
            begin = found.end()
    pieces.append(Piece(text[begin:], begin, False))
    return [piece for piece in pieces if not _is_blank(piece.text)]


def _is_blank(text: str) -> bool:
    blank = _BLANK.fullmatch(text)
    return blank is not None
