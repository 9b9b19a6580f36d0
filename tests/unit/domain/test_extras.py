"""Extras: one table for code and pyproject.toml, a plain install that segments, and a sentence for what is missing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from hope.cli import main
from hope.domain.errors import InputError
from hope.domain.extras import EXTRAS, extra_of, missing_packages, require_extras

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCE = REPOSITORY / "src" / "hope"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ALL = tuple(dict.fromkeys(name for packages in EXTRAS.values() for name in packages))


def requirements(extra: str = "") -> list[Requirement]:
    """What pyproject.toml asks for plainly or under an extra, extras of our own resolved."""
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    found: list[Requirement] = []
    for one in map(Requirement, listed):
        own = one.name == PROJECT["name"]
        found += [other for name in sorted(one.extras) for other in requirements(name)] if own else [one]
    return found


@cache
def installed() -> Mapping[str, list[str]]:
    """Distributions by the packages that they bring; asking takes a second."""
    return packages_distributions()


def distributions(package: str) -> set[str]:
    """The distributions that a package comes with; where it is not installed here, one of the same name."""
    return {canonicalize_name(name) for name in installed().get(package, [package])}


def names(listed: list[Requirement]) -> set[str]:
    return {canonicalize_name(one.name) for one in listed}


def test_the_table_and_pyproject_know_the_same_extras() -> None:
    assert set(PROJECT["optional-dependencies"]) == {*EXTRAS, "dev"}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_table_holds_what_pyproject_asks_for(extra: str) -> None:
    wanted = names(requirements(extra))
    assert {name for name in EXTRAS[extra] if not distributions(name) & wanted} == set()
    assert wanted - set().union(*(distributions(name) for name in EXTRAS[extra])) == set()


def test_every_library_that_the_source_imports_is_asked_for() -> None:
    known = names([one for extra in ("", *EXTRAS) for one in requirements(extra)])
    # moto brings botocore with boto3; pytest and Hypothesis are for whoever uses the contract classes.
    known |= {"botocore", "hypothesis", "pytest"}
    unknown: dict[str, str] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {name.partition(".")[0] for name in named} - {"hope", *sys.stdlib_module_names}:
                if not distributions(top) & known:
                    unknown[f"{path.relative_to(SOURCE)}: {top}"] = "not in pyproject.toml"
    assert not unknown


def test_everything_asked_for_is_pinned_within_its_bounds() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    versions = {canonicalize_name(name): Version(text) for name, text in pins.items()}
    wanted = [one for extra in ("", *EXTRAS, "dev") for one in requirements(extra)]
    assert {str(one) for one in wanted if versions.get(canonicalize_name(one.name)) not in one.specifier} == set()
    assert {str(one) for one in wanted if not re.search(r"[>~]=|<", str(one.specifier))} == set(), "no floor"


def test_a_plain_install_loads_the_pipeline_and_the_starter_model() -> None:
    """In a process in which no package of any extra can be imported."""
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {ALL!r}:\n"
        "            raise ModuleNotFoundError(f'no {name}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import hope.commands.batch, hope.commands.segment, hope.commands.doctor, hope.formats.dicom, hope.pipeline\n"
        "import hope.evaluation.evaluate, hope.stages.report.write_results, hope.stages.postprocess.adaptive\n"
        "import hope.models.brain_deepbet, hope.synthesis.raw\n"
        "from hope.services import Services\n"
        "from hope.settings import Settings\n"
        "services = Services(Settings.from_environment())\n"
        "services.predictor(device='cpu').prepare()\n"
        "services.harmonizer('hail')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.fixture
def nothing_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hope.domain.extras.find_spec", lambda name: None)
    monkeypatch.setenv("HOPE_DATA_DIR", str(tmp_path / "data"))


@pytest.mark.usefixtures("nothing_extra")
@pytest.mark.parametrize(
    ("words", "extras"),
    [
        (["up"], "server"),
        (["gateway"], "server"),
        (["worker"], "server"),
        (["endpoint"], "aws,server"),
        (["aws", "local"], "aws-local,server"),
        (["train", "-o", "run"], "train"),
        (["train", "harmonizer", "-o", "run"], "train"),
        (["train", "postprocess", "cases", "-o", "rules.json"], "train"),
        (["models", "push", "starter", "s3://bucket/models"], "aws"),
        (["models", "pull", "s3://bucket/models"], "aws"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_command_without_its_extra_names_it_in_one_sentence(
    words: list[str], extras: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cases").mkdir()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"run pip install 'hope-platform[{extras}]'")
    assert not {path.name for path in tmp_path.iterdir()} - {"cases"}, "nothing is left behind"


@pytest.mark.usefixtures("nothing_extra")
def test_a_setting_without_its_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPE_PREDICTOR", "sagemaker")
    monkeypatch.setenv("HOPE_SAGEMAKER_ENDPOINT", "endpoint")
    monkeypatch.setenv("HOPE_SAGEMAKER_BUCKET", "s3://bucket/proxy")
    (tmp_path / "a-t1c.nii.gz").touch()
    done = CliRunner().invoke(main, ["segment", str(tmp_path), "-o", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "hope-platform[aws]" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_installed_is_not_missed() -> None:
    assert missing_packages("server") == ()
    require_extras("hope up", "server", "aws")


def test_the_sentence_for_one_extra_and_for_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hope.domain.extras.find_spec", lambda name: None if name in ("boto3", "monai") else name)
    with pytest.raises(InputError) as one:
        require_extras("hope endpoint", "aws", "server")
    assert str(one.value) == (
        "hope endpoint needs the extra [aws], which is not installed; run pip install 'hope-platform[aws]'"
    )
    with pytest.raises(InputError) as several:
        require_extras("hope x", "aws", "ensemble")
    assert "needs the extras [aws] and [ensemble], which are not installed" in str(several.value)


def test_a_late_import_becomes_the_same_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'monai'", name="monai.networks")

    monkeypatch.setattr("hope.models.registry.ModelRegistry.list", absent)
    monkeypatch.setattr("hope.domain.extras.find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["models", "list"])
    assert done.exit_code == 2
    assert "this use of monai needs the extra [ensemble]" in done.stderr
    monkeypatch.setattr("hope.domain.extras.find_spec", lambda name: name)
    broken = CliRunner().invoke(main, ["models", "list"])
    assert isinstance(broken.exception, ModuleNotFoundError), "a damaged install is our fault and stays visible"


def test_a_package_belongs_to_an_extra_or_to_none() -> None:
    assert extra_of("boto3") == "aws"
    assert extra_of("numpy") is None
