"""Write docs/reference/licences.md: the licence of everything that a user may install, as its metadata states it.

    python tools/make_licences.py                  the page
    python tools/make_licences.py --sbom FILE      a CycloneDX 1.6 list of the plain set (no extra), with versions

tests/unit/test_licences.py holds the page to the installed packages, and their licences to ALLOWED.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "reference" / "licences.md"
NOT_SHIPPED = {"dev"}
"""Extras for developers: what they bring is in no image, and nobody installs it to use HOPE."""

PERMISSIVE = {
    "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CNRI-Python", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib",
}  # fmt: skip
WEAK = {"LGPL-3.0", "LGPL-3.0-only", "LGPL-3.0-or-later", "MPL-2.0"}
"""They bind changes of the package itself. HOPE imports these packages as they are published and changes none."""
ALLOWED = PERMISSIVE | WEAK

STATED = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What metadata say in words of their own -> SPDX."""

READ = {
    "customtkinter": "MIT",
    "dcm2niix": "BSD-2-Clause",
    "dynamic-network-architectures": "Apache-2.0",
    "numpy": "BSD-3-Clause",
    "pandas": "BSD-3-Clause",
    "picsl-greedy": "Apache-2.0",
    "python-dateutil": "Apache-2.0 AND BSD-3-Clause",
    "scikit-image": "BSD-3-Clause",
    "scipy": "BSD-3-Clause",
}
"""Read in the package's own licence file, because its metadata hold a text, a mixture or two answers."""

HEAD = """# Licences of what is installed

<!-- Written by `python tools/make_licences.py` from the metadata of the installed packages. -->

HOPE is Apache-2.0. This is what `pip install hope-platform` and its extras bring, and so what the images hold;
versions stand in `constraints.txt`. A test allows these licences and no other:

- {permissive};
- for packages that HOPE imports as they are published and does not change: {weak}.

What is for developers alone (the extra `dev`) is left out.

`python tools/make_licences.py --sbom FILE` writes the plain set (no extra) with versions as a CycloneDX 1.6 list.

| package | licence | comes with |
|---|---|---|
"""


@dataclass(frozen=True)
class Package:
    """An installed package: canonical name, version, SPDX expression, and the extras that bring it ("" is none)."""

    name: str
    version: str
    licence: str
    extras: tuple[str, ...]


def wanted() -> dict[str, list[Requirement]]:
    """What the project asks for: extra -> requirements, "" for what everybody gets."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(text) for text in texts] for extra, texts in asked.items() if extra not in NOT_SHIPPED}


def closure(first: Iterable[Requirement]) -> dict[str, Distribution]:
    """The installed packages that these need, by canonical name; those for other systems are not installed."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(canonicalize_name(one.name), frozenset(one.extras)) for one in first if one.name != "hope-platform"]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for one in map(Requirement, found[name].requires or []):
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((canonicalize_name(one.name), frozenset(one.extras)))
    return found


def licence_of(package: Distribution) -> str:
    """Its licence as an SPDX expression, or what its metadata say where that is none."""
    metadata = package.metadata
    name = canonicalize_name(metadata["Name"])
    if name in READ:
        return READ[name]
    if metadata["License-Expression"]:
        return str(metadata["License-Expression"])
    text = str(metadata["License"] or "").strip().removeprefix("OSI Approved :: ")
    classifiers = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License")
    ]
    stated = [STATED.get(line, line) for line in (text, *classifiers) if line and line != "OSI Approved"]
    precise = [line for line in stated if line != "BSD"]
    return (precise or stated or ["none stated"])[0]


def refused(expression: str) -> list[str]:
    """The licences of an expression that are not allowed; of alternatives one suffices."""
    alternatives = [
        [part for part in re.split(r"\s+AND\s+", choice.strip("() ")) if part.strip("() ") not in ALLOWED]
        for choice in re.split(r"\s+OR\s+", expression)
    ]
    return min(alternatives, key=len)


def packages() -> list[Package]:
    """Everything that a user may install, sorted by name."""
    by_name: dict[str, Distribution] = {}
    extras: dict[str, list[str]] = {}
    plain = set(closure(wanted()[""]))
    for extra, requirements in wanted().items():
        for name, package in closure(requirements).items():
            by_name[name] = package
            if extra == "" or name not in plain:
                extras.setdefault(name, []).append(extra)
    return [
        Package(name, package.version, licence_of(package), tuple(extras[name]))
        for name, package in sorted(by_name.items())
    ]


def page(found: list[Package]) -> str:
    """The page's text."""
    head = HEAD.format(permissive=", ".join(sorted(PERMISSIVE)), weak=", ".join(sorted(WEAK)))
    rows = [
        f"| {one.name} | {one.licence} | {'every installation' if '' in one.extras else ', '.join(one.extras)} |"
        for one in found
    ]
    return head + "\n".join(rows) + "\n"


def sbom(found: list[Package]) -> dict[str, Any]:
    """A CycloneDX 1.6 list of the plain set."""
    version = re.search(r'__version__ = "([^"]+)"', (REPOSITORY / "src/hope/__init__.py").read_text(encoding="utf-8"))
    components = [
        {
            "type": "library",
            "bom-ref": one.name,
            "name": one.name,
            "version": one.version,
            "purl": f"pkg:pypi/{one.name}@{one.version.replace('+', '%2B')}",
            "licenses": [{"license": {"name": "BSD"}} if one.licence == "BSD" else {"expression": one.licence}],
        }
        for one in found
        if "" in one.extras
    ]
    itself = {"type": "application", "bom-ref": "hope-platform", "name": "hope-platform"}
    itself |= {"version": version[1] if version else "", "licenses": [{"expression": "Apache-2.0"}]}  # type: ignore[dict-item]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": itself},
        "components": components,
    }


def main() -> None:
    """Read the command line and write one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sbom", type=Path, metavar="FILE", help="write a CycloneDX list instead of the page")
    given = parser.parse_args()
    found = packages()
    if given.sbom:
        given.sbom.parent.mkdir(parents=True, exist_ok=True)
        given.sbom.write_text(json.dumps(sbom(found), indent=2) + "\n", encoding="utf-8")
    else:
        PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
