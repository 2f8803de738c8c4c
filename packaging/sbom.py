"""The bill of materials of coord, in CycloneDX: `python packaging/sbom.py` writes it anew.

It is made of what `packaging/requirements.lock` names and of the licences that those packages state
about themselves, where they are installed. It has no date, so that two builds are equal.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "packaging/requirements.lock"
BILL = ROOT / "coordinator/sbom.cdx.json"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)")
#: Names that packages use for a licence, and what SPDX calls it.
_SPDX = {
    "MIT License": "MIT",
    "ISC License (ISCL)": "ISC",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


#: Packages of other systems, which are not installed where the file is written.
_ELSEWHERE = {"colorama": "BSD-3-Clause"}


def pinned(lock: str) -> dict[str, str]:
    """Return the version of each package that a lock names."""
    found = (_PINNED.match(line) for line in lock.splitlines())
    return {match[1].lower(): match[2] for match in found if match}


def licence(name: str) -> str:
    """Return the licence that an installed package states; empty where it says none."""
    try:
        stated = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return _ELSEWHERE.get(name, "")
    if expression := stated.get("License-Expression"):
        return expression
    classes = [text.rpartition(" :: ")[2] for text in stated.get_all("Classifier") or []]
    short = re.fullmatch(r"[A-Za-z0-9.-]+", stated.get("License", ""))
    return next((_SPDX[text] for text in classes if text in _SPDX), short[0] if short else "")


def bill(lock: str, known: dict[str, str]) -> dict[str, Any]:
    """Return the document; known: licences by the names of packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            **({"licenses": [{"expression": known[name]}]} if known.get(name) else {}),
        }
        for name, version in sorted(pinned(lock).items())
    ]
    own = f"pkg:pypi/{project['name']}@{project['version']}"
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": project["name"],
                "version": project["version"],
                "purl": own,
                "licenses": [{"expression": project["license"]}],
            }
        },
        "components": components,
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return {**document, "serialNumber": f"urn:uuid:{number}"}


def written(lock: str) -> str:
    """Return the text of the file, with the licences of the installed packages."""
    known = {name: licence(name) for name in pinned(lock)}
    return json.dumps(bill(lock, known), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    BILL.write_text(written(LOCK.read_text()))
    sys.stdout.write(f"wrote {BILL.relative_to(ROOT)}\n")
