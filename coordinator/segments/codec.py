"""Codes: how a stripe becomes the blocks of all segments, and how lost blocks come back.

A mirror (one data segment) needs no library. More data segments need pyeclib, of the extra
`checkpoints`. Its fragments have a header of the library's own in front, which depends on the
block's length and place alone: it is taken off, and put back from a stripe of zeros. So a data
segment has the content itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol

from coordinator.errors import ConfigError
from coordinator.segments.layout import Layout

#: Twice as much stays with the process, at most; glibc takes no larger one into account.
_FREED_BYTES = 16 << 20


class Codec(Protocol):
    """A code over the blocks of one stripe."""

    def encode(self, content: bytes, block_bytes: int) -> list[bytes]:
        """Return the blocks of all segments; the content fills the data blocks exactly."""
        ...

    def restore(self, blocks: Mapping[int, bytes], wanted: Iterable[int]) -> dict[int, bytes]:
        """Return the wanted blocks from data_count others, by place."""
        ...


class Mirror:
    """The same content in each segment."""

    def __init__(self, segment_count: int) -> None:
        self._segment_count = segment_count

    def encode(self, content: bytes, block_bytes: int) -> list[bytes]:
        """Return the content once for each segment."""
        assert len(content) == block_bytes, "a mirror's block is the stripe"
        return [content] * self._segment_count

    def restore(self, blocks: Mapping[int, bytes], wanted: Iterable[int]) -> dict[int, bytes]:
        """Return any of the copies."""
        copy = next(iter(blocks.values()))
        return dict.fromkeys(wanted, copy)


class ErasureCode:
    """Any data_count of all blocks restore the others: Cauchy-Reed-Solomon."""

    def __init__(self, data_count: int, parity_count: int) -> None:
        self._data_count = data_count
        self._driver = _driver(data_count, parity_count)
        self._fronts: dict[int, list[bytes]] = {}

    def encode(self, content: bytes, block_bytes: int) -> list[bytes]:
        """Return the data blocks, which are the content, and those of parity."""
        fragments = self._driver.encode(content)
        front = len(fragments[0]) - block_bytes
        assert front >= 0, "a block of a stripe is a whole number of words"
        return [fragment[front:] for fragment in fragments]

    def restore(self, blocks: Mapping[int, bytes], wanted: Iterable[int]) -> dict[int, bytes]:
        """Return the wanted blocks, of data and of parity."""
        places = list(wanted)
        if not places:
            return {}
        block_bytes = len(next(iter(blocks.values())))
        fronts = self._fronts_of(block_bytes)
        known = [fronts[place] + block for place, block in sorted(blocks.items())]
        made = self._driver.reconstruct(known, places)
        return {
            place: fragment[len(fronts[place]) :]
            for place, fragment in zip(places, made, strict=True)
        }

    def _fronts_of(self, block_bytes: int) -> list[bytes]:
        if block_bytes not in self._fronts:
            made = self._driver.encode(bytes(block_bytes * self._data_count))
            self._fronts[block_bytes] = [each[: len(each) - block_bytes] for each in made]
        return self._fronts[block_bytes]


def codec_of(layout: Layout) -> Codec:
    """Return the code of a layout.

    Errors: ConfigError when it needs a library that is not installed.
    """
    if layout.data_count == 1:
        return Mirror(layout.segment_count)
    return ErasureCode(layout.data_count, layout.parity_count)


def has_erasure_code() -> bool:
    """Return true when the library of the erasure code can be loaded."""
    try:
        _driver(2, 1)
    except ConfigError:
        return False
    return True


@lru_cache(maxsize=8)
def _driver(data_count: int, parity_count: int) -> Any:
    try:
        from pyeclib.ec_iface import ECDriver, ECDriverError
    except ImportError as error:
        raise ConfigError(
            f"{data_count} + {parity_count} segments need the erasure code of the extra"
            " `checkpoints`: pip install 'coord[checkpoints]', or use mirrors (data = 1)"
        ) from error
    # Unless it has freed a large piece once, glibc gives each freed stripe back to the system, and
    # takes it again page by page: that costs more than the code itself.
    bytes(_FREED_BYTES)
    try:
        return ECDriver(k=data_count, m=parity_count, ec_type="isa_l_rs_cauchy")
    except ECDriverError as error:
        raise ConfigError(
            f"the erasure code does not take {data_count} + {parity_count} segments: {error}"
        ) from error
