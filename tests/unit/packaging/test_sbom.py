"""The bill of materials names what the lock names, with a licence that fits."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
BILL = json.loads((ROOT / "coordinator/sbom.cdx.json").read_text())
#: Licences with which coord may be given away; none of them asks for more than its own text.
FITTING = {"MIT", "ISC", "BSD", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "PSF-2.0", "MPL-2.0"}
#: As a dependency that is not changed, and can be replaced.
FITTING |= {"LGPL-3.0-only"}


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    found = importlib.util.spec_from_file_location("coord_sbom", ROOT / "packaging/sbom.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_bill_is_that_of_the_lock(sbom: ModuleType):
    licences = {
        each["name"]: each["licenses"][0]["expression"]
        for each in BILL["components"]
        if "licenses" in each
    }

    assert sbom.bill(sbom.LOCK.read_text(), licences) == BILL, "python packaging/sbom.py"


def test_every_package_has_a_licence_that_fits():
    stated = {
        each["name"]: each.get("licenses", [{"expression": ""}])[0]["expression"]
        for each in BILL["components"]
    }

    assert {
        name: text
        for name, text in stated.items()
        if not text or not set(text.replace(" AND ", " ").split()) <= FITTING
    } == {}


def test_two_bills_of_one_lock_are_equal(sbom: ModuleType):
    lock = sbom.LOCK.read_text()

    assert sbom.bill(lock, {}) == sbom.bill(lock, {})
    assert sbom.bill(lock, {})["serialNumber"] != sbom.bill("lark==1.0\n", {})["serialNumber"]


def test_the_packages_and_the_image_have_no_embedded_server(sbom: ModuleType):
    names = sbom.pinned(sbom.LOCK.read_text())

    assert "psycopg" in names
    assert [name for name in names if "postgres" in name or "pgserver" in name] == []
