"""The checkpoints of a program under `coord run`, which it keeps and restores by `held()`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coordinator.app.held.held import Held
from coordinator.errors import ConfigError, TokenLostError, UsageError
from coordinator.protocol.guardian.wire import BOARD, board_name
from tests.conformance.worlds import Node
from tests.support.nodes.store_nodes import joined_nodes

pytestmark = pytest.mark.real


@contextmanager
def program_of(node: Node, term: int, database, *, left_s: float = 60.0) -> Iterator[Held]:
    """Give what `held()` returns in a program of the node, whose deadline is so far away."""
    marker = os.urandom(12).hex()
    fd = os.memfd_create(board_name(marker))
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    os.pwrite(fd, BOARD.pack(now + left_s, now), 0)
    environ = {
        "COORD_GROUP": node.facts.group,
        "COORD_NODE": node.facts.node,
        "COORD_TERM": str(term),
        "COORD_SESSION": node.session,
        "COORD_TRUST_FD": str(fd),
        "COORD_RUN_ID": f"a1b2/{marker}",
    }
    try:
        yield Held(environ, database_url=database.conninfo, schema=database.schema)
    finally:
        os.close(fd)


def kept(database) -> list[tuple[object, ...]]:
    return database.query("SELECT token, term FROM segment_group ORDER BY sequence")


def test_a_program_leaves_checkpoints_to_the_next_holding(database, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "seen").write_text("4711")
    with joined_nodes(database, "a", "b") as (one, other):
        first = one.win()
        with program_of(one, first, database) as held:
            assert not held.restore(tmp_path / "none")
            assert held.checkpoint(b"bytes") == 1
            assert held.restore(tmp_path / "bytes")
            assert held.checkpoint(folder) == 2
            assert held.checkpoint(str(folder)) == 3
        one.release(first)

        second = other.win()
        with program_of(other, second, database) as held:
            assert held.restore(tmp_path / "again")

    assert (tmp_path / "bytes").read_bytes() == b"bytes"
    assert (tmp_path / "again" / "seen").read_text() == "4711"
    assert not (tmp_path / "none").exists()
    assert kept(database) == [(one.facts.group, first)] * 3
    assert second > first


def test_so_many_checkpoints_are_kept_as_the_program_says(database):
    with joined_nodes(database, "a") as (node,), program_of(node, node.win(), database) as held:
        for content in (b"1", b"2", b"3"):
            held.checkpoint(content, keep=2)

    current = "SELECT sequence FROM segment_group WHERE expired_at IS NULL ORDER BY sequence"
    assert database.query(current) == [(2,), (3,)]


def test_nothing_is_put_over_what_is_there(database, tmp_path: Path):
    there = tmp_path / "there"
    there.write_text("mine")
    with joined_nodes(database, "a") as (node,), program_of(node, node.win(), database) as held:
        held.checkpoint(b"theirs")
        with pytest.raises(UsageError, match="something already"):
            held.restore(there)

    assert there.read_text() == "mine"


def test_v2_a_program_whose_token_is_another_s_keeps_nothing(database):
    """The deadline of the old program has not passed, as if it had been frozen."""
    with joined_nodes(database, "a", "b") as (one, other):
        term = one.win()
        with program_of(one, term, database) as held:
            one.release(term)
            other.win()
            with pytest.raises(TokenLostError):
                held.checkpoint(b"late")

    assert kept(database) == []


def test_a_program_whose_deadline_has_passed_asks_no_database(database):
    with joined_nodes(database, "a") as (node,):
        term = node.win()
        late = program_of(node, term, database, left_s=-1.0)
        with late as held, pytest.raises(TokenLostError):
            held.checkpoint(b"late")

    assert kept(database) == []


@pytest.mark.parametrize("call", ["checkpoint", "restore"])
def test_without_a_database_a_checkpoint_says_what_to_do(database, tmp_path: Path, call: str):
    with joined_nodes(database, "a") as (node,), program_of(node, node.win(), database) as held:
        held._database_url = None
        with pytest.raises(ConfigError, match="--pass-database"):
            getattr(held, call)(tmp_path / "x")
