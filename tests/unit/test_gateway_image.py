"""The gateway's image installs a list instead of all that the package asks for: enough for it, and nothing heavy."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
LIST = REPOSITORY / "containers" / "gateway.txt"
ALONE = "nilearn"
"""Installed without what it asks for: the sample case reads a file in it."""

HEAVY = {"torch", "simpleitk", "picsl-greedy", "deepbet", "monai", "openvino", "scikit-learn", "pandas"}


def listed() -> list[Requirement]:
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def closure(first: list[Requirement]) -> set[str]:
    """The distributions that pip installs for these, by their canonical names."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(canonicalize_name(one.name), frozenset(one.extras)) for one in first]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            asked = [Requirement(text) for text in distribution(name).requires or []]
        except PackageNotFoundError:  # named for a system or a Python other than this one
            continue
        for one in asked:
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((canonicalize_name(one.name), frozenset(one.extras)))
    return {name for name, _ in seen}


def test_the_list_has_the_gateways_extras_and_nothing_heavy() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [Requirement(text) for extra in ("aws", "server") for text in project["optional-dependencies"][extra]]
    names = {canonicalize_name(one.name) for one in listed()}
    assert {one.name for one in asked if canonicalize_name(one.name) not in names} == set()
    assert closure(listed()) & HEAVY == set()


def test_the_gateway_and_its_children_import_nothing_else() -> None:
    """In a process in which nothing can be imported but what the image holds."""
    there = closure(listed()) | {ALONE, "hope-platform"}
    absent = sorted(
        package
        for package, names in packages_distributions().items()
        if not there & {canonicalize_name(name) for name in names}
        and package.isidentifier()
        and package not in sys.stdlib_module_names
    )
    assert {"torch", "SimpleITK", "deepbet"} <= set(absent)
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {set(absent)!r}:\n"
        "            raise ModuleNotFoundError(f'no {name}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import uvicorn, hope.web.app, hope.jobs.node, hope.jobs.audit_log, hope.jobs.listening\n"
        "import hope.web.auth.oidc, hope.web.middleware.metrics\n"
        "import hope.adapters.cases_sql, hope.adapters.queue_dbos, hope.adapters.blobs_s3, hope.adapters.blobs_local\n"
        "import hope.jobs.child, hope.jobs.bodies, hope.jobs.tasks, hope.formats.dicom\n"
        "import hope.synthesis.raw, hope.stages.postprocess.corrected_mask\n"
        "from hope.formats.atlas import atlas_t1\n"
        "from hope.services import Services\n"
        "from hope.settings import Settings\n"
        "assert Services(Settings.from_environment()).model_list()\n"
        "assert atlas_t1().data.any()\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
