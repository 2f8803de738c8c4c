"""Files that are written from the code: settings, and pages of reference.

python -m tests.house.derived      writes all of them (make config)
"""

from __future__ import annotations

import functools

from coordinator.app.config.template import config_text, schema_text
from coordinator.app.node.http.openapi import description_text
from tests.house.derived import commands, exit_codes, metrics, python, settings, sql


@functools.cache
def files() -> dict[str, str]:
    """Return the derived files by name."""
    return {
        "Config.toml": config_text(),
        "coord.schema.json": schema_text(),
        "docs/settings.md": settings.page(),
        "docs/commands.md": commands.page(),
        "docs/exit-codes.md": exit_codes.page(),
        "docs/sql.md": sql.page(),
        "docs/python.md": python.page(),
        "docs/metrics.md": metrics.page(),
        "coordinator/web/node/openapi.json": description_text(),
    }
