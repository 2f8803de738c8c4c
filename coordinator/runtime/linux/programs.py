"""The file that a command names: where the kernel finds it, and why it cannot be executed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping

#: As in execvpe, when the environment has no PATH.
_PATH = os.defpath
#: Longest first line of a script that any kernel reads.
_FIRST_LINE_MAX = 256


def found(command: str, env: Mapping[str, str], cwd: str | None = None) -> str | None:
    """Return the path of the file that the command names; None when there is none."""
    if "/" in command:
        path = os.path.join(cwd or "", command)
        return path if os.path.exists(path) else None
    for directory in env.get("PATH", _PATH).split(os.pathsep):
        path = os.path.join(cwd or "", directory, command)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def of_another_user(path: str) -> bool:
    """Say whether a program becomes another user's when it is executed."""
    with contextlib.suppress(OSError):
        seen = os.stat(path)
        return bool(seen.st_mode & stat.S_ISUID) and seen.st_uid != os.geteuid()
    return False


def no_kill(command: str) -> str:
    """Explain why a program of another user is refused."""
    return (
        f"{command}: it is set-uid and runs as another user, whose processes this node could not"
        " kill; run the node as root, or as the user that the program needs"
    )


def not_found(command: str, path: str | None) -> str:
    """Explain why the kernel does not find a program, which may still exist."""
    if path is None:
        where = "" if "/" in command else " in PATH"
        return f"{command}: command not found{where}"
    interpreter = _interpreter(path)
    if interpreter.endswith("\r"):
        return (
            f"{command}: its first line ends as on Windows (CRLF), so its interpreter"
            f" {interpreter!r} is not found; convert it: sed -i 's/\\r$//' {command}"
        )
    if interpreter:
        return f"{command}: its interpreter {interpreter} (after #!) is not found"
    return f"{command}: the dynamic loader that it needs is not found"


def _interpreter(path: str) -> str:
    """Return the interpreter that a script's first line names; empty for another file."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        line = file.read(_FIRST_LINE_MAX).split(b"\n")[0]
        if line.startswith(b"#!"):
            words = line[2:].lstrip(b" \t").split(b" ")
            return words[0].decode(errors="replace")
    return ""


def interpreter_missing(path: str) -> bool:
    """Say whether a script names an interpreter that does not exist."""
    interpreter = _interpreter(path)
    return bool(interpreter) and not os.path.exists(interpreter)
