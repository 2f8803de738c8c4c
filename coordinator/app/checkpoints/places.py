"""Devices of a group as this process reaches them: a directory here, or another node's server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from coordinator.runtime.linux.clock import BoottimeClock
from coordinator.segments.devices.disk import Disk, Writing
from coordinator.segments.devices.marker import marker_of
from coordinator.segments.faults import DiskError
from coordinator.segments.file import SegmentReader, Source, blocks_from, offset_of
from coordinator.segments.header import Header
from coordinator.segments.layout import Layout
from coordinator.segments.transfer.client import Peer, RemoteWriting
from coordinator.store.checkpoints import statements
from coordinator.store.checkpoints.catalogue import Catalogue


class Sink(Protocol):
    """A file that is being written, here or elsewhere."""

    def write(self, part: bytes) -> None:
        """Add bytes."""
        ...

    def keep(self, digest: bytes) -> None:
        """Make it whole, on the disk, under its name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A segment, or the place for one: a device, its node, and where that serves."""

    segment: str
    device: str
    node: str | None
    url: str | None
    address: str | None
    fingerprint: str | None


class Places:
    """Opens segments wherever they are.

    node: the one that this process runs on; its directories are read and written directly.
    """

    def __init__(self, catalogue: Catalogue, node: str, term: int) -> None:
        self._catalogue, self._node, self._term = catalogue, node, term
        self._key: bytes | None = None
        self._clock: Callable[[], float] | None = None

    def is_here(self, where: Located) -> bool:
        """Return true when the device is a directory of this machine."""
        return self._here(where) is not None

    @contextmanager
    def reading(self, where: Located, offset: int = 0) -> Iterator[Source]:
        """Open a segment's file.

        Errors: SegmentAbsentError, SegmentDamagedError, DiskError.
        """
        disk = self._here(where)
        if disk is not None:
            with disk.reading(where.segment, offset) as reading:
                yield reading
        else:
            with self._peer(where).reading(where.device, where.segment, offset) as remote:
                yield remote

    @contextmanager
    def writing(self, where: Located, file_bytes: int) -> Iterator[Sink]:
        """Open a file for a segment; without `keep` nothing is left of it.

        Errors: DiskError.
        """
        disk = self._here(where)
        if disk is not None:
            with disk.writing(where.segment) as writing:
                yield _Local(writing)
        else:
            with self._peer(where).writing(where.device, where.segment, file_bytes) as remote:
                yield _Remote(remote)

    def blocks(
        self, where: Located, header: Header | None, layout: Layout, stripe: int
    ) -> Iterator[bytes]:
        """Return the blocks of a segment from a stripe on; from its beginning the whole is checked.

        header: as it must be; None accepts the file's own.
        """
        if stripe == 0 or header is None:
            with self.reading(where) as source:
                reader = SegmentReader(source, where.segment)
                for index, block in enumerate(reader.blocks()):
                    if index >= stripe:
                        yield block
            return
        yield from self.single_blocks(where, header, layout, stripe)

    def single_blocks(
        self, where: Located, header: Header, layout: Layout, stripe: int
    ) -> Iterator[bytes]:
        """Return the blocks of a segment from a stripe on, each checked by its checksum alone."""
        with self.reading(where, offset_of(layout, stripe)) as source:
            yield from blocks_from(source, header, stripe)

    def _here(self, where: Located) -> Disk | None:
        if where.node != self._node or where.url is None:
            return None
        path = path_in(where.url)
        with suppress(DiskError):
            if marker_of(path) == where.device:
                return Disk(path, where.device)
        return None

    def _peer(self, where: Located) -> Peer:
        if where.address is None or where.fingerprint is None or where.node is None:
            raise DiskError(f"node {where.node}: it serves no segments (checkpoints.listen)")
        return Peer(
            node=where.node,
            address=where.address,
            fingerprint=where.fingerprint,
            group=self._catalogue.group,
            key=self._group_key(),
            term=self._term,
            now_s=self._now_s(),
        )

    def _group_key(self) -> bytes:
        if self._key is None:
            rows = self._catalogue.read(statements.KEY)
            if not rows:
                raise DiskError("the group has no key: none of its nodes has disks yet")
            self._key = bytes(rows[0]["key"])
        return self._key

    def _now_s(self) -> Callable[[], float]:
        if self._clock is None:
            self._clock = database_clock(self._catalogue)
        return self._clock


def database_clock(catalogue: Catalogue) -> Callable[[], float]:
    """Return a clock that goes on from the database's, asked once."""
    clock = BoottimeClock()
    ahead_s = catalogue.server_time().timestamp() - clock.now()
    return lambda: clock.now() + ahead_s


def path_in(url: str) -> Path:
    """Return the directory of a device's URL.

    Errors: DiskError for a URL of another kind.
    """
    if not url.startswith("file:///"):
        raise DiskError(f"{url}: only directories (file:///...) are storage devices")
    return Path(unquote(url.removeprefix("file://")))


class _Local:
    """A file on a disk of this machine; its digest is checked when it is read."""

    __slots__ = ("_writing",)

    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    def write(self, part: bytes) -> None:
        self._writing.write(part)

    def keep(self, digest: bytes) -> None:  # noqa: ARG002 - the writer made it from these bytes
        self._writing.keep()


class _Remote:
    """A file that is sent to another node."""

    __slots__ = ("_writing",)

    def __init__(self, writing: RemoteWriting) -> None:
        self._writing = writing

    def write(self, part: bytes) -> None:
        self._writing.write(part)

    def keep(self, digest: bytes) -> None:
        self._writing.keep(digest)
