"""One error tree; each family has one exit code (README, Commands).

An error's text is written for a person: what, where, what to do, in one line and without a
secret. An expected "no" (the token is held) is a return value, not an error.
"""

from __future__ import annotations


class CoordError(Exception):
    """Anything that coord itself reports; `str(error)` is the line that a person reads."""

    exit_code = 1


class ConditionFalseError(CoordError):
    """The question that was asked is answered with no (no live holder, not active)."""

    exit_code = 3


class NotFoundError(CoordError):
    """There is no such group or node."""

    exit_code = 4


class DuplicateTaskError(CoordError):
    """The group has a task of this name already."""


class NodeAliveError(ConditionFalseError):
    """The node's session may live, so that its row must stay."""


class DatabaseUnreachableError(CoordError):
    """No writable database answered in time; also a server that is only a standby."""

    exit_code = 69


class ScheduleEndedError(CoordError):
    """The schedule was ended on this node by its error policy."""

    exit_code = 70


class TokenHeldError(CoordError):
    """Another node holds the token and the caller did not want to wait longer."""

    exit_code = 75


class TokenLostError(CoordError):
    """Trust in the token ended while it was in use; whatever it guarded must stop."""

    exit_code = 76


class DatabaseRefusedError(CoordError):
    """The database refused the role: wrong password, missing grant."""

    exit_code = 77


class ConfigError(CoordError):
    """Configuration or schema version is wrong; starting again will not help."""

    exit_code = 78


class UsageError(ConfigError):
    """The command line is wrong: an option, an argument, or what they mean together."""

    exit_code = 2


class TimingError(ConfigError):
    """The intervals cannot keep the promise that the program is dead before a takeover."""


class SchemaError(ConfigError):
    """The database's schema is missing, older or newer than this version needs."""


class NameTakenError(ConfigError):
    """Another live node uses the same node id in this group."""


class UnsafeServerError(ConfigError):
    """The server may lose acknowledged commits (fsync or full_page_writes is off)."""


class UnsupportedServerError(ConfigError):
    """The server is an older PostgreSQL than coord supports."""


class CommandNotExecutableError(CoordError):
    """The program's file exists but cannot be executed."""

    exit_code = 126


class CommandNotFoundError(CoordError):
    """The program's file does not exist."""

    exit_code = 127


class OutcomeUnknownError(CoordError):
    """The answer to a commit was lost or is not to be believed: read again, never assume."""


class IllegalTransitionError(AssertionError):
    """A bug: an event met a state that cannot have it."""
