"""Base of all tables of Config.toml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


class Table(BaseModel):
    """A table of the file; a value that is refused is never repeated by pydantic itself."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, hide_input_in_errors=True
    )


def broken_rule(key: str, rule: str) -> PydanticCustomError:
    """Say which key of this table breaks a rule that joins several."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule, "key": key})
