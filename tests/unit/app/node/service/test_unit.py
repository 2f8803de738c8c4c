"""The variables of a service manager are the node's alone."""

from __future__ import annotations

from coordinator.app.config.settings import UnitSettings
from coordinator.app.node.service.unit import OWN, take_unit, too_short

PID = 4711


def test_no_variable_of_the_manager_stays_in_the_environment():
    environ = {
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "60000000",
        "WATCHDOG_PID": str(PID),
        "PATH": "/bin",
    }

    unit = take_unit(environ, PID)

    assert unit == UnitSettings(notify="/run/systemd/notify", watchdog_s=60.0)
    assert environ == {"PATH": "/bin"}


def test_a_watchdog_of_another_process_is_none():
    environ = dict(zip(OWN, ("@manager", "60000000", "1"), strict=True))

    unit = take_unit(environ, PID)

    assert unit is not None
    assert unit.watchdog_s == 0.0


def test_two_nodes_of_one_unit_have_a_record_each():
    environ = {"RUNTIME_DIRECTORY": "/run/coord:/run/more", "INVOCATION_ID": "abc"}

    units = [take_unit(dict(environ), pid) for pid in (1, 2)]

    assert [unit and unit.record for unit in units] == ["/run/coord/node-1", "/run/coord/node-2"]


def test_without_a_manager_there_is_nothing_to_tell():
    assert take_unit({"PATH": "/bin"}, PID) is None


def test_a_watchdog_shorter_than_three_heartbeats_is_named():
    unit = UnitSettings(notify="@manager", watchdog_s=2.9)

    assert "WatchdogSec" in too_short(unit, 1.0)[0]
    assert too_short(unit, 0.9) == ()
