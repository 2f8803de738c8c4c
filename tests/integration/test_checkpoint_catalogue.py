"""The catalogue in PostgreSQL: intent, commit under the fence, orphans, compare-and-set (V1-V7)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from coordinator.errors import TokenLostError
from coordinator.segments.rules import Held, is_orphan, may_commit
from coordinator.store.checkpoints import statements
from coordinator.store.checkpoints.catalogue import Catalogue
from coordinator.store.checkpoints.records import (
    Holding,
    NewCheckpoint,
    NewSegment,
    SegmentChange,
)
from tests.conformance.worlds import GROUP, Node
from tests.support.nodes.store_nodes import joined_nodes

pytestmark = pytest.mark.real

DIGEST = b"d" * 32
FIRST = {"after": None, "after_segment": None}
ALL = ["WRITING", "COMMITTED", "EXPIRED"]


@contextmanager
def catalogue_of(database) -> Iterator[Catalogue]:
    with Catalogue(
        database.conninfo, schema=database.schema, group=GROUP, where="test", timeout_s=9
    ) as catalogue:
        yield catalogue


def held_by(node: Node, term: int) -> Holding:
    return Holding(token=GROUP, term=term, session=node.session, node="h")


def new(holding: Holding, *, data: int = 1, length: int = 9) -> NewCheckpoint:
    return NewCheckpoint(
        holding=holding,
        form="bytes",
        data_count=data,
        parity_count=1 if data else 0,
        block_bytes=65536,
        length=length,
    )


def two_segments() -> list[NewSegment]:
    return [NewSegment(str(uuid.uuid4()), place, str(uuid.uuid4())) for place in (0, 1)]


def files_of(segments: list[NewSegment]) -> list[tuple[str, bytes, int]]:
    return [(each.segment, DIGEST, 100) for each in segments]


def states(catalogue: Catalogue) -> list[tuple[int, str]]:
    rows = catalogue.read(statements.CHECKPOINTS, token=None, checkpoint=None, states=ALL)
    return [(row["sequence"], row["state"]) for row in rows]


def test_a_checkpoint_counts_from_its_commit_on(database):
    """V1."""
    segments = two_segments()
    with joined_nodes(database, "h") as (holder,), catalogue_of(database) as catalogue:
        holding = held_by(holder, holder.win())

        checkpoint, sequence = catalogue.begin(new(holding), segments)
        before = states(catalogue)
        catalogue.commit(checkpoint, holding, DIGEST, files_of(segments))

        assert (sequence, before) == (1, [(1, "WRITING")])
        assert states(catalogue) == [(1, "COMMITTED")]
        assert (
            database.query("SELECT state, digest, file_bytes FROM segment")
            == [("INTACT", DIGEST, 100)] * 2
        )


def test_a_deposed_holder_begins_commits_and_saves_nothing(database):
    """V2, exit code 76."""
    segments = two_segments()
    with joined_nodes(database, "h", "a") as (holder, taker), catalogue_of(database) as catalogue:
        holding = held_by(holder, holder.win())
        checkpoint, _ = catalogue.begin(new(holding), segments)
        assert taker.take(taker.look()).done

        with pytest.raises(TokenLostError) as refused:
            catalogue.commit(checkpoint, holding, DIGEST, files_of(segments))
        with pytest.raises(TokenLostError):
            catalogue.begin(new(holding), two_segments())
        with pytest.raises(TokenLostError):
            catalogue.save(new(holding, data=0), DIGEST, [b"x"])

        assert refused.value.exit_code == 76
        assert states(catalogue) == [(1, "WRITING")]


def test_the_intent_of_a_holding_that_is_over_is_collected_and_no_other(database):
    """V3: by the holding, and by no age; the files are noted on their devices."""
    segments = two_segments()
    with joined_nodes(database, "h", "a") as (holder, taker), catalogue_of(database) as catalogue:
        holding = held_by(holder, holder.win())
        checkpoint, _ = catalogue.begin(new(holding), segments)
        database.query("UPDATE segment_group SET created_at = now() - interval '9 years'")
        assert catalogue.read(statements.FORGETTABLE) == []
        assert catalogue.forget([checkpoint], 0.0) == 0

        assert taker.take(taker.look()).done
        (orphan,) = catalogue.read(statements.FORGETTABLE)
        forgotten = catalogue.forget([orphan["id"]], 0.0)

        assert forgotten == 1
        assert states(catalogue) == []
        found = database.query("SELECT segment::text, device::text FROM segment_leaving")
        assert set(found) == {(each.segment, each.device) for each in segments}
        with pytest.raises(TokenLostError):
            catalogue.commit(checkpoint, holding, DIGEST, files_of(segments))


def test_database_and_simulation_decide_alike(database):
    """V2, V3: each combination of a state, a holding and the token."""
    with joined_nodes(database, "h") as (holder,), catalogue_of(database) as catalogue:
        term = holder.win()
        mine = Held(term, holder.session)
        others = (Held(term - 1, holder.session), Held(term, str(uuid.uuid4())))
        for made_under in (mine, *others):
            for state in ALL:
                database.query("DELETE FROM segment_group")
                (row,) = database.query(
                    "INSERT INTO segment_group (group_id, token, term, session, sequence, node,"
                    " state, form, data_count, parity_count, block_bytes, length, digest) VALUES"
                    " (%s, %s, %s, %s, 1, 'h', %s, 'bytes', 1, 0, 64, 0, '') RETURNING id",
                    *(GROUP, GROUP, made_under.term, made_under.session, state),
                )
                checkpoint = row[0]
                listed = catalogue.read(statements.FORGETTABLE) != []
                assert listed == (is_orphan(state, made_under, mine) or state == "EXPIRED")
                assert may_commit(state, made_under, mine, session_live=True) == committed(
                    catalogue, checkpoint, made_under
                )


def committed(catalogue: Catalogue, checkpoint: int, made_under: Held) -> bool:
    holding = Holding(token=GROUP, term=made_under.term, session=str(made_under.session), node="h")
    try:
        catalogue.commit(checkpoint, holding, DIGEST, [])
    except TokenLostError:
        return False
    return True


def test_a_small_checkpoint_has_its_content_in_the_same_transaction(database):
    with joined_nodes(database, "h") as (holder,), catalogue_of(database) as catalogue:
        holding = held_by(holder, holder.win())

        checkpoint, _ = catalogue.save(new(holding, data=0), DIGEST, [b"ab", b"c"])

        rows = [
            catalogue.read(statements.CONTENT, checkpoint=checkpoint, place=place)[0]["content"]
            for place in (0, 1)
        ]
        assert rows == [b"ab", b"c"]
        assert states(catalogue) == [(1, "COMMITTED")]


def test_checkpoints_that_begin_at_the_same_time_get_numbers_of_their_own(database):
    with joined_nodes(database, "h") as (holder,):
        holding = held_by(holder, holder.win())

        def begin(_: int) -> int:
            with catalogue_of(database) as catalogue:
                return catalogue.begin(new(holding), two_segments())[1]

        with ThreadPoolExecutor(6) as pool:
            sequences = sorted(pool.map(begin, range(12)))

    assert sequences == list(range(1, 13))


def test_a_segment_changes_only_as_it_was_seen(database):
    """V4."""
    segments = two_segments()
    with joined_nodes(database, "h") as (holder,), catalogue_of(database) as catalogue:
        holding = held_by(holder, holder.win())
        checkpoint, _ = catalogue.begin(new(holding), segments)
        catalogue.commit(checkpoint, holding, DIGEST, files_of(segments))
        change = SegmentChange(segment=segments[0].segment, version=2, state="DAMAGED")

        first, second = catalogue.change_segment(change), catalogue.change_segment(change)

        assert (first, second) == (True, False)
        shown = database.query("SELECT status, readable, intact, damaged FROM sys_segment_groups")
        # The node that has the disks is not known as live here.
        assert shown[0][1] is False
        assert database.query("SELECT state, version FROM segment ORDER BY place") == [
            ("DAMAGED", 3),
            ("INTACT", 2),
        ]


def test_a_noted_file_is_not_due_where_the_catalogue_places_it(database):
    """V5."""
    segments = two_segments()
    elsewhere = str(uuid.uuid4())
    with joined_nodes(database, "h") as (holder,), catalogue_of(database) as catalogue:
        holding = held_by(holder, holder.win())
        catalogue.begin(new(holding), segments)
        for device in (segments[0].device, elsewhere):
            catalogue.change(
                statements.NOTE_LEAVING,
                segment=segments[0].segment,
                device=device,
                late_ms=0,
                subtask=None,
                subtask_term=None,
            )

        here, there = (
            catalogue.read(statements.DUE, **FIRST, device=device, writer_max_ms=60_000)
            for device in (segments[0].device, elsewhere)
        )

        assert [(row["placed"], row["forgettable"]) for row in here] == [(True, True)]
        assert [(row["placed"], row["forgettable"]) for row in there] == [(False, False)]
        later = catalogue.read(statements.DUE, **FIRST, device=elsewhere, writer_max_ms=-60_000)
        assert [(row["placed"], row["forgettable"]) for row in later] == [(False, True)]
