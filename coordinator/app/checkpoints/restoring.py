"""Reading of checkpoints: content in every state in which it can be had, and verdicts (V6)."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from coordinator.app.checkpoints.places import Places
from coordinator.app.checkpoints.rows import header_of, layout_of, located
from coordinator.errors import ConditionFalseError, NotFoundError, UsageError
from coordinator.segments.archive.unpacking import unpack_into
from coordinator.segments.codec import codec_of
from coordinator.segments.faults import (
    CheckpointLostError,
    SegmentDamagedError,
)
from coordinator.segments.file import SegmentReader, new_digest
from coordinator.segments.salvage import Expected, Salvage
from coordinator.segments.striping import FAULTS, Gathering, lost
from coordinator.store.checkpoints import statements
from coordinator.store.checkpoints.catalogue import Catalogue

T = TypeVar("T")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Verdict of one segment that was read whole, over the network or here."""

    place: int
    segment: str
    node: str | None
    recorded: str
    verdict: str
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Verdicts of all segments of a checkpoint.

    salvageable: too few are whole, and their blocks restore the content all the same.
    """

    checkpoint: int
    sequence: int
    needed: int
    verdicts: tuple[Verdict, ...]
    salvageable: bool = False

    @property
    def intact(self) -> int:
        """Number of intact segments."""
        return sum(each.verdict == "INTACT" for each in self.verdicts)

    @property
    def readable(self) -> bool:
        """True when enough segments are intact, or their blocks suffice."""
        return self.intact >= self.needed or self.salvageable


class Reader:
    """Reads the checkpoints of a group."""

    def __init__(self, catalogue: Catalogue, node: str, term: int) -> None:
        self._catalogue = catalogue
        self._places = Places(catalogue, node, term)

    def listed(self, token: str | None) -> list[Row]:
        """Return all committed checkpoints, or a token's, the newest first; else NotFoundError."""
        rows = self._catalogue.read(
            statements.CHECKPOINTS, token=token, checkpoint=None, states=["COMMITTED"]
        )
        if not rows and not self._catalogue.read(statements.KNOWN_GROUP):
            raise NotFoundError(f"there is no group {self._catalogue.group!r}")
        return rows

    def chosen(self, token: str, sequence: int | None = None) -> Row:
        """Return the newest checkpoint of a token, or the one of a sequence.

        Errors: ConditionFalseError (3) when there is none.
        """
        for row in self.listed(token):
            if sequence is None or row["sequence"] == sequence:
                return row
        which = "checkpoint" if sequence is None else f"checkpoint {sequence}"
        raise ConditionFalseError(f"{token}: there is no {which}")

    def save_to(self, row: Row, target: Path) -> dict[int, str]:
        """Write the content to a path that does not exist yet, whole or not at all.

        Return the faults of segments that another one stood in for, by place.
        Errors: UsageError when something is there; CheckpointLostError; OSError.
        """
        with suppress(OSError):
            target.rmdir()  # an empty directory is as good as none
        if os.path.lexists(target):
            raise UsageError(f"{target}: there is something already")
        partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}")

        def write(chunks: Iterator[bytes]) -> None:
            _remove(partial)
            if row["form"] == "directory":
                partial.mkdir(mode=0o700)
                unpack_into(partial, chunks)
            else:
                _write_file(partial, chunks)

        try:
            faults = self.content(row, write)
            partial.rename(target)
        finally:
            _remove(partial)
        return faults

    def content(self, row: Row, take: Callable[[Iterator[bytes]], object]) -> dict[int, str]:
        """Hand the content to `take`, which begins anew whenever it is called; return the faults.

        Errors: CheckpointLostError when too few segments can be read.
        """
        if row["data_count"] == 0:
            take(self._rows(row))
            return {}
        faults: dict[int, str] = {}
        looked_again = False
        while True:
            gathering = self._gathering(row, faults)
            try:
                take(gathering.content())
            except SegmentDamagedError:
                if not gathering.faults.keys() - faults.keys():
                    raise  # what was read is whole, and is no archive
                faults |= gathering.faults
                continue
            except CheckpointLostError as error:
                # A segment may have moved since the catalogue was read.
                if looked_again:
                    with suppress(CheckpointLostError):
                        return self._salvaged(row, take)
                    raise error
                looked_again, faults = True, {}
                continue
            return faults | gathering.faults

    def verify(self, row: Row) -> Verified:
        """Read every segment whole, and change nothing."""
        verdicts: list[Verdict] = []
        for segment in self._segments(row):
            verdict, detail = "INTACT", None
            try:
                with self._places.reading(located(segment["segment"], segment)) as source:
                    reader = SegmentReader(source, segment["segment"])
                    for _ in reader.blocks():
                        pass
                if reader.stored != segment["digest"]:
                    verdict, detail = "DAMAGED", "its digest is not the one of the catalogue"
            except SegmentDamagedError as error:
                verdict, detail = "DAMAGED", str(error)
            except FAULTS as error:
                verdict, detail = "MISSING", str(error)
            verdicts.append(
                Verdict(
                    place=segment["place"],
                    segment=segment["segment"],
                    node=segment["node"],
                    recorded=segment["status"],
                    verdict=verdict,
                    detail=detail,
                )
            )
        if row["data_count"] == 0:
            for _ in self._rows(row):
                pass
        verified = Verified(
            checkpoint=row["id"],
            sequence=row["sequence"],
            needed=row["data_count"],
            verdicts=tuple(verdicts),
        )
        if verified.intact >= verified.needed:
            return verified
        with suppress(CheckpointLostError, SegmentDamagedError):
            self._salvaged(row, _drained)
            return replace(verified, salvageable=True)
        return verified

    def _salvaged(self, row: Row, take: Callable[[Iterator[bytes]], object]) -> dict[int, str]:
        """Hand out the content from single blocks, as `content` does (V8)."""
        layout = layout_of(row)
        segments = {each["place"]: each for each in self._segments(row)}
        if len(segments) < layout.segment_count:
            raise lost(layout, 0, {})  # it has expired meanwhile
        expected = {
            place: Expected(header_of(row, each, self._catalogue.group), each["digest"])
            for place, each in segments.items()
        }

        def opened(place: int, stripe: int) -> Iterator[bytes]:
            header = expected[place].header
            return self._places.single_blocks(
                located(segments[place]["segment"], segments[place]), header, layout, stripe
            )

        salvage = Salvage(layout, codec_of(layout), opened, self._in_order(segments))
        take(salvage.content(expected))
        return salvage.faults

    def _rows(self, row: Row) -> Iterator[bytes]:
        whole = new_digest()
        for place in range(-(-row["length"] // row["block_bytes"])):
            found = self._catalogue.read(statements.CONTENT, checkpoint=row["id"], place=place)
            if not found:
                raise CheckpointLostError(
                    f"checkpoint {row['sequence']} of {row['token']}: row {place} of its content is"
                    " gone: a newer one has taken its place, or somebody deleted it"
                )
            content = bytes(found[0]["content"])
            whole.update(content)
            yield content
        if whole.digest() != row["digest"]:
            raise CheckpointLostError(
                f"checkpoint {row['sequence']} of {row['token']}: the database has another content"
                " than was saved"
            )

    def _gathering(self, row: Row, without: Sequence[int] | dict[int, str]) -> Gathering:
        layout = layout_of(row)
        segments = {
            each["place"]: each for each in self._segments(row) if each["place"] not in without
        }

        def opened(place: int, stripe: int) -> Iterator[bytes]:
            segment = segments[place]
            where = located(segment["segment"], segment)
            header = header_of(row, segment, self._catalogue.group)
            return self._places.blocks(where, header, layout, stripe)

        return Gathering(layout, codec_of(layout), opened, self._in_order(segments))

    def _in_order(self, segments: dict[int, Row]) -> list[int]:
        """Prefer what is intact, then what is here, then data; all else may still have blocks."""
        return sorted(
            segments,
            key=lambda place: (
                segments[place]["status"] != "INTACT",
                not self._places.is_here(located(segments[place]["segment"], segments[place])),
                place,
            ),
        )

    def _segments(self, row: Row) -> list[Row]:
        return self._catalogue.read(statements.SEGMENTS, checkpoint=row["id"], device=None)


def _drained(chunks: Iterator[bytes]) -> None:
    for _ in chunks:
        pass


def _write_file(path: Path, chunks: Iterator[bytes]) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


__all__ = ["Reader", "Verdict", "Verified"]
