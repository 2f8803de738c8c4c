"""One error tree; each family has one exit code (README, Commands).

An error's text is written for a person: what, where, what to do, in one line and without a
secret. An expected "no" (the token is held) is a return value, not an error.
"""

from __future__ import annotations


class CoordError(Exception):
    """Any error that coord itself reports; `str(error)` is the line that a person reads."""

    exit_code = 1


class ConditionFalseError(CoordError):
    """The answer to the caller's question is no: no live holder, or not active."""

    exit_code = 3


class NotFoundError(CoordError):
    """No such group or node exists."""

    exit_code = 4


class DuplicateTaskError(CoordError):
    """The group already has a task of this name."""


class NodeAliveError(ConditionFalseError):
    """The node's session may still be alive, so its row cannot be removed."""


class DatabaseUnreachableError(CoordError):
    """No writable database answered in time; a server that is only a standby does not count."""

    exit_code = 69


class StateTooLargeError(CoordError):
    """The state that a program saves for its successor is larger than a state may be."""

    exit_code = 65


class ScheduleEndedError(CoordError):
    """The schedule's error policy ended the schedule on this node."""

    exit_code = 70


class StateFileError(CoordError):
    """The saved state, or the checkpoint, cannot be written for the program: it is not started."""

    exit_code = 73


class TokenHeldError(CoordError):
    """Another node holds the token, and the caller does not wait any longer."""

    exit_code = 75


class TokenLostError(CoordError):
    """Trust in the token ended while it was in use; everything that it guarded must stop."""

    exit_code = 76


class DatabaseRefusedError(CoordError):
    """The database refused the role: wrong password, missing grant."""

    exit_code = 77


class ConfigError(CoordError):
    """The configuration or the schema version is wrong; starting again will not help."""

    exit_code = 78


class UsageError(ConfigError):
    """The command line is wrong: an option, an argument or a combination of them."""

    exit_code = 2


class OutsideProgramError(UsageError):
    """The caller works only in a program that `coord run` has started, and is in none."""

    def __init__(self, missing: str, advice: str) -> None:
        super().__init__(f"not inside a program that coord runs: {missing} not set; {advice}")


class StatementError(UsageError):
    """A statement about an operation is refused; nothing was created or cancelled.

    sqlstate: as sys.create_task gives it. position: in characters from 0, or None where none is
    known. hint: what to do.
    """

    def __init__(
        self, message: str, sqlstate: str, position: int | None = None, *, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message, self.sqlstate, self.position, self.hint = message, sqlstate, position, hint


class TimingError(ConfigError):
    """The intervals do not guarantee that the program is dead before a takeover."""


class SchemaError(ConfigError):
    """The database's schema is missing, or is older or newer than this version needs."""


class NameTakenError(ConfigError):
    """Another live node uses the same node id in this group."""


class UnsafeServerError(ConfigError):
    """The server may lose acknowledged commits (fsync or full_page_writes is off)."""


class UnsupportedServerError(ConfigError):
    """The server runs a PostgreSQL version older than coord supports."""


class CommandNotExecutableError(CoordError):
    """The program's file exists but cannot be executed."""

    exit_code = 126


class CommandNotFoundError(CoordError):
    """The program's file does not exist."""

    exit_code = 127


class OutcomeUnknownError(CoordError):
    """The answer to a commit was lost or cannot be trusted: read again, never assume."""


class IllegalTransitionError(AssertionError):
    """A bug in coord: an event arrived in a state that does not allow it."""
