"""The benchmarks' words for a heartbeat do what a node's heartbeat does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import beat, beat_variants, floor
from bench.floor import Database

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


def test_a_client_of_pgbench_finds_the_token_as_it_knows_it(bench):
    words = beat.prepare(bench, NODES)

    ((count, seen),) = bench.query(played(beat.text_of(), words))

    assert count == 1
    assert seen == [0, 0, 1]
    assert bench.query("SELECT task_id FROM health_check WHERE beat > 0") == [("n2",)]


def test_the_halves_of_a_heartbeat_write_and_look(bench):
    words = beat.prepare(bench, NODES)
    written, look = beat.halves()

    assert bench.query(played(look, words)) == [([0, 0, 1],)]
    assert bench.query("SELECT sum(beat) FROM health_check") == [(0,)]
    assert bench.query(played(written, words)) == [(1,)]
    assert bench.query("SELECT sum(beat) FROM health_check") == [(1,)]


@pytest.mark.parametrize("name", sorted(set(beat_variants.variants()) - {"upsert"}))
def test_every_variant_is_a_statement(bench, name):
    script = played(beat_variants.variants()[name], beat.prepare(bench, NODES))

    assert "%(" not in script
    assert len(bench.query(script)) == 1
