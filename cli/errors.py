"""Conversion of a failure to a line for people and an exit code for scripts."""

from __future__ import annotations

import errno
import os
import sys

from coordinator.errors import CoordError

#: Exit codes, as a shell reports them: interrupted by the terminal; the reader of stdout is gone.
INTERRUPTED = 130
BROKEN_PIPE = 141
#: Errors of a write to stdout that is a file on a full or broken disk.
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
API_VERSION = "coord/v1"
#: Control characters that a terminal would obey; a tab and a line feed are harmless.
CONTROLS = {code: "?" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}


def report(error: Exception, *, verbose: bool, as_json: bool = False) -> int:
    """Print one line for an error (or all lines of a list of them); return the exit code.

    verbose: print the traceback first; it is never printed otherwise.
    as_json: print one JSON document instead, for a caller that asked for JSON.
    """
    if isinstance(error, BrokenPipeError):
        silence()
        return BROKEN_PIPE
    if verbose:
        import traceback

        _write("".join(traceback.format_exception(error)).rstrip("\n"))
    if isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is None:
        code, lines = 1, [f"the answer could not be written: {error.strerror}"]
        silence()
    elif isinstance(error, CoordError):
        code, lines = error.exit_code, str(error).splitlines() or [type(error).__name__]
    else:
        hint = "" if verbose else "; run again with -v for the traceback"
        code, lines = 1, [f"unexpected error: {_one_line(error)}{hint}"]
    if as_json:
        import json

        document = {"apiVersion": API_VERSION, "kind": "Error", "exitCode": code}
        _write(json.dumps(document | {"messages": lines}))
        return code
    for line in lines:
        say(line)
    return code


def say(line: str) -> None:
    """Print one line for a person to stderr."""
    # A name from the database may hold escape sequences, which the terminal must not obey.
    _write(f"coord: {line}".translate(CONTROLS))


def silence(fd: int = 1) -> None:
    """Discard what is still buffered: the reader is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


def _write(line: str) -> None:
    """Print to stderr; if it cannot be written to, only the exit code reports the error."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        silence(2)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
