"""Base of all tables of Config.toml, and the one place where a key of a table is stated.

Each key is a field of its table: key, type (and with it the unit), default, environment variable,
flag, and the sentences that people read about it. The commented Config.toml, the options of
`coord run`, the JSON schema and docs/settings.md are derived from that. Where the settings of a
running node have a field for the key, that field has the default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

Keys = tuple[str, ...]
Plain = TypeVar("Plain")


class Table(BaseModel):
    """A table of the file; a value that is refused is never repeated by pydantic itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Facts about a key beside its name, type, default and sentences.

    by:         the variable and the flags that set it, too, and the word for a flag's value, as in
                "COORD_TASK_ID --task-id NAME" or "-w, --wait".
    everywhere: the flag belongs to every command, not to `coord run` alone.
    words:      the flag's own words for the values.
    help:       the flag's own sentence; else it is the first one about the key.
    shown:      its value in the commented Config.toml; None: the key is not shown there.
    on:         the line is no comment there.
    aside:      it is one of several ways there: one line, with the sentence behind it.
    lead:       sentences that stand above its line there, and concern more than this key.
    """

    by: str = ""
    everywhere: bool = False
    words: Mapping[str, str] = field(default_factory=dict)
    help: str = ""
    shown: object = None
    on: bool = False
    aside: bool = False
    lead: str = ""

    @property
    def env(self) -> str | None:
        """The variable that sets it."""
        return next((word for word in self.by.split() if word.startswith("COORD_")), None)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that set it; the long one is the last."""
        return tuple(word.strip(",") for word in self.by.split() if word.startswith("-"))

    @property
    def metavar(self) -> str | None:
        """The word for a flag's value."""
        words = (word for word in self.by.split() if not word.startswith(("COORD_", "-")))
        return next(words, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of the file, wherever it stands."""

    keys: Keys
    info: FieldInfo
    setting: Setting

    @property
    def type(self) -> Any:
        """The type of its values, without what is optional about it."""
        return plain_type(self.info.annotation)

    @property
    def text(self) -> str:
        """The sentences about it."""
        return self.info.description or ""


def setting(key: str, text: str, *, of: type[Any] | None = None, **stated: Any) -> Any:
    """State a key of a table: its sentences, and the rest as in Setting.

    of:      the plain type whose field has the key, and the default; None: no type has.
    default: stands above that; where there is neither, what is not given is None.
    shown:   if it is not given, the default is.
    """
    default = stated.pop("default", None if of is None else _default(of, key))
    validated = stated.pop("validate_default", None)
    info: FieldInfo = Field(
        default=default, alias=key.split(".")[-1], description=text, validate_default=validated
    )
    info.metadata.append(Setting(**{"shown": default, **stated}))
    return info


def broken_rule(key: str, rule: str) -> PydanticCustomError:
    """Say which key of this table breaks a rule that joins several."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule, "key": key})


def plain(kind: type[Plain], *tables: Table, **other: object) -> Plain:
    """Return the plain type whose fields have the keys of these tables; other: its further fields.

    Where the file says nothing and there is no value for that, the plain type's default stays.
    """
    values = {
        each.name: value
        for table in tables
        for each in fields(kind)  # type: ignore[arg-type]
        if (value := value_of(table, each.metadata.get("key", ""))) is not None
    }
    return kind(**{**values, **other})


def value_of(table: Table, key: str) -> Any:
    """Return the value of a key of a table, or of one below it, as in "log.level"."""
    first, _, rest = key.partition(".")
    for name, info in type(table).model_fields.items():
        if info.alias == first:
            value = getattr(table, name)
            return value_of(value, rest) if rest else value
    return None


def keys_of(model: type[Table], above: Keys = ()) -> Iterator[Key]:
    """Return every key of a table and of the tables below it, in the order of the file."""
    for info in model.model_fields.values():
        keys = (*above, str(info.alias))
        inner = table_in(info)
        if inner is None:
            yield Key(keys=keys, info=info, setting=setting_of(info))
        else:
            yield from keys_of(inner, keys)


def setting_of(info: FieldInfo) -> Setting:
    """Return what was stated about a key."""
    return next(it for it in info.metadata if isinstance(it, Setting))


def table_in(info: FieldInfo) -> type[Table] | None:
    """Return the table that a field holds: one, perhaps one, or any number of them."""
    for kind in (info.annotation, *get_args(info.annotation)):
        if isinstance(kind, type) and issubclass(kind, Table):
            return kind
    return None


def plain_type(annotation: Any) -> Any:
    """Return a type without its annotations, and without None beside it."""
    if get_origin(annotation) is Annotated:
        return plain_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        return plain_type(kinds[0]) if len(kinds) == 1 else annotation
    return annotation


def choices(kind: Any) -> tuple[str, ...]:
    """Return the words that a type allows; empty for any other type."""
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    return tuple(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else ()


def _default(kind: type[Any], key: str) -> Any:
    by_key = {each.metadata.get("key"): each.default for each in fields(kind)}
    assert key in by_key, f"{kind.__name__} has no field for {key}"
    return by_key[key]
