"""From the options of a command to its settings, its database, and a bound on the wait for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any

from coordinator.cli.errors import say
from coordinator.cli.shared import Shared, named_group
from coordinator.errors import ConfigError, DatabaseUnreachableError

if TYPE_CHECKING:
    from coordinator.app.admin.status import StatusReader
    from coordinator.app.admin.tasks import Tasks
    from coordinator.app.config.database_choice import Resolved
    from coordinator.app.config.settings import NodeSettings


def settings_of(
    options: Shared, *, flags: Mapping[str, Any] | None = None, argv: Sequence[str] = ()
) -> NodeSettings:
    """Load the configuration with what the command line said above it."""
    import os

    from coordinator.app.config.loader import load

    said = {**options.flags(), **(flags or {})}
    return load(_path(options), flags=said, environ=os.environ, argv=argv)


def looking_settings_of(options: Shared) -> NodeSettings:
    """Load the configuration for a command that only looks at the database.

    What is wrong elsewhere (a trigger, a task) is a warning: it does not concern a look.
    Errors: ConfigError with every problem when the part about the database is wrong, too.
    """
    import os

    from coordinator.app.config.loader import load

    try:
        settings = settings_of(options)
    except ConfigError as error:
        try:
            settings = load(_path(options), flags=options.flags(), environ=os.environ, looking=True)
        except ConfigError:
            raise error from None
        _warn(options, tuple(str(error).splitlines()))
    else:
        from coordinator.app.config.model.names import misspelled

        _warn(options, misspelled(os.environ))
    return settings


def _path(options: Shared) -> str | None:
    return None if options.config is None else str(options.config)


@cache
def _warn(options: Shared, lines: tuple[str, ...]) -> None:
    """Say what is odd; once, however often a command opens its database."""
    if not options.quiet:
        for line in lines:
            say(f"warning: {line}")


def database_of(options: Shared, settings: NodeSettings, *, footed: bool = False) -> Resolved:
    """Find the database of a command, and say so when it is the embedded one. Starts nothing.

    footed: the answer itself says which server it is from.
    """
    from coordinator.app.config.database_choice import look_up

    return told(options, look_up(settings), footed=footed)


def told(options: Shared, resolved: Resolved, *, footed: bool = False) -> Resolved:
    """Say where the embedded server is, when that is the database."""
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


@contextmanager
def open_reader(options: Shared) -> Iterator[tuple[StatusReader, str]]:
    """Open the reader of a database, within the time-out; also return the configured group."""
    from coordinator.app.admin.status import StatusReader

    settings = looking_settings_of(options)
    resolved = database_of(options, settings, footed=True)
    with within(options.timeout_s, resolved.label):
        reader = StatusReader(
            resolved, schema=settings.database.schema, timeout_s=options.timeout_s
        )
        try:
            yield reader, settings.group_id
        finally:
            reader.close()


@contextmanager
def open_tasks(
    options: Shared, named: str | None = None
) -> Iterator[tuple[Tasks, str, NodeSettings]]:
    """Open the tasks of a group, within the time-out; return the group and the settings, too."""
    from coordinator.app.admin.tasks import Tasks

    settings = looking_settings_of(options)
    group = named_group(options, named) or settings.group_id
    resolved = database_of(options, settings)
    with within(options.timeout_s, resolved.label):
        tasks = Tasks(resolved, schema=settings.database.schema, timeout_s=options.timeout_s)
        try:
            yield tasks, group, settings
        finally:
            tasks.close()
