"""The benchmarks' words for a heartbeat do what a node's heartbeat does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import floor
from bench.adr import beat_variants
from bench.floor import Database
from bench.parts import beat

pytestmark = pytest.mark.real

NODES = 3


@pytest.fixture
def bench(server) -> Iterator[Database]:
    database = floor.new_database(server)
    yield database
    server.query(f"DROP DATABASE {database.name}")


def played(text: str, words: dict[str, str]) -> str:
    """Return a script as the last client of pgbench sends it."""
    return beat.filled(text, words).replace(":client_id", str(NODES - 1))


def test_a_client_of_pgbench_writes_its_own_row_and_sees_the_holders(bench):
    words = beat.prepare(bench, NODES)
    bench.query("UPDATE health_check SET beat = 7, last_heartbeat = now() WHERE task_id = 'n0'")

    ((mine, holders, age_s, _),) = bench.query(played(beat.text_of(), words))

    assert (mine, holders) == (1, 7)
    assert age_s is not None
    assert bench.query("SELECT task_id FROM health_check WHERE beat = 1") == [("n2",)]


def test_what_a_heartbeat_writes_is_its_own_row(bench):
    words = beat.prepare(bench, NODES)

    assert bench.query(played(beat.text_of(beat.WRITE), words)) == [(1,)]
    assert bench.query("SELECT task_id FROM health_check WHERE beat = 1") == [("n2",)]


@pytest.mark.parametrize("name", sorted(set(beat_variants.variants()) - {"upsert"}))
def test_every_variant_is_a_statement(bench, name):
    script = played(beat_variants.variants()[name], beat.prepare(bench, NODES))
    bench.query("UPDATE health_check SET last_heartbeat = now()")

    assert "%(" not in script
    assert len(bench.query(script)) == 1


def test_the_variants_differ():
    assert len(set(beat_variants.variants().values())) == len(beat_variants.variants())
