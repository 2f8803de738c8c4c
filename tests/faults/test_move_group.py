"""A group moves from one database to another by the steps of docs/scale.md; terms never fall."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from coordinator.store.schema import migrate
from tests.support.nodes.processes import bed, eventually
from tests.support.nodes.record import overlaps, terms_rise
from tests.support.servers.postgres import Server

RECIPE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"
GROUP = "orders"
NODES = ("node-1", "node-2")


def steps() -> dict[str, str]:
    """Return the SQL of the recipe, word for word, by the name in its first line."""
    blocks = re.findall(r"```sql\n-- (\w+):[^\n]*\n(.*?)```", RECIPE.read_text(), re.DOTALL)
    assert len(blocks) == 4
    return dict(blocks)


def run(server: Server, name: str, **values: str) -> list[tuple]:
    """Run a step of the recipe, with psql's variables put in as its user would."""
    text = steps()[name]
    for key, value in values.items():
        text = text.replace(f":'{key}'", f"'{value}'")
    with psycopg.connect(server.conninfo(), options="-c search_path=public") as connection:
        cursor = connection.execute(text)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def servers():
    made = [Server.create(), Server.create()]
    try:
        for server in made:
            migrate.upgrade(server.conninfo(), "public")
        yield made
    finally:
        for server in made:
            server.remove()


@pytest.fixture
def group(tmp_path, servers):
    with bed(tmp_path, servers[0].conninfo(), "public", GROUP) as made:
        yield made


def start_pair(group, after=0):
    for name in NODES:
        group.start(name)
    return group.wait_for_run(after=after, within_s=20)


def stop_all(group):
    for node in group.nodes.values():
        node.process.terminate()
    for node in group.nodes.values():
        node.process.wait(15)


def move(source: Server, target: Server) -> None:
    """Follow the recipe, the nodes being stopped."""
    run(source, "close")
    for token, floor in run(source, "floors"):
        run(target, "raise", token=token, floor=str(floor))


def test_a_group_that_moves_to_another_database_goes_on_above_its_terms(group, servers):
    old, new = servers
    first = start_pair(group)
    group.nodes[first.node].end()
    second = group.wait_for_run(after=first.term)
    stop_all(group)

    move(old, new)
    group.conninfo = new.conninfo()
    third = start_pair(group, after=second.term)

    runs = group.runs()
    assert (first.term, second.term, third.term) == (1, 2, 3)
    assert third.first > second.last
    assert overlaps(runs) == []
    assert terms_rise(runs)


def test_without_the_floor_the_new_database_begins_its_terms_anew(group, servers):
    """Leave one step out of the same move: the recipe is there for a reason."""
    old, new = servers
    start_pair(group)
    stop_all(group)

    run(old, "close")
    group.conninfo = new.conninfo()
    group.record.unlink()
    again = start_pair(group)

    assert again.term == 1


def test_a_node_that_still_uses_the_old_database_never_runs(group, servers):
    old, new = servers
    first = start_pair(group)
    stop_all(group)
    move(old, new)

    late = group.start("node-3")
    refused = "orders_has_moved"
    eventually(lambda: refused in late.said(), 15, lambda: f"refused{group.story()}")

    assert [interval.term for interval in group.runs()] == [first.term]
    assert old.query("SELECT session FROM token_holder WHERE group_id = %s", GROUP) == [(None,)]


def test_a_group_whose_node_still_holds_cannot_be_closed(group, servers):
    old, _ = servers
    start_pair(group)

    with pytest.raises(psycopg.errors.CheckViolation, match="orders_has_moved"):
        run(old, "close")


def test_a_group_that_moves_back_goes_on_above_its_terms(group, servers):
    old, new = servers
    first = start_pair(group)
    stop_all(group)
    move(old, new)
    group.conninfo = new.conninfo()
    second = start_pair(group, after=first.term)
    stop_all(group)

    move(new, old)
    run(old, "open")
    group.conninfo = old.conninfo()
    third = start_pair(group, after=second.term)

    assert [first.term, second.term, third.term] == [1, 2, 3]
    assert overlaps(group.runs()) == []
