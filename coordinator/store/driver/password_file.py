"""A file whose only line is the password, read anew for each connection: passwords are rotated.

A conninfo names it under libpq's own key for files of passwords, with a mark before its path. libpq
finds no file of that name, and our one door to the database reads it (`driver.connect`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from coordinator.errors import DatabaseRefusedError

KEY = "passfile"
MARK = "coord:"
#: A password file holds one line; more than this is some other file.
BYTES_MAX = 65_536


def read_password(path: str) -> str:
    """Return the one line of a password file.

    Errors: ValueError says why not, without what is in the file.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(BYTES_MAX + 1)
        text = raw.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("must be a file of UTF-8 text") from None
    if not text or "\n" in text or "\0" in text or len(raw) > BYTES_MAX:
        raise ValueError("must be a file of one line, the password")
    return text


def path_in(given: Mapping[str, object]) -> str | None:
    """Return the path that a conninfo's keys name with our mark."""
    named = str(given.get(KEY, ""))
    return named.removeprefix(MARK) if named.startswith(MARK) else None


def password_now(given: Mapping[str, object]) -> str | None:
    """Return the password that the file holds now; None when a conninfo names no such file.

    Errors: DatabaseRefusedError says why it cannot be read.
    """
    path = path_in(given)
    if path is None or "password" in given:
        return None
    try:
        return read_password(path)
    except ValueError as error:
        raise DatabaseRefusedError(f"databaseConfig.passwordFile {path}: {error}") from None


def for_program(conninfo: str) -> str:
    """Return a conninfo as any program may use it; without a password that cannot be read now."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    keys = {key: str(value) for key, value in conninfo_to_dict(conninfo).items()}
    if path_in(keys) is None:
        return conninfo
    with suppress(DatabaseRefusedError):
        keys = with_password(keys)
    return make_conninfo("", **keys)


def with_password(keys: Mapping[str, str]) -> dict[str, str]:
    """Return a conninfo's keys as libpq reads them in any program: the password itself.

    Errors: DatabaseRefusedError.
    """
    password = password_now(keys)
    if password is None:
        return dict(keys)
    return {**{key: value for key, value in keys.items() if key != KEY}, "password": password}
