"""Checkpoints of a holding, for code that holds the token in its own process."""

from __future__ import annotations

import os
from pathlib import Path

from coordinator.app.checkpoints.making import Maker
from coordinator.app.checkpoints.material import bytes_content, path_content
from coordinator.app.checkpoints.restoring import Reader
from coordinator.app.config.settings import CheckpointSettings
from coordinator.errors import ConditionFalseError
from coordinator.store.checkpoints.catalogue import Catalogue
from coordinator.store.checkpoints.records import Holding
from coordinator.store.driver.errors import label

#: Time for one request to the database.
REQUEST_S = 30.0


def keep(
    conninfo: str,
    schema: str,
    holding: Holding,
    content: bytes | str | os.PathLike[str],
    settings: CheckpointSettings,
) -> int:
    """Keep bytes, a file or a directory; return the sequence of the checkpoint.

    Errors: as `Token.checkpoint`.
    """
    material = bytes_content(content) if isinstance(content, bytes) else path_content(Path(content))
    with _catalogue(conninfo, schema, holding.token) as catalogue:
        return Maker(catalogue, holding, settings).put(material).sequence


def restore(conninfo: str, schema: str, holding: Holding, path: str | os.PathLike[str]) -> bool:
    """Restore the newest checkpoint of the token to a path; false when there is none.

    Errors: as `Token.restore`.
    """
    with _catalogue(conninfo, schema, holding.token) as catalogue:
        reader = Reader(catalogue, holding.node, holding.term)
        try:
            row = reader.chosen(holding.token)
        except ConditionFalseError:
            return False
        reader.save_to(row, Path(path))
        return True


def _catalogue(conninfo: str, schema: str, token: str) -> Catalogue:
    return Catalogue(
        conninfo,
        schema=schema,
        group=token.partition("/")[0],
        where=label(conninfo),
        timeout_s=REQUEST_S,
    )
