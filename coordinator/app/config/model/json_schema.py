"""Config.toml as a whole, as the models know it: its keys, and its schema for editors."""

from __future__ import annotations

from typing import Any

from coordinator.app.config.model.file import ConfigFile, RunOptions
from coordinator.app.config.model.table import Keys, Table, table_in

NULL = {"type": "null"}


def known_keys() -> dict[Keys, Keys]:
    """Map each table of the file, () the outermost, to its keys in the order of the file."""
    return _keys_below((), ConfigFile)


def _keys_below(above: Keys, model: type[Table]) -> dict[Keys, Keys]:
    found = {above: _aliases(model)}
    for info in model.model_fields.values():
        if inner := table_in(info):
            found |= _keys_below((*above, str(info.alias)), inner)
    return found


def run_keys() -> Keys:
    """Return the keys of RunOptions."""
    return _aliases(RunOptions)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of Config.toml; TOML has no null, so the schema has none."""
    schema = ConfigFile.model_json_schema(by_alias=True)
    cleaned = _cleaned(schema)
    for each in cleaned["$defs"].values():
        if "enum" in each:
            del each["description"]  # for those who read the code; its key has its own sentences
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **cleaned,
        "title": "Config.toml of coord",
    }


def _cleaned(node: Any) -> Any:
    if isinstance(node, list):
        return [_cleaned(each) for each in node if each != NULL]
    if not isinstance(node, dict):
        return node
    kept = {
        # A table is described by its docstring, which has lines.
        key: " ".join(value.split()) if key == "description" else _cleaned(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))
        and not (key == "default" and value is None)
    }
    choices = kept.get("anyOf")
    if isinstance(choices, list) and len(choices) == 1:
        # "A or null" was an optional key: it is A, or it is not there.
        del kept["anyOf"]
        kept = {**choices[0], **kept}
    return kept


def _aliases(model: type[Table]) -> Keys:
    return tuple(str(field.alias) for field in model.model_fields.values())
