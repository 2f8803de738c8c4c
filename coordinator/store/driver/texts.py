"""Texts of others, made such that any database takes them.

A program's error, a file's name or an argument of a command may hold what is no text to PostgreSQL:
halves of surrogate pairs (which Python makes of bytes that are not UTF-8), NUL, or a character that
the database's encoding does not have.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.types.string import StrDumper

#: PostgreSQL's names of encodings that hold every character, or take every byte.
WHOLE = ("UTF8", "SQL_ASCII")
#: Python's names of those that are called otherwise there; psycopg knows no more, either.
CODECS = {
    "LATIN1": "iso8859-1",
    "LATIN2": "iso8859-2",
    "LATIN3": "iso8859-3",
    "LATIN4": "iso8859-4",
    "LATIN5": "iso8859-9",
    "LATIN6": "iso8859-10",
    "LATIN7": "iso8859-13",
    "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15",
    "LATIN10": "iso8859-16",
    "ISO_8859_5": "iso8859-5",
    "ISO_8859_6": "iso8859-6",
    "ISO_8859_7": "iso8859-7",
    "ISO_8859_8": "iso8859-8",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "EUC_CN": "gb2312",
    "EUC_JP": "euc_jp",
    "EUC_JIS_2004": "euc_jis_2004",
    "EUC_KR": "euc_kr",
    "WIN866": "cp866",
    "WIN874": "cp874",
    **{f"WIN{number}": f"cp{number}" for number in range(1250, 1259)},
}


def clean(text: str, encoding: str = "UTF8") -> str:
    """Return the text with an escape for whatever a database of this encoding cannot hold.

    encoding: as PostgreSQL names it, in server_encoding.
    """
    codec = "utf-8" if encoding in WHOLE else CODECS.get(encoding, "ascii")
    return text.encode(codec, "backslashreplace").decode(codec).replace("\0", "\\x00")


def clean_text(text: str, letters_max: int | None = None) -> str:
    """Return a text that any UTF-8 database can keep; what it cannot is shown as an escape.

    A lone surrogate stands for a byte of a file name that is not UTF-8, and NUL ends a text for
    PostgreSQL.
    """
    cleaned = clean(text)
    return cleaned if letters_max is None else cleaned[:letters_max]


def ascii_text(text: str) -> str:
    """Return a text for a database whose encoding has none of the letters that it lacks."""
    return text.encode("ascii", "backslashreplace").decode()


class CleanStrDumper(StrDumper):
    """Dumper of texts that removes what the database would refuse."""

    def __init__(self, cls: type, context: psycopg.abc.AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        connection = None if context is None else context.connection
        told = None if connection is None else connection.info.parameter_status("server_encoding")
        self._server_encoding = told or "UTF8"

    def dump(self, obj: str) -> Any:
        """Return the text's bytes."""
        return super().dump(clean(obj, self._server_encoding))


class CleanStrDumperUnknown(CleanStrDumper):
    """The same for a parameter whose type the statement says, which is how texts go by default."""

    oid = psycopg.types.string.StrDumperUnknown.oid
