"""Base of all tables of Config.toml."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

Plain = TypeVar("Plain")


class Table(BaseModel):
    """A table of the file; a value that is refused is never repeated by pydantic itself."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, hide_input_in_errors=True
    )


def broken_rule(key: str, rule: str) -> PydanticCustomError:
    """Say which key of this table breaks a rule that joins several."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule, "key": key})


def plain(table: Table, kind: type[Plain], **other: object) -> Plain:
    """Return the plain type whose fields have the keys of a table; other: its further fields.

    Where the file says nothing and there is no value for that, the plain type's default stays.
    """
    names = {str(info.alias): name for name, info in type(table).model_fields.items()}
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if (key := field.metadata.get("key")) in names:
            value = getattr(table, names[key])
            if value is not None:
                values[field.name] = value
    return kind(**{**values, **other})
