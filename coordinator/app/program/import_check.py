"""Check that the function of a user can be imported, in a process of its own."""

from __future__ import annotations

from coordinator.errors import ConfigError
from coordinator.runtime.linux import interpreter


def check_callable(target: str) -> None:
    """Import the callable in a process of its own: its module may do anything."""
    answer = interpreter.answer_of("coordinator.app.program.process", "--check", target)
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"importing it ended with {answer.returncode}"
        raise ConfigError(reason.removeprefix("coord: "))
