"""Values of the shared options, from the command line and the environment.

This module reads only the variables that the configuration's loader does not read itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from coordinator.errors import ConfigError, NotFoundError

#: Seconds that a request to the database may take.
TIMEOUT_S = 5.0
#: Values of a variable that is a switch; an empty variable counts as unset.
YES = ("1", "true", "yes", "on")
NO = ("", "0", "false", "no", "off")


class Output(StrEnum):
    """Format of an answer."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    TSV = "tsv"


class TimeStyle(StrEnum):
    """Format of a moment, for people."""

    ISO = "iso"
    AGO = "ago"
    EPOCH = "epoch"


class Color(StrEnum):
    """Use of colours."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Values of the shared options for one command; None: not given."""

    config: Path | None
    database_url: str | None
    group: str | None
    output: Output
    time: TimeStyle | None
    color: Color
    given_timeout_s: float | None
    quiet: bool
    verbose: bool

    @property
    def timeout_s(self) -> float:
        """Seconds that a request to the database may take."""
        return self.given_timeout_s or TIMEOUT_S

    def flags(self) -> dict[str, Any]:
        """Return the options that the configuration's loader takes, by its keys."""
        given = {
            "databaseConfig.url": self.database_url,
            "databaseConfig.connectTimeout": self.given_timeout_s,
            "groupId": self.group,
        }
        return {key: value for key, value in given.items() if value is not None}


def shared(context: typer.Context) -> Shared:
    """Return the values: of the command line, else of the environment, else the defaults."""
    given: Mapping[str, Any] = context.obj
    return Shared(
        config=given.get("config"),
        database_url=given.get("database_url"),
        group=given.get("group_id"),
        output=given.get("output") or _chosen(Output, "COORD_OUTPUT") or Output.TABLE,
        time=given.get("time") or _chosen(TimeStyle, "COORD_TIME"),
        color=given.get("color") or _chosen(Color, "COORD_COLOR") or Color.AUTO,
        given_timeout_s=given.get("timeout") or _timeout(),
        quiet=bool(given.get("quiet")) or _yes("COORD_QUIET"),
        verbose=_yes("COORD_VERBOSE") or verbose(given),
    )


def verbose(given: Mapping[str, Any]) -> bool:
    """Return True if tracebacks are wanted; usable before `shared` is."""
    return bool(given.get("verbose")) or os.environ.get("COORD_VERBOSE", "").lower() in YES


def wants_json(given: Mapping[str, Any]) -> bool:
    """Return True if the answer, and so an error, is to be JSON."""
    wanted = given.get("output") or os.environ.get("COORD_OUTPUT", "").lower()
    return wanted in (Output.JSON, Output.JSONL)


def named_group(options: Shared, argument: str | None) -> str | None:
    """Return the group of the command line or environment; None: all groups, or the file's."""
    if argument and options.group and argument != options.group:
        raise typer.BadParameter(f"GROUP {argument} and --group {options.group} differ")
    named = argument or options.group
    # A program sees the group of its own node as COORD_GROUP.
    named = named or os.environ.get("COORD_GROUP_ID") or os.environ.get("COORD_GROUP") or None
    if named is not None and not named.isascii():
        # Bytes that are not text cannot be sent to the database, and no group has such a name.
        raise NotFoundError(f"there is no group {named!a}: names have ASCII letters only")
    return named


def _chosen(words: type[StrEnum], name: str) -> Any:
    """Return the member of an enumeration that an environment variable names."""
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return words(text.lower())
    except ValueError:
        allowed = ", ".join(word.value for word in words)
        raise ConfigError(f"env {name}: must be one of {allowed} (got {text!r})") from None


def _timeout() -> float | None:
    text = os.environ.get("COORD_TIMEOUT")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ConfigError(f"env COORD_TIMEOUT: must be seconds above 0 (got {text!r})")
    return seconds


def _yes(name: str) -> bool:
    text = os.environ.get(name, "")
    if text.lower() not in (*YES, *NO):
        raise ConfigError(f"env {name}: must be one of true, false (got {text!r})")
    return text.lower() in YES
