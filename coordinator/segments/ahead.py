"""Blocks read ahead: while a batch is used, the next one is received, decrypted and checked.

So the segments of a checkpoint are read at the same time, each by a thread, and in order. A batch
is small: of each segment there are two in memory, whatever the content's length.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

#: Blocks of a batch: so many that handing it over does not show; 1 MiB.
BATCH_BLOCKS = 16


def ahead(blocks: Iterator[bytes], pool: ThreadPoolExecutor) -> Iterator[bytes]:
    """Return the same blocks, and then the same fault, as the iterator that is read ahead.

    The first block is read by the caller's own thread: to open a segment may ask the database.
    Errors: those of the blocks, each after the blocks before it.
    """
    first = next(blocks, None)
    if first is None:
        return
    coming = pool.submit(_batch, blocks)
    yield first
    while True:
        batch, fault = coming.result()
        ended = fault is not None or len(batch) < BATCH_BLOCKS
        if not ended:
            coming = pool.submit(_batch, blocks)
        yield from batch
        if fault is not None:
            raise fault
        if ended:
            return


def _batch(blocks: Iterator[bytes]) -> tuple[list[bytes], Exception | None]:
    """Read a batch: fewer blocks at the end, or before a fault."""
    batch: list[bytes] = []
    try:
        for block in blocks:
            batch.append(block)
            if len(batch) == BATCH_BLOCKS:
                break
    except Exception as fault:  # noqa: BLE001 - the caller raises it, after the blocks before it
        return batch, fault
    return batch, None
