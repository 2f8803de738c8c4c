"""Checkpoints of a fake's token: in memory, with the files of their user."""

from __future__ import annotations

import os
from pathlib import Path

from coordinator.app.checkpoints.material import bytes_content, exactly, path_content
from coordinator.errors import UsageError
from coordinator.runtime.holders.holding import Holding
from coordinator.segments.archive.unpacking import unpack_into
from coordinator.testing.fakes.tokens import FakeTokens


class FakeCheckpoints:
    """Checkpoints of one holding; the newest one is restored."""

    def __init__(self, tokens: FakeTokens, holding: Holding) -> None:
        self._tokens, self._holding = tokens, holding

    def keep(
        self,
        content: bytes | str | os.PathLike[str],
        *,
        keep: int = 5,  # noqa: ARG002 - memory keeps the newest one
        rows_max: int = 8 << 20,  # noqa: ARG002 - and needs no disks
    ) -> int:
        """Keep bytes, a file or a directory; return the sequence.

        Errors: TokenLostError when the token is not this holding's any more.
        """
        material = (
            bytes_content(content) if isinstance(content, bytes) else path_content(Path(content))
        )
        with material.open() as opened:
            whole = exactly(opened, opened.length)
        return self._tokens.keep(self._holding.group, self._holding.term, material.form, whole)

    def restore(self, path: str | os.PathLike[str]) -> bool:
        """Restore the newest checkpoint to a path at which nothing is; false when there is none.

        Errors: UsageError when something is there.
        """
        kept = self._tokens.kept(self._holding.group)
        if kept is None:
            return False
        form, whole = kept
        target = Path(path)
        if os.path.lexists(target):
            raise UsageError(f"{target}: there is something already")
        if form == "directory":
            target.mkdir(mode=0o700)
            unpack_into(target, iter((whole,)))
        else:
            target.write_bytes(whole)
        return True
