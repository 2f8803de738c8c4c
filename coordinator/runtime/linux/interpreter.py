"""Every interpreter that coord starts, started in one way.

-P, because the directory that coord is started in holds somebody's modules: a `types.py` or a
package `coordinator` there would run in the place of ours, as root maybe.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

#: What makes an interpreter do more than to run its module; a helper has no use for it.
_UNWANTED = (
    *("PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONVERBOSE", "PYTHONDEBUG", "PYTHONDUMPREFS"),
    *("PYTHONPROFILEIMPORTTIME", "PYTHONTRACEMALLOC", "PYTHONBREAKPOINT", "PYTHONWARNINGS"),
    "PYTHONASYNCIODEBUG",
)


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of coord."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Return this process's environment less what changes how an interpreter behaves."""
    return {name: value for name, value in os.environ.items() if name not in _UNWANTED}


def answer_of(
    module: str,
    *arguments: str,
    said: str | None = None,
    pass_fds: Iterable[int] = (),
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a module of coord to its end, and return what it answered.

    said: its standard input; without it, it has none.
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
