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


class HoldingCheckpoints:
    """Checkpoints of one holding; each call has a connection of its own."""

    def __init__(
        self, conninfo: str, schema: str, *, token: str, term: int, session: str, node: str
    ) -> None:
        self._conninfo, self._schema = conninfo, schema
        self._holding = Holding(token=token, term=term, session=session, node=node)

    def keep(
        self, content: bytes | str | os.PathLike[str], *, keep: int = 5, rows_max: int = 8 << 20
    ) -> int:
        """Keep bytes, a file or a directory; return the sequence of the checkpoint.

        Errors: as `Token.checkpoint`.
        """
        settings = CheckpointSettings(keep=keep, rows_max=rows_max)
        if isinstance(content, bytes):
            material = bytes_content(content)
        else:
            material = path_content(Path(content))
        with self._catalogue() as catalogue:
            return Maker(catalogue, self._holding, settings).put(material).sequence

    def restore(self, path: str | os.PathLike[str]) -> bool:
        """Restore the newest checkpoint of the token to a path; false when there is none.

        Errors: as `Token.restore`.
        """
        with self._catalogue() as catalogue:
            reader = Reader(catalogue, self._holding.node, self._holding.term)
            try:
                row = reader.chosen(self._holding.token)
            except ConditionFalseError:
                return False
            reader.save_to(row, Path(path))
            return True

    def _catalogue(self) -> Catalogue:
        return Catalogue(
            self._conninfo,
            schema=self._schema,
            group=self._holding.token.partition("/")[0],
            where=label(self._conninfo),
            timeout_s=REQUEST_S,
        )
