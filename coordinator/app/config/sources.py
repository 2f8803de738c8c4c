"""Sources of settings: the file, the environment and the command line, each value with its origin.

Order: flag > COORD_* > Config.toml. Values are raw here; model/ gives them types.
"""

from __future__ import annotations

import codecs
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from coordinator.app.config.model import libpq
from coordinator.app.config.model.names import ENVIRONMENT, SWITCHES, flag_name
from coordinator.app.config.model.table import Keys
from coordinator.app.config.problems import Problem
from coordinator.app.config.settings import DEFAULT_FILE, SYSTEM_FILE
from coordinator.app.config.toml_lines import Path, key_lines
from coordinator.errors import ConfigError

#: A larger file is not a configuration.
FILE_BYTES_MAX = 1_048_576
#: No key of ours lies deeper than 2 ([[tasks]] is one value: a list whose tables stay whole); what
#: lies deeper than this is an unknown key as it is.
DEPTH_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One source: its values by key, and where each key, table and list element stands."""

    values: Mapping[Keys, object]
    places: Mapping[tuple[str | int, ...], str]

    def without(self, *tables: str) -> Layer:
        """Return the layer without some tables."""
        kept = {keys: value for keys, value in self.values.items() if keys[0] not in tables}
        return replace(self, values=kept)

    def only(self, *tables: str) -> Layer:
        """Return the layer with some tables and outermost keys, and no others."""
        kept = {keys: value for keys, value in self.values.items() if keys[0] in tables}
        return replace(self, values=kept)

    def table(self, table: str) -> dict[str, object]:
        """Return the keys of one table."""
        return {
            keys[1]: value
            for keys, value in self.values.items()
            if len(keys) == 2 and keys[0] == table
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All layers, before a higher one replaces anything of a lower one."""

    path: str | None  #: of the file, as it was named
    file: Layer
    environ: Layer
    flags: Layer

    def only(self, *tables: str) -> Sources:
        """Return the sources with some tables and outermost keys, and no others."""
        return replace(
            self,
            file=self.file.only(*tables),
            environ=self.environ.only(*tables),
            flags=self.flags.only(*tables),
        )

    @property
    def layers(self) -> tuple[Layer, Layer, Layer]:
        """The layers, from the lowest to the highest."""
        return self.file, self.environ, self.flags


def read_sources(
    path: str | None,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    argv: Sequence[str],
) -> Sources:
    """Read all sources.

    Errors: ConfigError for a file that was named and is missing, or is not TOML.
    """
    found, named_by = _find(path, environ)
    file = Layer(values={}, places={}) if found is None else _read_file(found, named_by)
    if argv:
        file = _beside_command(file)
    return Sources(
        path=found, file=file, environ=_read_environ(environ), flags=_read_flags(flags, argv)
    )


def _beside_command(file: Layer) -> Layer:
    """Return the file's layer when the command line says what to run.

    What the file would run, and when, is put aside with all that it says about it. A table that
    names no program says how that of the command line is run.
    """
    file = file.without("trigger")
    if file.table("program").keys() & {"command", "callable"}:
        return file.without("program")
    kept = {keys: value for keys, value in file.values.items() if keys != ("program", "shell")}
    return replace(file, values=kept)  # how the one line of a file is read is no matter of theirs


def _find(path: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    if path is not None:
        return path, ""
    if environ.get("COORD_CONFIG"):
        return environ["COORD_CONFIG"], " (named by env COORD_CONFIG)"
    found = [each for each in (DEFAULT_FILE, SYSTEM_FILE) if os.path.lexists(each)]
    return (found[0] if found else None), ""


def _read_file(path: str, named_by: str) -> Layer:
    try:
        with open(path, "rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a file's name"
        raise ConfigError(f"{path}: {why}{named_by}") from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX} bytes{named_by}")
    try:
        # Editors on Windows begin a file with a byte order mark.
        text = raw.removeprefix(codecs.BOM_UTF8).decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text") from None
    values: dict[Keys, object] = {}
    _flatten(_parse(path, text), (), values)
    places = {keys: f"{path}:{line}" for keys, line in key_lines(text).items()}
    return Layer(values=values, places=places)


def _parse(path: str, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Only tomllib's words and place are kept: what stands there may be a password.
        at = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        rule = at[1] if at else "is not TOML"
        line = int(at[2]) if at and at[2] else text.count("\n") + 1
        column = f" (column {at[3]})" if at and at[3] else ""
        raise ConfigError(f"{path}:{line}: not TOML: {rule}{column}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: not TOML: a number or a nesting without end") from None


def _flatten(table: Mapping[str, object], above: Keys, into: dict[Keys, object]) -> None:
    for key, value in table.items():
        if isinstance(value, dict) and value and len(above) < DEPTH_MAX:
            _flatten(value, (*above, key), into)
        else:
            into[(*above, key)] = value


def _read_environ(environ: Mapping[str, str]) -> Layer:
    values: dict[Keys, object] = {}
    places: dict[tuple[str | int, ...], str] = {}
    names: Iterable[tuple[str, Keys]] = ENVIRONMENT.items()
    if "COORD_TERM" not in environ:
        # A node sets COORD_GROUP, with COORD_TERM, for its program: there it is no setting.
        names = (("COORD_GROUP", ("groupId",)), *names)
    for variable, keys in names:
        if environ.get(variable):
            values[keys] = environ[variable]
            places[keys] = f"env {variable}"
    return Layer(values=values, places=places)


def _read_flags(flags: Mapping[str, object], argv: Sequence[str]) -> Layer:
    values: dict[Keys, object] = {}
    for key, value in flags.items():
        if value is None or (value is False and key in SWITCHES):
            continue
        values[tuple(key.split("."))] = (
            os.fspath(value) if isinstance(value, os.PathLike) else value
        )
    places: dict[tuple[str | int, ...], str] = {keys: f"flag {flag_name(keys)}" for keys in values}
    if argv:
        keys = ("program", "command")
        values[keys] = " ".join(argv) if values.get(("program", "shell")) else list(argv)
        places[keys] = "command line"
    return Layer(values=values, places=places)


def combine(sources: Sources) -> tuple[dict[Keys, object], dict[tuple[str | int, ...], str]]:
    """Lay the layers over each other; returns the values and the place of each."""
    tables = libpq.merge(*(layer.table("databaseConfig") for layer in sources.layers))
    values: dict[Keys, object] = {}
    places: dict[tuple[str | int, ...], str] = {}
    for layer, database in zip(sources.layers, tables, strict=True):
        for keys, value in layer.values.items():
            if len(keys) == 2 and keys[0] == "databaseConfig" and keys[1] not in database:
                continue
            values[keys] = value
        places |= layer.places
    return values, places


def nested(values: Mapping[Keys, object]) -> dict[str, object]:
    """Build tables from flat keys; where a value stands in the way of a table, it stays."""
    document: dict[str, object] = {}
    for keys, value in values.items():
        table = document
        for key in keys[:-1]:
            inner = table.setdefault(key, {})
            if not isinstance(inner, dict):
                break
            table = inner
        else:
            table[keys[-1]] = value
    return document


def text_problems(values: Mapping[Keys, object]) -> list[Problem]:
    """Refuse texts that would be cut off in an argument, a file's name or a conninfo."""
    rule = "must be Unicode text without NUL"
    return [
        Problem(path=path, rule=rule)
        for keys, value in values.items()
        for path, text in _texts(keys, value)
        if "\0" in text or not _is_unicode(text)
    ]


def _texts(path: Path, value: object) -> Iterator[tuple[Path, str]]:
    """Return every text below a key, with its path; a file may be nested without end."""
    left = [(path, value)]
    while left:
        at, inner = left.pop()
        if isinstance(inner, str):
            yield at, inner
        elif isinstance(inner, dict):
            for key, each in inner.items():
                left += [(at, str(key)), ((*at, str(key)) if len(at) < DEPTH_MAX else at, each)]
        elif isinstance(inner, list | tuple):
            # The place of a list of texts is that of its key; a list of tables has many.
            left += [
                ((*at, index) if isinstance(each, dict) else at, each)
                for index, each in enumerate(inner)
            ]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
