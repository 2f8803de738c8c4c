"""The one way to start an interpreter of coord.

-P, because the directory in which coord is started holds files of others: a `types.py` or a package
`coordinator` there would run instead of coord's own, possibly as root.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

#: Variables that make an interpreter do more than run its module; a helper does not need them.
_UNWANTED = (
    *("PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONVERBOSE", "PYTHONDEBUG", "PYTHONDUMPREFS"),
    *("PYTHONPROFILEIMPORTTIME", "PYTHONTRACEMALLOC", "PYTHONBREAKPOINT", "PYTHONWARNINGS"),
    "PYTHONASYNCIODEBUG",
)


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of coord."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Return this process's environment without variables that change an interpreter."""
    return {name: value for name, value in os.environ.items() if name not in _UNWANTED}


def answer_of(
    module: str,
    *arguments: str,
    said: str | None = None,
    pass_fds: Iterable[int] = (),
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a module of coord to its end, and return its result.

    said: its standard input; empty by default.
    Errors: OSError when no process can be made; subprocess.TimeoutExpired.
    """
    return subprocess.run(
        command(module, *arguments),
        env=environment(),
        input="" if said is None else said,
        pass_fds=tuple(pass_fds),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
    )
