"""The counts of the benchmark of task spreading, on histories made by hand."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from bench.page import spreading_page
from bench.page.spread_history import (
    ALIVE_S,
    Change,
    Record,
    evenness,
    left,
    moved,
    returned,
    settled,
)
from bench.parts import spreading
from bench.parts.spreading import Told
from tests.support.nodes.task_nodes import TaskRun

#: The change among the nodes, and the end of the watch.
AT, SEEN_AT = 100.0, 130.0


def run(task: str, node: str, first: float, last: float, term: int = 1) -> TaskRun:
    return TaskRun(task, node, term, 7, first, last)


def before() -> list[TaskRun]:
    """Two tasks on node a, one on b; a ends at the change."""
    return [run("x", "a", 10, AT), run("y", "a", 10, AT), run("z", "b", 10, SEEN_AT)]


def after() -> list[TaskRun]:
    """x goes to b after 2 s, and y to c after 5 s."""
    return [*before(), run("x", "b", AT + 2, SEEN_AT), run("y", "c", AT + 5, SEEN_AT)]


# --- reading ----------------------------------------------------------------------------------


def test_each_line_is_read_once_and_half_a_line_waits_for_its_rest(tmp_path):
    path = tmp_path / "record"
    record = Record(path)
    assert record.read() == []

    path.write_text("x a 1 7 1.0\nx a 1 7 1.1\nx a 1 7 1.")
    first = record.read()
    with path.open("a") as more:
        more.write("2\ny b 3 8 0.5\n")

    assert first == [TaskRun("x", "a", 1, 7, 1.0, 1.1)]
    assert record.read() == [TaskRun("y", "b", 3, 8, 0.5, 0.5), TaskRun("x", "a", 1, 7, 1.0, 1.2)]


# --- a node that goes -------------------------------------------------------------------------


def test_a_dead_nodes_tasks_are_back_when_the_last_of_them_runs_elsewhere():
    change = left(after(), "a", AT, SEEN_AT)

    assert change == Change(done_s=5.0, gap_s=5.0, twice=0, twice_s=0.0, needless=0)


def test_a_task_that_nobody_took_is_without_a_runner_until_the_end_of_the_watch():
    change = left([*before(), run("x", "b", AT + 2, SEEN_AT)], "a", AT, SEEN_AT)

    assert (change.done_s, change.gap_s) == (None, SEEN_AT - AT)


def test_a_start_on_the_node_that_went_does_not_count_as_elsewhere():
    change = left([*before(), run("x", "b", AT + 2, 130), run("y", "a", AT + 3, 130)], "a", AT, 130)

    assert change.done_s is None


def test_a_task_of_another_node_that_is_started_anew_was_not_needed():
    moved_too = [*after()[:2], run("z", "b", 10, AT + 6), run("z", "c", AT + 7, SEEN_AT)]
    change = left([*moved_too, *after()[3:]], "a", AT, SEEN_AT)

    assert (change.needless, change.gap_s) == (1, 5.0)


def test_a_task_that_is_moved_twice_was_moved_once_too_often():
    runs = [*after()[:3], run("x", "b", AT + 2, AT + 8), run("x", "c", AT + 9, SEEN_AT), after()[4]]

    change = left(runs, "a", AT, SEEN_AT)

    assert (change.needless, change.done_s) == (1, 5.0)


def test_a_runner_that_goes_on_beside_its_successor_is_counted_once_with_its_time():
    runs = [run("x", "a", 10, AT + 2.5), *after()[1:]]

    change = left(runs, "a", AT, SEEN_AT)

    assert (change.twice, change.twice_s, change.gap_s) == (1, 0.5, 5.0)


def test_what_ran_twice_before_the_change_is_not_told_of_it():
    runs = [run("z", "c", 20, 30), *after()]

    assert left(runs, "a", AT, SEEN_AT).twice == 0


def test_the_count_does_not_know_who_is_counted():
    """coord's runs carry terms and those of others any number: neither counts."""
    others = [replace(each, term=number, pid=9) for number, each in enumerate(after())]

    assert left(others, "a", AT, SEEN_AT) == left(after(), "a", AT, SEEN_AT)


@pytest.mark.parametrize(
    ("runs", "done"), [(before(), False), (after()[:4], False), (after(), True)]
)
def test_everything_has_moved_when_each_task_began_elsewhere(runs, done):
    assert moved(runs, "a", AT) is done


# --- a node that comes ------------------------------------------------------------------------


def test_a_return_needs_the_moves_to_the_node_and_no_others():
    runs = [
        run("x", "b", 10, AT + 3),
        run("x", "a", AT + 3.5, SEEN_AT),
        run("y", "c", 10, AT + 4),
        run("y", "b", AT + 6, SEEN_AT),
        run("z", "b", 10, SEEN_AT),
    ]

    change = returned(runs, "a", AT, SEEN_AT)

    assert change == Change(done_s=6.0, gap_s=2.0, twice=0, twice_s=0.0, needless=1)


def test_a_node_that_got_nothing_has_not_returned():
    assert returned(after()[2:], "a", AT, SEEN_AT).done_s is None


def test_a_new_runner_before_the_old_one_has_ended_leaves_no_gap():
    runs = [run("x", "b", 10, AT + 3), run("x", "a", AT + 2, SEEN_AT)]

    assert returned(runs, "a", AT, SEEN_AT) == Change(
        done_s=2.0, gap_s=0.0, twice=1, twice_s=1.0, needless=0
    )


# --- calm -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "calm"),
    [
        ([run("x", "a", 1, 50), run("y", "b", 1, 50)], True),
        ([run("x", "a", 1, 50)], False),
        ([run("x", "a", 1, 50), run("y", "b", 1, 50 - 2 * ALIVE_S)], False),
        ([run("x", "a", 1, 50), run("y", "b", 45, 50)], False),
        ([run("x", "a", 1, 50), run("x", "b", 1, 50)], False),
        ([run("x", "a", 1, 50), run("x", "b", 1, 50), run("y", "b", 1, 50)], False),
    ],
    ids=["each once", "one never", "one ended", "one just began", "one twice", "both, one twice"],
)
def test_it_is_calm_when_each_task_runs_once_and_none_began_lately(runs, calm):
    assert settled(runs, 2, now=50.0, quiet_s=10.0) is calm


def test_the_fullest_node_is_told_as_a_ratio_to_the_mean_over_all_nodes():
    runs = [run("x", "a", 1, 50), run("y", "a", 1, 50), run("z", "b", 1, 50), run("w", "c", 1, 20)]

    assert evenness(runs, nodes=3, at=50.0) == pytest.approx(2.0)


# --- the figures and the page -----------------------------------------------------------------


def figures() -> dict[str, object]:
    good = Change(done_s=1.0, gap_s=1.5, twice=0, twice_s=0.0, needless=0)
    bad = Change(done_s=None, gap_s=20.0, twice=3, twice_s=0.5, needless=2)
    told = [
        Told({"killed": good, "returned": good, "left": bad}, 1.2),
        Told({"killed": good, "returned": bad, "left": bad}, 1.4),
    ]
    measured = {"title": "m", "settings": "s", **spreading._figures(told)}
    skipped = {"title": "k", "settings": "t", "skipped": "not installed here: gcc"}
    return {"nodes": 5, "tasks": 50, "entries": {"coord": measured, "jobsync": skipped}}


def test_a_change_that_never_ended_is_counted_and_not_averaged():
    back = figures()["entries"]["coord"]["returned"]

    assert (back["never"], back["done"]["n"], back["done"]["max"]) == (1, 1, 1.0)
    assert (back["twice"], back["needless"], back["gap"]["max"]) == (3, 2, 20.0)


def test_the_page_shows_what_was_measured_and_why_another_was_not():
    stored = json.loads(json.dumps({"spreading": figures()}))

    page = list(spreading_page.section(stored, "benchmarks"))

    rows = [line for line in page if line.startswith("|")]
    assert {line.count("|") for line in rows} == {4}
    assert "skipped: not installed here: gcc" in "\n".join(page)
    assert any("it is started again" in line and "**3** (≤ 0.50 s)" in line for line in rows)
    ET.fromstring(spreading_page.plot(stored["spreading"]))
    assert list(spreading_page.section({}, "benchmarks")) == []


def test_an_entry_that_was_measured_alone_leaves_the_others_as_they_were():
    stored = {"entries": {"jobsync": {"runs": 5}, "coord": {"runs": 5}, "gone": {"runs": 1}}}

    both = spreading.merged(stored, {"nodes": 5, "entries": {"coord": {"runs": 1}}})

    assert list(both["entries"].items()) == [("coord", {"runs": 1}), ("jobsync", {"runs": 5})]


def test_the_page_names_every_setting_that_is_not_a_default():
    words = {entry.key: entry.words() for entry in spreading.entries(quick=False)}

    assert words["coord"] == "livenessCheckInterval 6, heartbeatFrequency 1"
    assert words["jobsync"] == "nothing changed"
    assert "heartbeat_timeout_sec 3" in words["jobsync-quick"]
    quick = {entry.key: entry.words() for entry in spreading.entries(quick=True)}
    assert quick["jobsync"] == "wait_on_enter 10"
