"""The fault campaign: its short form on every change, and what it must find when a rule is broken.

`make faults` runs the long form; docs/faults.md says how to read the table.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.campaign import grounds, plan, process_faults, summary, table
from tests.faults.campaign.checker import judge
from tests.faults.campaign.ground import Ground
from tests.faults.campaign.limits import BOUND_S, THAW_LINE_S
from tests.faults.campaign.runner import LANES, campaign
from tests.support.networks.stalling_proxy import StallingProxy

SEED = 1
FAULTS_MIN = 60


@pytest.mark.real
@pytest.mark.timeout(400)  # 40 s on two quiet cores; two minutes were seen on busy ones
def test_short_campaign_breaks_no_promise(capsys, record_property):
    """No overlap, no term twice, every fenced unit once, and nobody waits beyond the bound.

    The origin's pattern meets the same judge beside it, and shows that there is something to see.
    """
    # One group fewer at the same time than by hand: another worker's tests run beside it.
    outcome = campaign(plan.shifts(long=False, seed=SEED), SEED, lanes=LANES - 1)

    record_property("table", table.plain(outcome))
    with capsys.disabled():
        print(f"\n{table.plain(outcome)}")
    assert outcome.broken_promises() == []
    ours = [tally for tally in outcome.tallies.values() if tally.fault.ours]
    assert sum(tally.injected for tally in ours) >= FAULTS_MIN
    assert outcome.units > 1000
    origins = outcome.tallies[plan.ORIGIN_RACE]
    assert origins.injected
    assert origins.count("overlap")
    assert origins.count("term")


def test_long_form_is_more_than_2_000_faults_and_the_same_seed_plans_the_same():
    planned = plan.shifts(long=True, seed=7)
    ours = [fault for shift in planned for fault in shift.faults if fault.ours]

    assert len(ours) > 2000
    assert {fault.name for fault in ours} == {fault.name for fault in plan.FAULTS if fault.ours}
    assert planned == plan.shifts(long=True, seed=7)
    assert planned != plan.shifts(long=True, seed=8)


def test_every_fault_has_a_row_in_the_summary():
    rows = {summary.family(fault) for fault in plan.FAULTS if fault.ours}

    assert rows == {title for title, _ in summary.FAMILIES}


# --- broken on purpose ----------------------------------------------------------------------------

PLANTED = Path(__file__).parent / "campaign/planted"


#: Without a broken rule the same fault brings nothing.
RULES = ("lease", None)


def found(made, inject) -> set[str]:
    """Let a group's holder meet one fault, and name what the judge finds."""
    with made as ground:
        ground.holder_share = 1.0
        ground.inject("planted", BOUND_S, inject, until_whole=False)
        history = ground.close()
    told = judge(history, thaw_line_s=THAW_LINE_S)
    print(*told, sep="\n")
    return {finding.kind for finding in told}


def stall_and_stay(ground: Ground) -> None:
    """Cut the holder's node off and leave it so for a while when another one has taken over."""
    holding = ground.holder()
    proxy = ground.parts[holding.node]
    assert isinstance(proxy, StallingProxy)
    proxy.stall()
    ground.wait_for_run(after=holding.term)
    ground.run_on(0.7)
    proxy.resume()


def broken(rule: str | None) -> dict[str, str]:
    return {"PYTHONPATH": str(PLANTED), "COORD_PLANTED": rule} if rule else {}


@pytest.mark.long
@pytest.mark.real
@pytest.mark.parametrize("rule", RULES)
def test_a_lease_longer_than_the_wait_is_found(tmp_path, rule):
    """T1: the holder cannot hear that it lost the token, and trusts its last heartbeat too long.

    The two write at the same time, too, and the fence refuses the older one.
    """
    made = grounds.proxied(tmp_path, random.Random(SEED), env=broken(rule), programs_direct=True)

    assert found(made, stall_and_stay) == ({"overlap"} if rule else set())


@pytest.mark.long
@pytest.mark.real
@pytest.mark.parametrize("rule", RULES)
def test_writes_without_the_fence_are_found(tmp_path, rule):
    """F1: the same two programs, and nothing refuses the older one."""
    env = {**broken(rule), "CAMPAIGN_UNFENCED": "1"}
    made = grounds.proxied(tmp_path, random.Random(SEED), env=env, programs_direct=True)

    assert found(made, stall_and_stay) == ({"overlap", "unit"} if rule else set())


@pytest.mark.long
@pytest.mark.real
@pytest.mark.parametrize("rule", ["deadline", None])
def test_a_guardian_that_does_not_kill_at_the_deadline_is_found(tmp_path, rule):
    """G1: the agent is frozen, the program is deaf to SIGTERM, and the guardian alone knows."""
    made = grounds.plain(tmp_path, random.Random(SEED), deaf=True, env=broken(rule))
    stop = process_faults.stop_one("agent", process_faults.LONG_S)

    assert found(made, stop) == ({"overlap"} if rule else set())
