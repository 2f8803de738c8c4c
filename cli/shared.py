"""The shared options as a command sees them, gathered from the line and the environment.

The environment is read here only where the configuration's loader does not read it itself.
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

#: Seconds that a question to the database may take.
TIMEOUT_S = 5.0
#: The words of a switch in a variable; an empty variable is as good as none.
YES = ("1", "true", "yes", "on")
NO = ("", "0", "false", "no", "off")


class Output(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    TSV = "tsv"


class TimeStyle(StrEnum):
    """How a moment is written for people."""

    ISO = "iso"
    AGO = "ago"
    EPOCH = "epoch"


class Color(StrEnum):
    """When colours are used."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The shared options as one command sees them; None is "not said"."""

    config: Path | None
    database_url: str | None
    group: str | None
    output: Output
    time: TimeStyle | None
    color: Color
    said_timeout_s: float | None
    quiet: bool
    verbose: bool

    @property
    def timeout_s(self) -> float:
        """The seconds that a question to the database may take."""
        return self.said_timeout_s or TIMEOUT_S

    def flags(self) -> dict[str, Any]:
        """Return what the configuration's loader must know of them, by its own keys."""
        said = {
            "databaseConfig.url": self.database_url,
            "databaseConfig.connectTimeout": self.said_timeout_s,
            "groupId": self.group,
        }
        return {key: value for key, value in said.items() if value is not None}


def shared(context: typer.Context) -> Shared:
    """Gather what was said, on the line or in the environment, in front of the defaults."""
    said: Mapping[str, Any] = context.obj
    return Shared(
        config=said.get("config"),
        database_url=said.get("database_url"),
        group=said.get("group_id"),
        output=said.get("output") or _chosen(Output, "COORD_OUTPUT") or Output.TABLE,
        time=said.get("time") or _chosen(TimeStyle, "COORD_TIME"),
        color=said.get("color") or _chosen(Color, "COORD_COLOR") or Color.AUTO,
        said_timeout_s=said.get("timeout") or _timeout(),
        quiet=bool(said.get("quiet")) or _yes("COORD_QUIET"),
        verbose=_yes("COORD_VERBOSE") or verbose(said),
    )


def verbose(said: Mapping[str, Any]) -> bool:
    """Say whether tracebacks are wanted; asked before a command could gather its options."""
    return bool(said.get("verbose")) or os.environ.get("COORD_VERBOSE", "").lower() in YES


def wants_json(said: Mapping[str, Any]) -> bool:
    """Say whether the answer, and so an error, is to be JSON."""
    wanted = said.get("output") or os.environ.get("COORD_OUTPUT", "").lower()
    return wanted in (Output.JSON, Output.JSONL)


def named_group(options: Shared, argument: str | None) -> str | None:
    """Return the group that the line or the environment names; None means all, or the file's."""
    if argument and options.group and argument != options.group:
        raise typer.BadParameter(f"GROUP {argument} and --group {options.group} differ")
    named = argument or options.group
    # A program sees the group of its own node as COORD_GROUP.
    named = named or os.environ.get("COORD_GROUP_ID") or os.environ.get("COORD_GROUP") or None
    if named is not None and not named.isascii():
        # Bytes that are no text cannot even be asked for; and no group has such a name.
        raise NotFoundError(f"there is no group {named!a}: names have ASCII letters only")
    return named


def _chosen(words: type[StrEnum], name: str) -> Any:
    """Return the word of an enumeration that an environment variable names."""
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
