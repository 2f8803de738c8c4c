"""Syntax of CREATE TASK and CANCEL TASK: values, texts, and the answers to bad statements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.app.admin.operations.parse import parse
from coordinator.errors import StatementError
from coordinator.protocol.operations.statement import CancelTask, CreateTask, text_of
from coordinator.protocol.operations.types import WORD, Location
from tests.support.statements import BAD_SYNTAX, CANCEL, EXAMPLES

UUID = "529a2e9d-d06c-46cd-a93b-624d3bed1c08"
CLUSTER = {"location": Location.CLUSTER, "place": "my_lts_cluster1"}
NODE = {"location": Location.NODE, "place": "my_node1"}
VALUES = (
    CreateTask(type="rebuild"),
    CreateTask(type="rebuild", options=(("table_id", UUID),)),
    CreateTask(type="rebuild", **CLUSTER),
    CreateTask(type="rebuild", options=(("node", "my_node1"),), **CLUSTER),
    CreateTask(type="rebuild", options=(("segment_groups", (53,)),), **CLUSTER),
    CreateTask(type="rebuild", name="my_rebuild_task", **CLUSTER),
    CreateTask(type="check_disk", **NODE),
    CreateTask(type="check_disk", options=(("sample", True),), **CLUSTER),
    CreateTask(type="check_disk", options=(("storage_ids", (UUID,)),), **NODE),
    CreateTask(type="rebalance"),
)

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
scalars = st.one_of(
    texts,
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False).filter(lambda number: abs(number) != float("inf")),
)
values = st.one_of(scalars, st.lists(scalars, max_size=4).map(tuple))
words = st.from_regex(WORD, fullmatch=True)
places = st.one_of(
    st.just({}),
    st.builds(
        lambda location, place: {"location": location, "place": place},
        st.sampled_from([Location.CLUSTER, Location.NODE]),
        texts,
    ),
)
creates = st.builds(
    lambda kind, place, options, name: CreateTask(
        type=kind, options=tuple(options.items()), name=name, **place
    ),
    words,
    places,
    st.dictionaries(words, values, max_size=4),
    st.none() | texts,
)
statements = creates | st.builds(CancelTask, texts)


@pytest.mark.parametrize(("text", "value"), list(zip(EXAMPLES, VALUES, strict=True)))
def test_every_example_has_its_value(text: str, value: CreateTask):
    assert parse(text).statement == value
    assert parse(text.removesuffix(";")).statement == value


@pytest.mark.parametrize("text", [CANCEL, "CANCEL TASK ('my_task')", "cancel task('my_task') ;"])
def test_cancel_with_and_without_parentheses(text: str):
    assert parse(text).statement == CancelTask("my_task")


@given(statements)
def test_the_text_of_a_statement_is_read_as_that_statement(statement):
    again = parse(text_of(statement)).statement

    assert again == statement
    assert repr(again) == repr(statement)  # 1, 1.0 and true are different values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("create Task tYpE rebuild lOcation system", CreateTask(type="rebuild")),
        ("CREATE TASK TYPE rebuild LOCATION CLUSTER 'a b'", ("CLUSTER", "a b")),
        ("CREATE TASK TYPE rebuild LOCATION NODE my_node1", ("NODE", "my_node1")),
        ("CREATE TASK TYPE REBUILD", CreateTask(type="REBUILD")),
        ("CREATE TASK TYPE node", CreateTask(type="node")),
        ("CREATE TASK 'it''s' TYPE rebuild", CreateTask(type="rebuild", name="it's")),
        ("CREATE TASK typed TYPE rebuild", CreateTask(type="rebuild", name="typed")),
        ("CREATE TASK TYPE x OPTIONS type = 1", CreateTask(type="x", options=(("type", 1),))),
        ("CREATE TASK TYPE x OPTIONS A=[ id1, 'id2', -3 ]", ("A", ("id1", "id2", -3))),
        ("CREATE TASK TYPE x OPTIONS a = TRUE", ("a", True)),
        ("CREATE TASK TYPE x OPTIONS a = 1.50", ("a", 1.5)),
        ("CREATE TASK TYPE x OPTIONS a = []", ("a", ())),
        ("CREATE -- words\n TASK/* and ' more */TYPE x", CreateTask(type="x")),
        (
            "CREATE TASK TYPE x OPTIONS a = '--' , b = '/*'",
            CreateTask(type="x", options=(("a", "--"), ("b", "/*"))),
        ),
    ],
)
def test_readings(text: str, value):
    statement = parse(text).statement

    assert isinstance(statement, CreateTask)
    if isinstance(value, CreateTask):
        assert statement == value
    elif value[0] in ("CLUSTER", "NODE"):
        assert (statement.location, statement.place) == value
    else:
        assert statement.options == (value,)


@pytest.mark.parametrize(("marked", "hint"), BAD_SYNTAX, ids=[bad[0][:60] for bad in BAD_SYNTAX])
def test_a_bad_statement_is_refused_with_place_and_hint(marked: str, hint: str):
    with pytest.raises(StatementError) as refused:
        parse(marked.replace("^", "", 1))

    assert refused.value.sqlstate == "42601"
    assert refused.value.position == marked.index("^")
    assert hint in refused.value.hint
    assert refused.value.exit_code == 2


def test_a_key_that_is_given_twice_is_no_option():
    text = "CREATE TASK TYPE check_disk OPTIONS fix = true, fix = true"

    with pytest.raises(StatementError, match="option fix is given twice") as refused:
        parse(text)

    assert (refused.value.sqlstate, refused.value.position) == ("22023", text.rindex("fix"))


def test_places_of_the_parts():
    text = "CREATE TASK n TYPE rebuild LOCATION CLUSTER c OPTIONS node = 'x'"

    assert parse(text).at == {
        "name": text.index("n TYPE"),
        "type": text.index("rebuild"),
        "location": text.index("c OPTIONS"),
        "options": text.index("OPTIONS"),
        "options.node": text.index("node"),
    }


def test_a_list_of_many_ids_is_read_at_once():
    ids = ", ".join(f"'{number}'" for number in range(5_000))

    statement = parse(f"CREATE TASK TYPE check_disk OPTIONS storage_ids = [{ids}]").statement

    assert isinstance(statement, CreateTask)
    assert len(statement.options[0][1]) == 5_000
