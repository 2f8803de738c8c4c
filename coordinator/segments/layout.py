"""Numbers of a checkpoint: how its content is cut into stripes, and those into blocks.

A stripe is the content of one block in each data segment; parity segments have one block more for
each stripe. All blocks of a stripe have one length. Only the last stripe's may be shorter.
"""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.errors import ConfigError

BLOCK_BYTES = 65_536
#: The code takes blocks of whole words; a multiple of any that it has.
ALIGNED_BYTES = 64
#: An erasure code over bytes has no more, and no disk set that a group of nodes has comes near.
SEGMENTS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Layout of one checkpoint over its segments.

    data_count: so many segments restore the content.
    parity_count: so many may be lost.
    Errors: ConfigError for numbers that no code has.
    """

    data_count: int
    parity_count: int
    length: int
    block_bytes: int = BLOCK_BYTES

    def __post_init__(self) -> None:
        segments = self.data_count + self.parity_count
        if self.data_count < 1 or self.parity_count < 0 or segments > SEGMENTS_MAX:
            raise ConfigError(
                f"{self.data_count} + {self.parity_count} segments: there must be 1 to"
                f" {SEGMENTS_MAX}, and at least one with data"
            )
        if self.block_bytes < ALIGNED_BYTES or self.block_bytes % ALIGNED_BYTES:
            raise ConfigError(f"blocks of {self.block_bytes} bytes: a multiple of 64 is needed")
        if self.length < 0:
            raise ConfigError(f"a length of {self.length} bytes")

    @property
    def segment_count(self) -> int:
        """Number of segments, those of parity included."""
        return self.data_count + self.parity_count

    @property
    def stripe_bytes(self) -> int:
        """Content of a whole stripe."""
        return self.data_count * self.block_bytes

    @property
    def stripe_count(self) -> int:
        """Number of stripes, and of blocks of each segment."""
        return -(-self.length // self.stripe_bytes)

    def content_of(self, stripe: int) -> int:
        """Return the length of the content that a stripe has."""
        return min(self.stripe_bytes, self.length - stripe * self.stripe_bytes)

    def block_of(self, stripe: int) -> int:
        """Return the length of each block of a stripe."""
        content = self.content_of(stripe)
        if self.data_count == 1 or content == self.stripe_bytes:
            return -(-content // self.data_count)
        share = -(-content // self.data_count)
        return -(-share // ALIGNED_BYTES) * ALIGNED_BYTES

    @property
    def payload_bytes(self) -> int:
        """Length of all blocks of one segment together."""
        if not self.stripe_count:
            return 0
        last = self.stripe_count - 1
        return last * self.block_bytes + self.block_of(last)
