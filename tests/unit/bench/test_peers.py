"""Peers of the benchmarks: skipped with a word where they are not installed, and never ours."""

from __future__ import annotations

import re
import sys

import pytest

from bench.page import report
from bench.parts import failover, spreading
from bench.parts.losses import Loss, figures
from bench.peers import zookeeper
from bench.peers.contestants import LIVENESS_S
from bench.peers.entries import ENTRIES, ROOT, Entry, lacking
from tests.support.machines import image as machine_image

ABSENT = "no-such-server-of-anybody"


def test_what_is_not_installed_is_named_with_what_installs_it():
    words = lacking((sys.executable, "bench/peers/peers.lock", ABSENT, ".venv-nobody/bin/python"))

    assert words == (f"not installed here: {ABSENT}, .venv-nobody/bin/python (`make bench-peers`)")
    assert lacking((sys.executable, "bench/peers/peers.lock")) == ""


def test_a_peer_that_is_not_installed_is_a_word_in_the_matrix():
    entry = Entry("absent", "Absent", "etcd", (ABSENT,))

    matrix = failover.failover(None, (entry,), failover.HURTS, runs=1, peer_runs=1)

    assert set(matrix["cells"]["absent"]) == {"title", "skipped"}
    assert ABSENT in matrix["cells"]["absent"]["skipped"]


def test_where_no_machine_can_sleep_there_is_a_word_in_the_matrix(monkeypatch):
    monkeypatch.setattr(machine_image, "KERNELS", ROOT / ABSENT)
    sleeps = tuple(hurt for hurt in failover.HURTS if hurt.who == "machine")

    matrix = failover.failover(None, ENTRIES[:1], sleeps, runs=1, peer_runs=1)

    told = [cell["skipped"] for cell in matrix["cells"]["coord"]["faults"].values()]
    assert len(told) == 2
    assert all(f"{ABSENT}/boot/vmlinuz-*" in words for words in told)


@pytest.mark.parametrize(
    ("overlaps_s", "says"),
    [((0.0, 0.05, 0.09), "p50 2.80"), ((1.5, 1.5, 0.0), "p50 2.80"), ((1.5,) * 3, "two ran")],
)
def test_a_line_at_a_thaw_is_no_second_runner(overlaps_s, says):
    losses = [Loss(2.8, 2.8, None, 1, overlap_s) for overlap_s in overlaps_s]

    assert says in report._cell({"faults": {"suspend": figures(losses)}}, "suspend")


def test_a_peer_that_is_not_installed_is_a_word_in_the_table_of_spreading(monkeypatch):
    monkeypatch.setenv("PATH", "")

    found = spreading.spreading(None, runs=1, quick=True)

    assert {len(entry) for entry in found["entries"].values()} == {3}
    assert all("gcc" in entry["skipped"] for entry in found["entries"].values())


def test_every_peer_says_what_it_needs():
    named = {entry.key: entry.needs for entry in ENTRIES}

    assert "etcd" in named["etcd"]
    assert {"java", zookeeper.JAR} < set(named["zookeeper"])


def test_a_zookeeper_that_starts_is_not_one_that_serves():
    starts = "This ZooKeeper instance is not currently serving requests\n"
    serves = "Zookeeper version: 3.8.0\nLatency min/avg/max: 0/0.0/0\nMode: standalone\n"

    assert not zookeeper.serving("")
    assert not zookeeper.serving(starts)
    assert zookeeper.serving(serves)


def test_zookeeper_grants_the_session_that_is_compared(tmp_path):
    said = dict(
        line.split("=") for line in zookeeper.configuration(tmp_path, "::1", 9).split("\n") if line
    )

    tick_s = int(said["tickTime"]) / 1000
    assert 2 * tick_s <= LIVENESS_S <= 20 * tick_s


def test_peers_are_pinned_with_hashes():
    lines = (ROOT / "bench/peers/peers.lock").read_text().splitlines()
    pins = [line for line in lines if re.match(r"[a-z]", line)]
    following = {line: lines[lines.index(line) + 1] for line in pins}

    assert {pin.partition("==")[0] for pin in pins} >= {"kazoo", "jobsync"}
    assert all("==" in pin and "--hash=sha256:" in following[pin] for pin in pins)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "pyproject.toml"])
def test_no_peer_is_a_dependency_of_ours(name):
    text = (ROOT / name).read_text()

    assert not re.search(r"\b(kazoo|jobsync)\b", text)
