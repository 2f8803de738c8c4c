"""From the options of a command to its settings, its database, and a bound on the wait for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from coordinator.cli.errors import say
from coordinator.cli.options import Shared
from coordinator.errors import DatabaseUnreachableError

if TYPE_CHECKING:
    from coordinator.app.database import Resolved
    from coordinator.app.settings import NodeSettings


def settings_of(
    options: Shared, *, flags: Mapping[str, Any] | None = None, argv: Sequence[str] = ()
) -> NodeSettings:
    """Load the configuration with what the command line said above it."""
    import os

    from coordinator.app.config_loader import load

    path = None if options.config is None else str(options.config)
    said = {**options.flags(), **(flags or {})}
    return load(path, flags=said, environ=os.environ, argv=argv)


def database_of(options: Shared, settings: NodeSettings, *, footed: bool = False) -> Resolved:
    """Find the database of a command, and say so when it is the embedded one.

    footed: the answer itself says which server it is from.
    """
    from coordinator.app.database import resolve

    resolved = resolve(settings.database)
    if resolved.note and not options.quiet and not footed:
        say(resolved.note)
    return resolved


@contextmanager
def within(timeout_s: float, label: str) -> Iterator[None]:
    """Bound the work inside, whatever it waits for: a name server, a stopped server, a lock.

    The driver's own time-outs start anew for each address and do not cover a server that was
    stopped after it accepted. Usable in the main thread only, and not nested.
    Errors: DatabaseUnreachableError when the time is over.
    """

    def expire(_signum: int, _frame: FrameType | None) -> None:
        raise DatabaseUnreachableError(f"{label}: no answer in {timeout_s:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
