"""The loader: it reads until a snapshot shows the holding, and tells each outcome once."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from coordinator.errors import DatabaseRefusedError, DatabaseUnreachableError
from coordinator.protocol.rules.saved_state import StateSeen, StateWanted
from coordinator.runtime.agent.loads.files import StateFiles
from coordinator.runtime.agent.loads.loader import Loaded, NotLoaded, Outcome, StateLoader

WAIT_MS = 30_000
MINE = StateWanted(token="orders", term=7, session="s")
SHOWN = StateSeen(term=7, session="s", content=b"state")
Answer = Callable[[], Mapping[str, StateSeen]]


class Clock:
    """Shows what the test sets."""

    moment = 100.0

    def now(self) -> float:
        return self.moment


class Reader:
    """Answers each reading as the test has said; the last answer stays."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.asked = list(answers), 0

    def read(self, wanted: Sequence[StateWanted]) -> Mapping[str, StateSeen]:
        assert wanted, "nothing is read for nobody"
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer()


class Bench:
    """A loader with its reader, and the outcomes that it told."""

    def __init__(self, place: Path, *answers: Answer, give_up_s: float = 6.0) -> None:
        self.reader, self.clock, self.told = Reader(*answers), Clock(), list[Outcome]()
        self.loader = StateLoader(self.reader, StateFiles(str(place)), self.clock, give_up_s)
        self.loader.on_outcome = self._note

    def _note(self, outcome: Outcome) -> tuple[()]:
        self.told.append(outcome)
        return ()

    def outcome(self) -> Outcome:
        """Wait for the next outcome."""
        while not self.told:
            assert select.select([self.loader], [], [], WAIT_MS / 1000)[0], "waited in vain"
            self.loader.events()
        return self.told.pop(0)


@pytest.fixture
def bench(tmp_path: Path):
    made: list[Bench] = []

    def make(*answers: Answer, **more: float) -> Bench:
        made.append(Bench(tmp_path, *answers, **more))
        return made[-1]

    yield make
    for each in made:
        each.loader.close()


def there() -> Mapping[str, StateSeen]:
    return {"orders": SHOWN}


def unreachable() -> Mapping[str, StateSeen]:
    raise DatabaseUnreachableError("nobody answers")


def refused() -> Mapping[str, StateSeen]:
    raise DatabaseRefusedError("permission denied for table token_state")


def test_a_state_comes_into_a_file_and_goes_with_its_run(bench, tmp_path: Path):
    """Y4"""
    at = bench(there)
    at.loader.begin(1, MINE)

    outcome = at.outcome()

    assert isinstance(outcome, Loaded)
    assert (outcome.run, Path(outcome.path).read_bytes()) == (1, b"state")
    at.loader.forget(1)
    at.loader.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "first",
    [
        unreachable,
        dict,
        lambda: {"orders": StateSeen(term=6, session="r", content=b"old")},
        lambda: {"orders": StateSeen(term=7, session=None, content=b"old")},
    ],
    ids=["no answer", "no row", "before the take", "released"],
)
def test_what_does_not_show_the_holding_is_read_again(bench, first: Answer):
    """Y4"""
    at = bench(first, there)
    at.loader.begin(1, MINE)

    outcome = at.outcome()

    assert isinstance(outcome, Loaded)
    assert Path(outcome.path).read_bytes() == b"state"
    assert at.reader.asked == 2


def test_it_gives_up_after_a_while_and_says_why(bench):
    at = bench(unreachable, give_up_s=0.0)
    at.loader.begin(1, MINE)

    assert at.outcome() == NotLoaded(1, "its state cannot be read: nobody answers", 0)


def test_a_refusal_of_the_database_is_final_and_keeps_its_code(bench):
    at = bench(refused)
    at.loader.begin(1, MINE)

    assert at.outcome() == NotLoaded(1, "permission denied for table token_state", 77)


def test_a_run_that_was_forgotten_while_it_was_read_is_told_of_no_more(bench, tmp_path: Path):
    """Y4: and its file, written all the same, is removed."""
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> Mapping[str, StateSeen]:
        reading.set()
        assert go_on.wait(WAIT_MS / 1000)
        return {"orders": SHOWN, "other": SHOWN}

    at = bench(slow)
    at.loader.begin(1, MINE)
    assert reading.wait(WAIT_MS / 1000)
    at.loader.forget(1)
    at.loader.begin(2, StateWanted(token="other", term=7, session="s"))
    go_on.set()

    outcome = at.outcome()

    assert outcome.run == 2
    assert at.told == []
    at.loader.forget(2)
    at.loader.close()
    assert list(tmp_path.iterdir()) == []
