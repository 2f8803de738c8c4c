"""Properties of placement that hold for every group."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.protocol.group.placement import assignment
from coordinator.protocol.messages.group_record import (
    GroupRecord,
    NodeRecord,
    Standing,
    TaskDef,
    TaskToken,
)
from tests.support.fakes.placement_world import PlacementWorld, Row

NODES = [f"n{index}" for index in range(6)]
TASKS = [f"t{index}" for index in range(12)]
#: The usual state of a node.
STANDINGS = st.sampled_from([Standing.MEMBER] * 4 + [Standing.PROMOTABLE, Standing.REHAB])
RARELY = st.sampled_from([False, False, False, True])


@st.composite
def definitions(draw: st.DrawFn, name: str) -> TaskDef:
    named = st.lists(st.sampled_from([*NODES, "unknown"]), unique=True, max_size=4)
    return TaskDef(
        name=name,
        enabled=not draw(RARELY),
        nodes=tuple(draw(named)) if draw(RARELY) else (),
        preferred=draw(st.sampled_from([None, None, *NODES, "unknown"])),
        pinned=draw(RARELY),
        failover=not draw(RARELY),
        failback=not draw(RARELY),
    )


@st.composite
def rows(draw: st.DrawFn, name: str) -> NodeRecord:
    return NodeRecord(
        node=name,
        standing=draw(STANDINGS),
        live=not draw(RARELY),
        priority=draw(st.sampled_from([1, 1, 5, 0])),
        hosts_tasks=draw(st.sampled_from([True, True, True, False])),
        capacity=draw(st.sampled_from([None, None, 0, 1, 3])),
    )


@st.composite
def tokens(draw: st.DrawFn) -> TaskToken:
    node, free = draw(st.sampled_from([*NODES, "gone"])), draw(st.booleans())
    return TaskToken(
        term=draw(st.integers(1, 9)),
        node=node,
        session="s",
        free=free,
        base_node=node,
        base_taken=None if free else draw(st.integers(0, 9)),
    )


@st.composite
def records(draw: st.DrawFn) -> GroupRecord:
    names = draw(st.lists(st.sampled_from(NODES), unique=True, min_size=1))
    tasks = draw(st.lists(st.sampled_from(TASKS), unique=True, min_size=1))
    pairs = st.tuples(st.sampled_from(TASKS), st.sampled_from(NODES))
    return GroupRecord(
        version=draw(st.integers(1, 99)),
        tasks={name: draw(definitions(name)) for name in tasks},
        nodes={name: draw(rows(name)) for name in names},
        tokens={name: draw(tokens()) for name in tasks if draw(st.booleans())},
        failures=draw(st.dictionaries(pairs, st.integers(1, 3), max_size=4)),
        spread_version=draw(st.sampled_from([0, 0, 5, 99])),
    )


def placed(record: GroupRecord) -> dict[str, str | None]:
    return {task: verdict.node for task, verdict in assignment("G", record).items()}


@given(records(), st.randoms(use_true_random=False))
def test_answer_is_the_same_whatever_the_order_of_reading(record: GroupRecord, random) -> None:  # type: ignore[no-untyped-def]
    """H2, P2"""

    def shuffled(mapping):  # type: ignore[no-untyped-def]
        pairs = list(mapping.items())
        random.shuffle(pairs)
        return dict(pairs)

    other = replace(
        record,
        version=record.version + 1,
        tasks=shuffled(record.tasks),
        nodes=shuffled(record.nodes),
        tokens=shuffled(record.tokens),
        failures=shuffled(record.failures),
    )

    assert assignment("G", other) == assignment("G", record)


@given(records())
def test_only_nodes_that_may_run_a_task_are_named(record: GroupRecord) -> None:
    """H1, P1"""
    for task, node in placed(record).items():
        if node is None:
            continue
        row, definition = record.nodes[node], record.tasks[task]
        assert row.live
        assert row.standing is Standing.MEMBER
        assert row.priority > 0
        assert row.hosts_tasks
        assert definition.enabled
        assert not definition.nodes or node in definition.nodes


@given(records())
def test_a_task_that_waits_says_so(record: GroupRecord) -> None:
    """P9: an enabled task without a node is always an alert."""
    for task, verdict in assignment("G", record).items():
        if verdict.node is None and record.tasks[task].enabled:
            assert verdict.alert
        assert verdict.reason


@given(records())
def test_no_node_is_given_more_than_it_may_run(record: GroupRecord) -> None:
    """P12: what it holds already stays, and nothing is added to it."""
    held: Counter[str] = Counter()
    for task in record.tasks:
        holder = record.token(task).base_holder
        if holder is not None:
            held[holder] += 1
    counts = Counter(node for node in placed(record).values() if node is not None)
    for node, count in counts.items():
        capacity = record.nodes[node].capacity
        assert capacity is None or count <= max(capacity, held[node])


@given(records())
def test_without_a_new_member_what_runs_stays(record: GroupRecord) -> None:
    """K4, P3: but for a preferred node, and for a holder that may not run it any more."""
    record = replace(record, spread_version=0)
    after = placed(record)
    for task, node in after.items():
        holder, definition = record.token(task).base_holder, record.tasks[task]
        if definition.preferred is None and node is not None and definition.failover:
            row = record.nodes.get(holder or "")
            able = (
                row is not None
                and row.live
                and row.standing is Standing.MEMBER
                and row.priority > 0
                and row.hosts_tasks
                and (not definition.nodes or holder in definition.nodes)
            )
            assert node == holder or not able


# --- changes, in any order of what nodes do -------------------------------------------------------


def fewest_moves(loads: list[int]) -> int:
    """Return how many tasks have to move until the loads are floor to ceil of their mean."""
    low, more = divmod(sum(loads), len(loads))
    high = low + (more > 0)
    return max(
        sum(max(0, load - high) for load in loads), sum(max(0, low - load) for load in loads)
    )


def even(loads: Counter[str]) -> bool:
    return not loads or max(loads.values()) - min(loads.values()) <= 1


def task(number: int, **changes: object) -> TaskDef:
    return TaskDef(name=f"t{number}", **changes)  # type: ignore[arg-type]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[PlacementWorld, random.Random]:
    """Return a group of equal tasks at rest, as even as its history left it."""
    rng = random.Random(draw(st.integers(0, 1 << 30)))
    world = PlacementWorld()
    nodes = draw(st.integers(1, 5))
    world.join(*(f"n{number}" for number in range(nodes)))
    world.define(*(task(number) for number in range(draw(st.integers(0, 16)))))
    world.settle(rng)
    assert even(world.loads())
    for number in draw(st.lists(st.integers(0, 15), unique=True, max_size=6)):
        if f"t{number}" in world.tasks:
            world.delete(f"t{number}")
    world.settle(rng)
    assert not world.moves, "nothing has moved so far"
    return world, rng


@settings(max_examples=60)
@given(worlds(), st.integers(0, 12))
def test_adding_deleting_enabling_and_disabling_move_no_other_task(made, number: int) -> None:  # type: ignore[no-untyped-def]
    """K4, P3: and a new task goes where the fewest are."""
    world, rng = made
    before, loads = world.held(), world.loads()

    world.define(task(100))
    world.settle(rng)
    after = world.held()
    assert {name: node for name, node in after.items() if name != "t100"} == before
    assert loads[after["t100"]] == min(loads.values())

    others = {name: node for name, node in after.items() if name != f"t{number}"}
    if f"t{number}" in world.tasks:
        for enabled in (False, True):
            world.define(task(number, enabled=enabled))
            world.settle(rng)
            assert {n: node for n, node in world.held().items() if n != f"t{number}"} == others
        world.delete(f"t{number}")
    world.settle(rng)
    assert world.held() == others
    # One that was disabled and enabled begins anew, perhaps elsewhere.
    assert set(world.moves) <= {f"t{number}"}


@settings(max_examples=60)
@given(worlds(), st.data())
def test_a_death_moves_the_dead_nodes_tasks_only(made, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    """K4, P3: and they go where the fewest are, so what was even stays even."""
    world, rng = made
    world.join("n9")
    world.settle(rng)
    before, moved = world.held(), world.moves.total()
    dead = data.draw(st.sampled_from(sorted(world.nodes)))

    world.die(dead)
    world.settle(rng)

    after = world.held()
    assert all(after[name] == node for name, node in before.items() if node != dead)
    assert len(after) == len(before)
    assert even(world.loads())
    assert world.moves.total() == moved


@settings(max_examples=80)
@given(worlds(), st.integers(1, 3), st.booleans())
def test_a_join_moves_as_few_as_make_the_loads_even(made, count: int, returns: bool) -> None:  # type: ignore[no-untyped-def]
    """P4: each at most once, whatever the order in which nodes read, stop and take."""
    world, rng = made
    if returns and len(world.nodes) > 1:
        world.die("n0")
        world.settle(rng)
        world.back("n0")
    else:
        world.join(*(f"new-{number}" for number in range(count)))
    expected = fewest_moves(list(world.loads().values()))

    world.settle(rng)

    assert even(world.loads())
    assert world.moves.total() == expected
    assert max(world.moves.values(), default=0) <= 1
    assert world.spread_version == 0


@settings(max_examples=60)
@given(worlds(), st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_whatever_happens_on_the_way_it_comes_to_rest(made, kinds: list[int]) -> None:  # type: ignore[no-untyped-def]
    """P4: changes in the middle of moves; then no more of them: a bounded number of steps."""
    world, rng = made
    for number, kind in enumerate(kinds):
        live = sorted(name for name, row in world.nodes.items() if row.live)
        dead = sorted(set(world.nodes) - set(live))
        if kind == 0 and len(live) > 1:
            world.die(rng.choice(live))
        elif kind == 1 and dead:
            world.back(rng.choice(dead))
        elif kind == 2:
            world.join(f"late-{number}")
        elif kind == 3:
            world.define(task(200 + number))
        elif kind == 4 and world.tasks:
            world.delete(rng.choice(sorted(world.tasks)))
        for _ in range(rng.randrange(6)):
            if choices := world.choices():
                world.do(*rng.choice(choices))
    world.settle(rng)
    world.join("last")
    world.settle(rng)

    assert even(world.loads())
    assert set(world.held()) == set(world.tasks)


@settings(max_examples=60)
@given(worlds(), st.data())
def test_every_node_finds_the_same_at_one_version(made, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    """H2, P2: however many tokens were released and taken since the version was made."""
    world, rng = made
    world.join("new")
    answers: dict[int, dict[str, str | None]] = {}
    for _ in range(data.draw(st.integers(1, 40))):
        found = placed(world.record())
        assert answers.setdefault(world.version, found) == found
        if not (choices := world.choices()):
            break
        world.do(*rng.choice(choices))


@settings(max_examples=100)
@given(st.data())
def test_definitions_that_narrow_the_choice_are_spread_as_evenly_as_they_allow(
    data: st.DataObject,
) -> None:
    """P4: no other placement has a smaller sum of squares; compared to all of them."""
    rng = random.Random(data.draw(st.integers(0, 1 << 30)))
    names = ["a", "b", "c"]
    narrow = st.lists(st.sampled_from(names), unique=True, max_size=2)
    tasks = [
        task(number, nodes=tuple(data.draw(narrow)))
        for number in range(data.draw(st.integers(1, 6)))
    ]
    world = PlacementWorld()
    first = data.draw(st.integers(1, 3))
    world.join(*names[:first])
    world.define(*tasks)
    world.settle(rng)
    if names[first:]:
        world.join(*names[first:])
        world.settle(rng)

    choices = [one.nodes or names for one in tasks]
    best = min(
        sum(count * count for count in Counter(placing).values()) for placing in product(*choices)
    )
    assert sum(count * count for count in world.loads().values()) == best
    assert max(world.moves.values(), default=0) <= 1


def test_a_thousand_tasks_on_twenty_nodes() -> None:
    """P3, P4: 50 each; a death gives 51 to twelve others and 53 to none; a return takes 50 back."""
    world = PlacementWorld()
    names = [f"host-{number}" for number in range(20)]
    world.join(*names)
    world.define(*(task(number) for number in range(1000)))
    world.rows = {name: Row() for name in world.tasks}
    for name, verdict in world.verdicts().items():
        world.rows[name] = Row(verdict.node, True, world.version)
    assert set(world.loads().values()) == {50}
    world.version += 1
    world.spread_version = 0

    world.die("host-3")
    after = world.verdicts()
    counts = Counter(verdict.node for verdict in after.values())
    assert (min(counts.values()), max(counts.values())) == (52, 53)
    for name, verdict in after.items():
        if not world.rows[name].held:
            world.rows[name] = Row(verdict.node, True, world.version)
    before = world.held()

    world.back("host-3")
    back = world.verdicts()

    moved = [name for name, verdict in back.items() if verdict.node != before[name]]
    assert {back[name].node for name in moved} == {"host-3"}
    assert len(moved) == 50
