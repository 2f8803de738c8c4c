"""Whatever the group: what placement keeps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.protocol.group import GroupRecord, NodeRecord, Standing, TaskDef, TaskToken
from coordinator.protocol.placement import assignment, responsible

NODES = [f"n{index}" for index in range(6)]
TASKS = [f"t{index}" for index in range(12)]
#: What most nodes are, most of the time.
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
    )


@st.composite
def tokens(draw: st.DrawFn) -> TaskToken:
    return TaskToken(
        term=draw(st.integers(1, 9)),
        node=draw(st.sampled_from([*NODES, "gone"])),
        session="s",
        free=draw(st.booleans()),
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
    )


@st.composite
def plain_records(draw: st.DrawFn) -> GroupRecord:
    """Return a group of many equal tasks, where the bound has something to do."""
    names = draw(st.lists(st.text("abcdef", min_size=1, max_size=5), unique=True, min_size=2))
    count = draw(st.integers(1, 80))
    return GroupRecord(
        version=1,
        tasks={f"t{index}": TaskDef(name=f"t{index}") for index in range(count)},
        nodes={name: NodeRecord(node=name, standing=Standing.MEMBER, live=True) for name in names},
    )


def placed(record: GroupRecord) -> dict[str, str | None]:
    return {task: verdict.node for task, verdict in assignment("G", record).items()}


def with_row(record: GroupRecord, node: str, **changes: object) -> GroupRecord:
    row = replace(record.nodes[node], **changes)  # type: ignore[arg-type]
    return replace(record, nodes={**record.nodes, node: row})


@settings(deadline=None)
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


@settings(deadline=None)
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
        assert definition.enabled
        assert not definition.nodes or node in definition.nodes


@settings(deadline=None)
@given(records())
def test_a_task_that_waits_says_so(record: GroupRecord) -> None:
    """P9: an enabled task without a node is always an alert."""
    for task, verdict in assignment("G", record).items():
        if verdict.node is None and record.tasks[task].enabled:
            assert verdict.alert
        assert verdict.reason


@settings(deadline=None)
@given(records(), st.data())
def test_a_death_moves_only_the_dead_nodes_tasks(record: GroupRecord, data: st.DataObject) -> None:
    """H2, P4: from whatever state, so also the second and the third death."""
    dead = data.draw(st.sampled_from(sorted(record.nodes)))
    record = replace(record, failures={})
    alive = with_row(record, dead, live=True, standing=Standing.MEMBER, priority=1)
    before, after = placed(alive), placed(with_row(alive, dead, live=False))

    assert dead not in after.values()
    assert all(after[task] == node for task, node in before.items() if node != dead)


@settings(deadline=None)
@given(records(), st.data())
def test_a_return_only_takes_and_takes_what_the_node_had(
    record: GroupRecord, data: st.DataObject
) -> None:
    """H5, P4: through Rehab, which is as good as dead here."""
    node = data.draw(st.sampled_from(sorted(record.nodes)))
    record = replace(record, failures={})
    away = with_row(record, node, live=True, standing=Standing.REHAB, priority=1)
    back = with_row(away, node, standing=Standing.MEMBER)
    before, after = placed(away), placed(back)

    assert all(after[task] in (at, node) for task, at in before.items())
    assert placed(with_row(back, node, live=False)) == before


@settings(deadline=None)
@given(plain_records(), st.data())
def test_deaths_and_returns_in_any_order_end_in_one_assignment(
    record: GroupRecord, data: st.DataObject
) -> None:
    """P4: each task keeps one order of the nodes for good, whoever is alive."""
    names = sorted(record.nodes)
    alive = data.draw(st.sets(st.sampled_from(names), min_size=1))
    fewer = data.draw(st.sets(st.sampled_from(sorted(alive)), min_size=1))

    def living(some: set[str]) -> dict[str, str | None]:
        nodes = {name: replace(row, live=name in some) for name, row in record.nodes.items()}
        return placed(replace(record, nodes=nodes))

    many, few = living(alive), living(fewer)

    assert all(few[task] == node for task, node in many.items() if node in fewer)


@settings(deadline=None)
@given(plain_records())
def test_no_node_is_home_to_more_than_the_bound(record: GroupRecord) -> None:
    """H2, P3"""
    counts = Counter(placed(record).values())
    mean = len(record.tasks) / len(record.nodes)
    assert sum(counts.values()) == len(record.tasks)
    assert max(counts.values()) < 1.15 * mean + 2


@settings(max_examples=50, deadline=None)
@given(plain_records(), st.text("xyz", min_size=1, max_size=5))
def test_a_new_row_only_takes_but_for_tasks_that_the_bound_displaces(
    record: GroupRecord, name: str
) -> None:
    """H2, P3: a task that is first by hash, before and after, goes to the new node or stays."""
    row = NodeRecord(node=name, standing=Standing.MEMBER, live=True)
    grown = replace(record, nodes={**record.nodes, name: row})
    before, after = placed(record), placed(grown)

    def by_hash(given: GroupRecord, task: str) -> str | None:
        return responsible("G", given.tasks[task], replace(given, tasks={})).node

    for task, node in before.items():
        if node == by_hash(record, task) and after[task] == by_hash(grown, task):
            assert after[task] in (node, name)


def test_few_others_move_when_tasks_and_nodes_come() -> None:
    """H2, P3: 1,000 tasks on 20 nodes; what the bound displaces is less than 2 % of them."""
    for number in range(3):
        nodes = {
            name: NodeRecord(node=name, standing=Standing.MEMBER, live=True)
            for name in (f"host-{number}-{index}" for index in range(21))
        }
        tasks = {f"t{index}": TaskDef(name=f"t{index}") for index in range(1001)}
        fresh = f"host-{number}-20"
        fewer_nodes = {name: row for name, row in nodes.items() if name != fresh}
        fewer_tasks = {name: task for name, task in tasks.items() if name != "t1000"}
        before = placed(GroupRecord(version=1, tasks=fewer_tasks, nodes=fewer_nodes))

        with_task = placed(GroupRecord(version=2, tasks=tasks, nodes=fewer_nodes))
        with_node = placed(GroupRecord(version=2, tasks=fewer_tasks, nodes=nodes))

        assert sum(with_task[task] != node for task, node in before.items()) <= 4
        assert sum(with_node[task] not in (node, fresh) for task, node in before.items()) < 20
        assert 30 <= sum(node == fresh for node in with_node.values()) <= 56


@settings(deadline=None)
@given(records(), st.data())
def test_enabling_or_disabling_a_task_moves_no_other(
    record: GroupRecord, data: st.DataObject
) -> None:
    """P3"""
    name = data.draw(st.sampled_from(sorted(record.tasks)))
    task = record.tasks[name]
    other = replace(task, enabled=not task.enabled)
    before = placed(record)
    after = placed(replace(record, tasks={**record.tasks, name: other}))

    assert {t: n for t, n in before.items() if t != name} == {
        t: n for t, n in after.items() if t != name
    }
