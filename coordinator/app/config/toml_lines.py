"""Line numbers of the keys of a TOML text; tomllib reports lines only for syntax errors.

The text has been accepted by tomllib before, so this scanner need not refuse anything: it only
has to know where a key ends, a value ends, and which brackets, quotes and hashes mean nothing.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left

Path = tuple[str | int, ...]

BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
SPACE = re.compile(r"[ \t]*")
#: Three quotes open a string that ends at the last of the next three to five.
STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
#: A number, date or word; "1979-05-27 07:32:00" has a blank in it, which ends nothing that counts.
WORD = re.compile(r"[^,\]}#\n]*")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def key_lines(text: str) -> dict[Path, int]:
    """Map each table, key and array element of a TOML text to the line where it starts."""
    return _Scan(text).document()


class _Scan:
    """A place in the text, and what was found before it."""

    __slots__ = ("_at", "_counts", "_ends", "_found", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._found: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}  # elements of each array of tables so far

    def document(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(BLANK)
        return self._found

    def _header(self) -> Path:
        line, brackets = self._line(), 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        *outer, last = self._keys()
        self._at += brackets
        for end in range(1, len(outer) + 1):
            self._found.setdefault(self._newest(tuple(outer[:end])), line)
        array = (*self._newest(tuple(outer)), last)
        self._found.setdefault(array, line)
        if brackets == 2:
            self._counts[array] = self._counts.get(array, 0) + 1
        path = self._newest((*outer, last))
        self._found.setdefault(path, line)
        return path

    def _newest(self, keys: Path) -> Path:
        """Name the table that these keys mean here: of an array of tables, its last element."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for key in self._keys():
            path = (*path, key)
            self._found.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(SPACE)
        self._value(path)

    def _keys(self) -> tuple[str, ...]:
        keys = [self._key()]
        while self._text.startswith(".", self._at):
            self._at += 1
            keys.append(self._key())
        return tuple(keys)

    def _key(self) -> str:
        self._skip(SPACE)
        pattern = STRING if self._text[self._at] in "\"'" else BARE_KEY
        start = self._at
        self._skip(pattern)
        written = self._text[start : self._at]
        self._skip(SPACE)
        return next(iter(tomllib.loads(f"{written} = 0")))

    def _value(self, path: Path) -> None:
        match self._text[self._at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._skip(STRING)
            case _:
                self._skip(WORD)

    def _array(self, path: Path) -> None:
        self._at += 1
        for index in range(len(self._text)):
            self._skip(BLANK)
            if self._text[self._at] == "]":
                break
            self._found.setdefault((*path, index), self._line())
            self._value((*path, index))
            self._comma()
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        self._skip(BLANK)
        while self._text[self._at] != "}":
            self._pair(path)
            self._comma()
        self._at += 1

    def _comma(self) -> None:
        self._skip(BLANK)
        if self._text[self._at] == ",":
            self._at += 1
        self._skip(BLANK)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self._text, self._at):
            self._at = match.end()

    def _line(self) -> int:
        return bisect_left(self._ends, self._at) + 1
