"""Upgrade of the schema at the start of a node, in a process of its own.

Alembic and SQLAlchemy cost a third of a second and some 20 MB: a node whose schema is current never
loads them, and any other lets a child do the upgrade.
"""

from __future__ import annotations

import sys

from coordinator.app.config.settings import from_json
from coordinator.app.node.start import recall
from coordinator.errors import ConfigError, CoordError, SchemaError
from coordinator.runtime.linux.descriptors import open_standard
from coordinator.runtime.linux.interpreter import answer_of


def upgrade_in_child(settings_fd: int) -> None:
    """Run the migrations in a child process.

    Errors: SchemaError with the child's last line if it failed.
    """
    answer = answer_of(
        "coordinator.app.node.schema_upgrade", str(settings_fd), pass_fds=(settings_fd,)
    )
    if answer.returncode == 0:
        return
    lines = answer.stderr.strip().splitlines()
    error = type("UpgradeError", (SchemaError,), {"exit_code": answer.returncode})
    raise error(lines[-1] if lines else "the schema could not be upgraded")


def main() -> int:
    """Upgrade the schema; argv[1] is the descriptor of the settings that name it."""
    open_standard()
    from coordinator.store.schema.migrate import upgrade

    database = from_json(recall(int(sys.argv[1]))).database
    try:
        upgrade(database.conninfo, database.schema)
    except CoordError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - top of the process: one line, no traceback
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return ConfigError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
