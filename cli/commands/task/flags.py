"""Conversion of the flags of `coord task add`, by the keys of [[tasks]], to a definition."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from coordinator.errors import UsageError

if TYPE_CHECKING:
    from coordinator.protocol.messages.group_record import TaskDef

Keys = tuple[str, ...]
Path = tuple[str | int, ...]

#: Flag of each key whose flag has another name.
FLAGS: Mapping[Keys, str] = {
    ("name",): "argument NAME",
    ("command",): "command line",
    ("nodes",): "flag --node",
    ("enabled",): "flag --disabled",
    ("failover",): "flag --no-failover",
    ("failback",): "flag --no-failback",
    ("forwardSignals",): "flag --forward-signal",
    ("trigger", "interval"): "flag --every",
}


def task_of_flags(given: Mapping[Keys, object], *, failover: bool) -> TaskDef:
    """Return the definition; a key whose value is None was not given.

    failover: of tasks that do not set it themselves.
    Errors: UsageError with the flag, the key, the rule and the value of each problem.
    """
    from coordinator.app.config.task_spec import task_from_flags

    values = {keys: value for keys, value in given.items() if value is not None}
    places: dict[Path, str] = {keys: FLAGS.get(keys) or _flag_of(keys[-1]) for keys in values}
    return task_from_flags(values, places, failover=failover)


def _flag_of(key: str) -> str:
    """Return the name of a key's flag: --max-count of maxCount."""
    return "flag --" + "".join(f"-{char.lower()}" if char.isupper() else char for char in key)


def variables(given: Sequence[str]) -> dict[str, str] | None:
    """Return the variables of NAME=VALUE texts.

    Errors: UsageError for a text without a name.
    """
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            # The text may be a secret that was meant as a value.
            raise UsageError("--env: must be NAME=VALUE")
        found[name] = value
    return found or None


def json_of(flag: str, text: str | None) -> object:
    """Return the value of a flag that holds JSON.

    Errors: UsageError for any other text.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise UsageError(f"--{flag}: must be JSON: {why}") from None


def checked_node(flag: str, name: str) -> str:
    """Return the name of a node unchanged.

    Errors: UsageError for a name that no node may have.
    """
    from coordinator.app.config.model import values as config_values

    try:
        return config_values.name(name)
    except ValueError as error:
        raise UsageError(f"--{flag}: {error} (got {name!r})") from None
