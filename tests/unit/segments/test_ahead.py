"""Reading ahead changes neither blocks nor faults, and reads no further than two batches."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from coordinator.segments.ahead import BATCH_BLOCKS, ahead
from coordinator.segments.faults import SegmentDamagedError

COUNTS = [0, 1, 2, BATCH_BLOCKS, BATCH_BLOCKS + 1, BATCH_BLOCKS + 2, 3 * BATCH_BLOCKS + 1]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def numbered(count: int) -> list[bytes]:
    return [number.to_bytes(4, "little") for number in range(count)]


@pytest.mark.parametrize("count", COUNTS)
def test_all_blocks_come_in_their_order(pool: ThreadPoolExecutor, count: int):
    assert list(ahead(iter(numbered(count)), pool)) == numbered(count)


@pytest.mark.parametrize("count", COUNTS)
def test_a_fault_comes_after_all_blocks_before_it(pool: ThreadPoolExecutor, count: int):
    def damaged() -> Iterator[bytes]:
        yield from numbered(count)
        raise SegmentDamagedError("block n does not match its checksum")

    blocks = ahead(damaged(), pool)

    assert list(itertools.islice(blocks, count)) == numbered(count)
    with pytest.raises(SegmentDamagedError, match="block n"):
        next(blocks)


def test_the_next_batch_is_read_while_one_is_used_and_no_more(pool: ThreadPoolExecutor):
    full, read = threading.Event(), 0

    def source() -> Iterator[bytes]:
        nonlocal read
        for block in numbered(10 * BATCH_BLOCKS):
            read += 1
            if read == 2 * BATCH_BLOCKS + 1:
                full.set()
            yield block

    blocks = ahead(source(), pool)
    next(blocks)
    next(blocks)  # the first batch is in use

    assert full.wait(20.0)
    pool.shutdown()  # whatever was asked for has been read
    assert read == 2 * BATCH_BLOCKS + 1


def test_the_first_block_is_read_by_the_callers_thread(pool: ThreadPoolExecutor):
    readers: list[str] = []

    def source() -> Iterator[bytes]:
        for block in numbered(2):
            readers.append(threading.current_thread().name)
            yield block

    list(ahead(source(), pool))

    assert readers[0] == threading.current_thread().name
    assert readers[1] != readers[0]
