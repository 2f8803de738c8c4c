"""Tests of a program that must never run twice: `pytest examples/test_takeover.py`.

The fixture `coord_group` comes with coord. The program writes down its term before and after each
step, as yours may write to its database.
"""

import sys

import pytest

PROGRAM = """
import pathlib, time
import coordinator

held = coordinator.held()
with pathlib.Path("steps").open("a", buffering=1) as steps:
    while True:
        held.check()
        print(f"{held.term} begins", file=steps)
        time.sleep(0.05)
        print(f"{held.term} ends", file=steps)
"""

with_program = pytest.mark.coord_group(nodes=2, command=[sys.executable, "-c", PROGRAM])


def terms(group):
    """Return the terms of all steps, as they were written down."""
    path = group.path / "steps"
    lines = path.read_text().splitlines() if path.exists() else []
    return [int(line.split()[0]) for line in lines]


@with_program
def test_another_node_goes_on_when_the_holder_dies(coord_group):
    """The first node is killed with all its processes."""
    coord_group.wait_for(lambda: terms(coord_group), "the first step")

    killed = coord_group.kill_holder()

    successor = coord_group.holder(after=killed.term)
    assert successor.node != killed.node
    coord_group.wait_for(lambda: successor.term in terms(coord_group), "a step of the new term")
    assert terms(coord_group) == sorted(terms(coord_group))


@with_program
def test_the_program_of_a_node_that_is_cut_off_is_dead_before_the_next_one_starts(coord_group):
    """The node cannot reach the database, and its program could do harm anywhere else."""
    coord_group.wait_for(lambda: terms(coord_group), "the first step")

    with coord_group.cut() as before:
        successor = coord_group.holder(after=before.term)
        coord_group.wait_for(lambda: successor.term in terms(coord_group), "the new term's step")
        assert "active" in coord_group.log(before.node).lower()

    assert terms(coord_group) == sorted(terms(coord_group))
    assert coord_group.holder() == successor


@with_program
def test_a_node_that_stood_still_does_not_go_on_as_the_holder(coord_group):
    """Nobody could kill its program meanwhile, for it stood still too. It is killed afterwards."""
    coord_group.wait_for(lambda: terms(coord_group), "the first step")

    with coord_group.freeze() as before:
        successor = coord_group.holder(after=before.term)

    coord_group.wait_for(
        lambda: terms(coord_group)[-10:] == [successor.term] * 10, "ten steps of the new one alone"
    )
    assert coord_group.holder() == successor
