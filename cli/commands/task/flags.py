"""From the flags of `coord task add` to a definition, by the keys of [[tasks]] in Config.toml."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from coordinator.errors import UsageError

if TYPE_CHECKING:
    from coordinator.protocol.messages.group_record import TaskDef

Keys = tuple[str, ...]
Path = tuple[str | int, ...]

#: Of each key whose flag has another name.
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


def task_of_flags(said: Mapping[Keys, object], *, failover: bool) -> TaskDef:
    """Return the definition; what is None was not said.

    failover: of tasks that do not say it themselves.
    Errors: UsageError with the flag, the key, the rule and the value of all that is wrong.
    """
    from coordinator.app.config.task_spec import task_from_flags

    values = {keys: value for keys, value in said.items() if value is not None}
    places: dict[Path, str] = {keys: FLAGS.get(keys) or _flag_of(keys[-1]) for keys in values}
    return task_from_flags(values, places, failover=failover)


def _flag_of(key: str) -> str:
    """Name the flag of a key: --max-count of maxCount."""
    return "flag --" + "".join(f"-{char.lower()}" if char.isupper() else char for char in key)


def variables(said: Sequence[str]) -> dict[str, str] | None:
    """Return the variables of NAME=VALUE texts.

    Errors: UsageError for a text without a name.
    """
    found = {}
    for text in said:
        name, equals, value = text.partition("=")
        if not equals or not name:
            # The text may be a secret that was meant as a value.
            raise UsageError("--env: must be NAME=VALUE")
        found[name] = value
    return found or None


def json_of(flag: str, text: str | None) -> object:
    """Return what a flag's JSON says.

    Errors: UsageError for any other text.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, ValueError) else "nested without end"
        raise UsageError(f"--{flag}: must be JSON: {why}") from None


def checked_node(flag: str, name: str) -> str:
    """Return the name of a node unchanged.

    Errors: UsageError for what no node may be called.
    """
    from coordinator.app.config.model import values as config_values

    try:
        return config_values.name(name)
    except ValueError as error:
        raise UsageError(f"--{flag}: {error} (got {name!r})") from None
