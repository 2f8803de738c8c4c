"""The judge of the fault campaign is judged: bad histories are told, good ones are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.campaign.checker import judge, waits
from tests.faults.campaign.finding import injection_at
from tests.faults.campaign.generated import good, mutated, row_of
from tests.faults.campaign.history import (
    Asked,
    Grant,
    History,
    Injection,
    News,
    Reader,
    Run,
    Span,
    Told,
    Unit,
)
from tests.faults.campaign.wrecked_faults import transactions

THAW_LINE_S = 0.05


def calm() -> History:
    """Three holdings of ten seconds, two units in each, and nothing wrong."""
    history = History(began_at=0.0, ended_at=32.0)
    assert history.grants is not None
    for term, node in enumerate("abc", start=1):
        start = 11.0 * (term - 1)
        who = {"node": node, "term": term, "session": f"s{term}", "pid": term}
        history.runs.append(Run(**who, start=start, end=start + 10.0))
        history.grants.append(Grant(term=term, node=node, session=f"s{term}", at=1e6 + start))
        if term > 1:  # its holder's last heartbeat was 0.2 s before its program's last line
            told = Told(term=term, before_term=term - 1, gap_s=1.15, acquired_at=start - 0.05)
            history.told.append(told)
        history.injections.append(
            Injection(fault=f"fault {term}", at=start, until=start + 1, bound_s=1.5)
        )
        for attempt in (1, 2):
            at, number = start + attempt, 2 * (term - 1) + attempt
            unit = Unit(**who, attempt=attempt, number=number, start=at, end=at + 0.1, outcome="ok")
            history.units.append(unit)
            history.rows.append(row_of(unit, place=number))
    return history


Edit = Callable[[History], object]


def run(place: int, **changes: object) -> Edit:
    """Change one run."""

    def edit(history: History) -> None:
        history.runs[place] = replace(history.runs[place], **changes)

    return edit


def unit(place: int, **changes: object) -> Edit:
    """Change one unit, and leave its row as it is."""

    def edit(history: History) -> None:
        history.units[place] = replace(history.units[place], **changes)

    return edit


def row(index: int, **changes: object) -> Edit:
    """Change one row, and leave its unit as it is."""

    def edit(history: History) -> None:
        history.rows[index] = replace(history.rows[index], **changes)

    return edit


def grant(place: int, **changes: object) -> Edit:
    """Change one grant."""

    def edit(history: History) -> None:
        assert history.grants is not None
        history.grants[place] = replace(history.grants[place], **changes)

    return edit


def more_run(**fields: object) -> Edit:
    """Add a run of a's holding, changed as told."""
    return lambda history: history.runs.append(replace(history.runs[0], **fields))


def more_row(place: int, **changes: object) -> Edit:
    """Add a row like another one, at the end unless told."""
    return lambda history: history.rows.append(
        replace(history.rows[place], **{"place": 99, **changes})
    )


def more_grant(**fields: object) -> Edit:
    return lambda history: history.grants.append(replace(history.grants[0], **fields))


def told(place: int, **changes: object) -> Edit:
    """Change one takeover as it is told."""

    def edit(history: History) -> None:
        history.told[place] = replace(history.told[place], **changes)

    return edit


def asked(transactions: int) -> Edit:
    """Let a node make so many transactions in ten heartbeats."""
    return lambda history: history.asked.append(
        Asked(node="b", at=12.0, until=15.0, transactions=transactions)
    )


def frozen(node: str, since: float, until: float, *, whole: bool = False) -> Edit:
    return lambda history: history.frozen.append(Span(since, until, node, whole))


def stalled(since: float, until: float) -> Edit:
    """Let the machine keep its watcher waiting."""
    return lambda history: history.stalls.append(Span(since, until))


def held(news: News, *, until: float) -> Edit:
    """Let the fault under the first takeover hold the word of an end up, until it lets go."""

    def edit(history: History) -> None:
        history.injections[0] = replace(history.injections[0], news=news, healed_at=until)

    return edit


def outage(since: float, until: float) -> Edit:
    return lambda history: history.outages.append(Span(since, until))


def taken_back(since: float, until: float) -> Edit:
    return lambda history: history.taken_back.append(Span(since, until))


def without(what: str, place: int) -> Edit:
    return lambda history: getattr(history, what).pop(place)


def lost(place: int) -> Edit:
    """Lose a row and leave no gap in the numbers of those that come after."""

    def edit(history: History) -> None:
        history.rows.pop(place)
        for later in range(place, len(history.rows)):
            number = history.rows[later].number - 1
            history.rows[later] = replace(history.rows[later], number=number)
            history.units[later + 1] = replace(history.units[later + 1], number=number)

    return edit


def ending(at: float) -> Edit:
    return lambda history: setattr(history, "ended_at", at)


#: The fault, the kind of finding, words that it must say, and the edits that make the fault.
BAD: list[tuple[str, str, str, tuple[Edit, ...]]] = [
    # --- overlaps
    ("a runs into b", "overlap", "b (term 2) ran while a", (run(0, end=11.1),)),
    ("by a hundredth of a ms", "overlap", "together", (run(0, end=11.00001),)),
    ("a runs through all of b", "overlap", "b (term 2) ran while a", (run(0, end=21.5),)),
    ("a runs into c behind b", "overlap", "c (term 3) ran while a", (run(0, end=23.0),)),
    ("b starts early", "overlap", "ran while a", (run(1, start=9.9),)),
    ("b starts with a", "overlap", "together", (run(1, start=0.0),)),
    ("b starts before a and ends in it", "overlap", "together", (run(1, start=-1.0, end=0.5),)),
    ("b is within a", "overlap", "together 1.000", (run(1, start=5.0, end=6.0),)),
    ("a single line of b within a", "overlap", "b (term 2)", (run(1, start=5.0, end=5.001),)),
    ("two pids of one holding", "overlap", "a (term 1) ran while a", (more_run(pid=9),)),
    ("two pids, one in the other", "overlap", "together", (more_run(pid=9, start=3.0, end=4.0),)),
    ("an old run comes back", "overlap", "a (term 1)", (more_run(pid=9, start=15.0, end=16.0),)),
    ("three at once", "overlap", "c (term 3) ran while a", (run(0, end=32.0), run(1, end=32.0))),
    (
        "a freeze that ended long before",
        "overlap",
        "b (term 2)",
        (run(0, end=11.1), frozen("a", 2.0, 5.0)),
    ),
    (
        "another node's freeze",
        "overlap",
        "b (term 2)",
        (run(0, end=11.2), frozen("b", 10.5, 11.15)),
    ),
    (
        "a freeze that began after the overlap",
        "overlap",
        "b (term 2)",
        (run(0, end=20.0), frozen("a", 11.5, 19.99)),
    ),
    (
        "a line from within a freeze: it was not frozen yet",
        "overlap",
        "b (term 2)",
        (run(0, end=11.3), frozen("a", 10.5, 12.0)),
    ),
    (
        "a thawed node works on for longer than the last line",
        "overlap",
        "a (term 1) ran while b",
        (run(0, end=15.1), frozen("a", 9.0, 15.0, whole=True)),
    ),
    (
        "a thawed program of a node that was not frozen",
        "overlap",
        "a (term 1) ran while b",
        (run(0, end=15.01), frozen("a", 9.0, 15.0)),
    ),
    (
        "the second thaw is too long",
        "overlap",
        "a (term 1)",
        (
            run(0, end=17.2),
            frozen("a", 9.0, 15.0, whole=True),
            frozen("a", 15.01, 17.0, whole=True),
        ),
    ),
    (
        "a last line at a thaw is counted apart",
        "thaw",
        "a (term 1) ran while b",
        (run(0, end=15.04), frozen("a", 9.0, 15.0, whole=True)),
    ),
    # --- terms
    ("b ran under a's term", "term", "term 1 is a's and b's", (run(1, term=1),)),
    ("c ran under b's term", "term", "term 2 is b's and c's", (run(2, term=2),)),
    ("c ran under a's term", "term", "after term 2", (run(2, term=1),)),
    ("terms fall from the start", "term", "after term 9", (run(0, term=9),)),
    ("a term below all", "term", "under term 0", (run(2, term=0),)),
    (
        "the same node, another session",
        "term",
        "term 1 is a's and a's",
        (more_run(pid=9, session="s9", start=10.2, end=10.4),),
    ),
    ("a session that was never granted", "term", "never granted", (run(1, session="s9"),)),
    ("a node that was never granted", "term", "never granted", (run(1, node="z"),)),
    ("a term that was never granted", "term", "never granted term 4", (run(2, term=4),)),
    ("a's grant is gone", "term", "a was never granted", (without("grants", 0),)),
    ("b's grant is gone", "term", "b was never granted", (without("grants", 1),)),
    ("c's grant is gone", "term", "c was never granted", (without("grants", 2),)),
    (
        "a term granted twice, nobody ran",
        "term",
        "term 1 is a's and z's",
        (more_grant(node="z", session="s9"),),
    ),
    (
        "a term granted again to its own node",
        "term",
        "term 1 is a's and a's",
        (more_grant(session="s9"),),
    ),
    ("grants in the wrong order", "term", "granted after term 2", (grant(0, at=1e6 + 12),)),
    ("the last grant came first", "term", "granted after term 3", (grant(2, at=1e6 - 1),)),
    (
        "a grant below the others that nobody ran under",
        "term",
        "term 0 was granted after",
        (more_grant(term=0, session="s0", at=1e6 + 30),),
    ),
    (
        "a unit under another's term",
        "term",
        "term 1 is a's and b's",
        (unit(2, term=1), row(2, term=1)),
    ),
    # --- fenced units
    ("a row twice", "unit", "unit 1 was written 2 times", (more_row(0),)),
    ("the last row twice", "unit", "unit 6 was written 2 times", (more_row(5),)),
    ("a number twice", "unit", "unit 2 was written 2 times", (row(2, number=2),)),
    ("a number left out", "unit", "are missing", (row(5, number=9), unit(5, number=9))),
    ("the first number is not 1", "unit", "units 1 to 1 are missing", (without("rows", 0),)),
    ("a row gone from the middle", "unit", "unit 3 of b was acknowledged", (without("rows", 2),)),
    ("the last row gone", "unit", "unit 6 of c was acknowledged", (without("rows", 5),)),
    ("a row gone without a gap", "unit", "was acknowledged, and is lost", (lost(3),)),
    ("all rows gone", "unit", "unit 1 of a was acknowledged", (lambda h: h.rows.clear(),)),
    (
        "taken back, but not at that time",
        "unit",
        "unit 6 of c was acknowledged",
        (without("rows", 5), taken_back(1.0, 20.0)),
    ),
    ("refused and written", "unit", "unit 3 of b was refused", (unit(2, outcome="fail"),)),
    ("the last one refused and written", "unit", "was refused", (unit(5, outcome="fail"),)),
    ("never begun", "unit", "who never began it", (without("units", 0),)),
    ("written by another try", "unit", "who never began it", (row(1, attempt=7),)),
    ("written by another process", "unit", "who never began it", (row(1, pid=7),)),
    ("written by another node", "unit", "by z, who never began it", (row(1, node="z"),)),
    ("written by another session", "unit", "who never began it", (row(1, session="s9"),)),
    ("written under another term", "unit", "never granted", (row(1, term=7),)),
    ("written under another number", "unit", "unit 6 was written as 7", (row(5, number=7),)),
    ("a's row behind b's", "unit", "of term 1 came after 3's", (row(1, place=50),)),
    ("c's row before all", "unit", "of term 1 came after 3's", (row(5, place=0),)),
    (
        "a's unit after b's",
        "unit",
        "a wrote under term 1 after term 2",
        (unit(1, start=15.0, end=15.1),),
    ),
    (
        "a's unit after c's",
        "unit",
        "a wrote under term 1 after term 3",
        (unit(0, start=31.0, end=31.1),),
    ),
    (
        "b's unit after c's",
        "unit",
        "b wrote under term 2 after term 3",
        (unit(3, start=31.0, end=31.1),),
    ),
    (
        "an unknown unit twice",
        "unit",
        "unit 1 was written 2 times",
        (
            unit(0, outcome="unknown"),
            more_row(0),
        ),
    ),
    # --- waits
    ("b is missing", "wait", "nobody ran for 12.00 s", (without("runs", 1),)),
    ("b starts late", "wait", "nobody ran for 2.00 s", (run(1, start=12.0),)),
    ("a ends early", "wait", "nobody ran for 3.00 s", (run(0, end=8.0),)),
    ("nobody at the end", "wait", "nobody ran for 8.00 s", (ending(40.0),)),
    ("nobody at the beginning", "wait", "nobody ran for 2.00 s", (run(0, start=2.0),)),
    (
        "an outage that explains too little",
        "wait",
        "nobody ran for 5.00 s",
        (run(1, start=17.0), outage(11.0, 12.0)),
    ),
    (
        "two outages with too long a time between",
        "wait",
        "nobody ran for 4.00 s",
        (run(1, start=19.0), outage(10.0, 13.0), outage(17.0, 18.9)),
    ),
    (
        "an outage long ago",
        "wait",
        "nobody ran for 2.00 s",
        (run(1, start=12.0), outage(3.0, 5.0)),
    ),
    (
        "a frozen node does not hold",
        "wait",
        "nobody ran for 2.00 s",
        (run(1, start=12.0), run(0, end=12.0), frozen("a", 10.0, 12.0, whole=True)),
    ),
    # --- what is told
    (
        "a gap that is told too long",
        "told",
        "term 2 is told 1.35 s too long",
        (told(0, gap_s=2.3),),
    ),
    ("a gap that is told too short", "told", "0.45 s too short", (told(0, gap_s=0.5),)),
    ("no gap is told", "told", "0.95 s too short", (told(1, gap_s=0.0),)),
    ("two are told to have been active", "told", "3.95 s too short", (told(1, gap_s=-3.0),)),
    ("the whole holding before is told as a gap", "told", "too long", (told(1, gap_s=10.95),)),
    (
        "the program before ended later than is told",
        "told",
        "term 2 is told 1.50 s too long",
        (run(0, end=10.6), told(0, gap_s=1.85)),
    ),
    (
        "an earlier program of the same holding is none of the gap's",
        "told",
        "too short",
        (more_run(pid=9, start=4.0, end=6.0), told(0, gap_s=0.5)),
    ),
    (
        "a freeze after the takeover excuses nothing",
        "told",
        "too short",
        (told(0, gap_s=0.5), frozen("a", 12.0, 15.0)),
    ),
    (
        "another node's freeze excuses nothing",
        "told",
        "too short",
        (told(0, gap_s=0.5), frozen("c", 9.0, 10.9)),
    ),
    (
        "a machine that was busy at another time excuses nothing",
        "told",
        "0.45 s too short",
        (told(0, gap_s=0.5), stalled(8.0, 9.0)),
    ),
    (
        "a machine that was busy for a moment excuses a moment",
        "told",
        "0.40 s too short",
        (told(0, gap_s=0.5), stalled(10.1, 10.15)),
    ),
    (
        "a fault that lets go of the node excuses nothing after that",
        "told",
        "0.40 s too short",
        (told(0, gap_s=0.5), held("held", until=10.05)),
    ),
    (
        "a fault that holds nothing up excuses nothing",
        "told",
        "0.45 s too short",
        (told(0, gap_s=0.5), held("prompt", until=12.0)),
    ),
    (
        "last words do not make the gap shorter",
        "told",
        "too long",
        (run(0, end=15.04), frozen("a", 9.0, 15.0, whole=True), told(0, gap_s=3.3)),
    ),
    (
        "a takeover is told after it ran",
        "told",
        "0.10 s after its first line",
        (told(0, acquired_at=11.1, gap_s=1.3),),
    ),
    (
        "a takeover is told long before it ran",
        "told",
        "taken -2.00 s after",
        (told(1, acquired_at=20.0, gap_s=-0.8),),
    ),
    ("a node asks without a pause", "busy", "b made 4000 transactions", (asked(4000),)),
    ("a node asks a little too often", "busy", "40 were allowed", (asked(41),)),
]


@pytest.mark.parametrize(
    ("kind", "words", "edits"), [each[1:] for each in BAD], ids=[each[0] for each in BAD]
)
def test_a_bad_history_is_told_for_the_right_reason(kind, words, edits):
    history = calm()
    for edit in edits:
        edit(history)

    told = judge(history, thaw_line_s=THAW_LINE_S)

    assert [each for each in told if each.kind == kind and words in each.told], told


def test_the_bad_histories_are_many():
    assert len(BAD) >= 60
    assert set(Counter(kind for _, kind, _, _ in BAD)) == {
        "overlap",
        "thaw",
        "term",
        "unit",
        "wait",
        "told",
        "busy",
    }


#: Histories that look bad and are not.
GOOD: list[tuple[str, tuple[Edit, ...]]] = [
    ("as it is", ()),
    ("a ends as b starts", (run(0, end=11.0),)),
    ("a program that was frozen while b ran", (run(0, end=21.2), frozen("a", 10.0, 21.0))),
    (
        "a second pid after the first",
        (
            run(0, end=4.0),
            more_run(pid=9, start=5.0, end=10.0),
        ),
    ),
    ("an unknown unit that was written", (unit(3, outcome="unknown"),)),
    ("an unknown unit without an end", (unit(3, outcome="unknown", end=None),)),
    ("an unknown unit that was not", (unit(5, outcome="unknown"), without("rows", 5))),
    ("a refused unit that was not", (unit(5, outcome="fail"), without("rows", 5))),
    ("taken back by the database", (without("rows", 5), taken_back(23.0, 25.0))),
    ("places with gaps", (row(5, place=600),)),
    ("an outage as long as the wait", (run(1, start=19.0), outage(10.5, 18.0))),
    ("a program frozen for long holds", (frozen("a", 2.0, 9.0),)),
    ("a store without grants", (lambda history: setattr(history, "grants", None),)),
    ("a grant that nobody ran under", (more_grant(term=4, session="s4", at=1e6 + 30),)),
    ("an old unit that began in time", (unit(1, start=9.9, end=10.0),)),
    ("a cut-off holder is counted from its last heartbeat", (told(0, gap_s=2.15),)),
    ("an ordered end is told a little late", (told(0, gap_s=0.7),)),
    ("a busy machine tells an end later", (told(0, gap_s=0.5), stalled(10.1, 10.3))),
    (
        "a word of an end waits until a fault lets go",
        (told(0, gap_s=0.5), held("held", until=10.2)),
    ),
    (
        "a word of an end is sent again as long after a cut as that lasted",
        (told(0, gap_s=0.5), held("sent again", until=5.1)),
    ),
    (
        "a frozen program ended when it was woken, says its node",
        (told(0, gap_s=-3.0), frozen("a", 9.99, 14.0, whole=True)),
    ),
    ("a frozen program ended when it was stopped, says its heart", (frozen("a", 9.99, 14.0),)),
    (
        "a program whose end nobody saw",
        (told(0, before_term=9, gap_s=77.0),),
    ),
    ("a node asks as often as it may", (asked(40),)),
]


@pytest.mark.parametrize("edits", [each[1] for each in GOOD], ids=[each[0] for each in GOOD])
def test_what_only_looks_bad_is_not_told(edits):
    history = calm()
    for edit in edits:
        edit(history)

    assert judge(history, thaw_line_s=THAW_LINE_S) == []


def test_no_false_alarm_on_10_000_good_histories():
    told = {
        seed: found
        for seed in range(10_000)
        if (found := judge(good(seed), thaw_line_s=THAW_LINE_S))
    }

    assert told == {}


def test_generated_histories_have_everything_in_them():
    """Otherwise the test above would show nothing."""
    histories = [good(seed) for seed in range(300)]

    outcomes = {unit.outcome for history in histories for unit in history.units}
    assert outcomes == {"ok", "fail", "unknown"}
    for what in ("frozen", "outages", "taken_back"):
        assert sum(bool(getattr(history, what)) for history in histories) > 30, what
    assert {span.whole for history in histories for span in history.frozen} == {True, False}
    longest = max(
        span.until - span.since for history in histories for span in waits(history, THAW_LINE_S)
    )
    assert longest > 1.8  # near the bound


def test_each_of_1_000_mutated_histories_is_told():
    missed = []
    for seed in range(1_000):
        history, what, kind = mutated(seed)
        told = judge(history, thaw_line_s=THAW_LINE_S)
        if kind not in {each.kind for each in told}:
            missed.append((seed, what))

    assert missed == []


def test_a_finding_belongs_to_the_fault_under_which_it_happened():
    history = calm()
    run(1, start=9.0)(history)

    (told,) = [each for each in judge(history, thaw_line_s=0.0) if each.kind == "overlap"]

    under = injection_at(told.at, history.injections)
    assert under is not None
    assert under.fault == "fault 1"
    assert told.length_s == pytest.approx(1.0)


def test_lines_of_a_program_become_runs_and_units():
    reader = Reader()

    reader.take_in(
        [
            "U node-1 3 s 7 10.000000 10.005000",
            "B node-1 3 s 7 1 41 10.006000",
            "U node-1 3 s 7 10.005000 10.010000",
            "E node-1 3 s 7 1 10.012000 ok",
            "B node-1 3 s 7 2 42 10.020000",
            "U node-1 3 s 7 10.0",  # cut short
            "E node-1 3 s 7 2 10.030000 fail",
            "B node-1 3 s 7 3 42 10.040000",
            "U node-2 4 t 8 11.000000 11.005000",
        ]
    )

    first, second = reader.runs
    assert (first.node, first.term, first.start, first.end) == ("node-1", 3, 10.0, 10.04)
    assert reader.newest == second
    assert [(each.number, each.outcome) for each in reader.units] == [
        (41, "ok"),
        (42, "fail"),
        (42, "unknown"),
    ]
    assert reader.units[2].end is None


def test_transactions_of_a_log_are_counted_once_each_and_by_node():
    log = (
        b"node-1|3/7|LOG:  statement: BEGIN\n"
        b"node-1|3/7|LOG:  execute <unnamed>: SELECT 1\n\tFROM x\n"
        b"node-1|3/8|LOG:  statement: COMMIT\n"
        b"node-2|3/8|LOG:  statement: SELECT 'node-1|9/9|LOG:  '\n"
        b"node-2||LOG:  could not receive data from client\n"
        b"[unknown]|4/1|LOG:  statement: SELECT 1\n"
    )

    assert transactions(log) == {"node-1": 2, "node-2": 1}
