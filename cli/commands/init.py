"""`coord init`: write the files that a new directory needs; overwrite none without --force."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.shared import shared
from coordinator.errors import ConfigError


def init(
    context: typer.Context,
    directory: Annotated[
        Path,
        typer.Argument(metavar="[DIRECTORY]", help="Directory to write to.", show_default=False),
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write Config.toml and the files that go with it.

    These are coord.schema.json for editors, docker-compose.yml with a PostgreSQL, and .env with a
    new password.
    """
    from coordinator.app.config.template import files

    options = shared(context)
    texts = files()
    there = [name for name in texts if os.path.lexists(directory / name)]
    if there and not force:
        raise ConfigError(
            f"{', '.join(str(directory / name) for name in there)}: exists already;"
            " nothing was written; pass --force to overwrite"
        )
    for name, text in texts.items():
        _write(directory / name, text, mode=0o600 if name == ".env" else 0o644)
        if not options.quiet:
            print(f"wrote {directory / name}")


def _write(path: Path, text: str, *, mode: int) -> None:
    """Write a file whole or not at all; a file with a password is never readable by others."""
    partial = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
