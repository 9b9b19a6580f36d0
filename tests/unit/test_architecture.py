"""The import arrows of ARCHITECTURE.md, the size of modules, and a command line that starts without heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SOURCE = PROJECT / "src" / "hope"
MODULES = sorted(SOURCE.rglob("*.py"))
PAGE = sorted((PROJECT / "viewer" / "src").rglob("*.ts*"))

LONGEST_MODULE = 350
LONGEST_FUNCTION = 80

HEAVY = ("torch", "scipy", "nibabel", "SimpleITK", "deepbet", "nilearn", "pydicom", "PIL", "dbos", "fastapi", "boto3")

# Which rooms of the package a room may look into. A new room has to be entered here, with thought.
MAY_IMPORT: dict[str, set[str]] = {
    "": set(),
    "domain": {"domain"},
    "contract": {"domain", "contract"},
    "ports": {"domain", "ports"},
    "resources": set(),
    "formats": {"domain", "formats", "resources"},
    "stages": {"domain", "formats", "ports", "stages", "resources"},
    "export": {"domain", "formats", "stages", "export"},
    "dicomnet": {"domain", "formats", "stages", "export", "dicomnet"},
    "evaluation": {"domain", "formats", "stages", "evaluation"},
    "cohort": {"domain", "formats", "cohort"},
    "longitudinal": {"domain", "formats", "stages", "export", "longitudinal", "resources"},
    "models": {"domain", "formats", "ports", "models", "resources"},
    "synthesis": {"domain", "formats", "synthesis", "resources"},
    "training": {"domain", "formats", "ports", "models", "stages", "evaluation", "synthesis", "training"},
    "testing": {"domain", "formats", "ports", "synthesis", "jobs", "settings", "localaws", "testing"},
    "localaws": {"domain", "localaws"},
    "adapters": {"domain", "formats", "ports", "stages", "models", "adapters", "resources"},
    "pipeline": {"domain", "formats", "ports", "stages"},
    "settings": {"domain"},
    "federated": {
        "domain",
        "formats",
        "ports",
        "stages",
        "evaluation",
        "models",
        "training",
        "pipeline",
        "services",
        "settings",
        "resources",
        "federated",
    },
    "jobs": {
        "domain",
        "formats",
        "ports",
        "stages",
        "export",
        "dicomnet",
        "longitudinal",
        "synthesis",
        "pipeline",
        "settings",
        "services",
        "jobs",
    },
    "web": {"domain", "formats", "ports", "settings", "jobs", "web", "resources"},
    "endpoint": {
        "domain",
        "formats",
        "ports",
        "pipeline",
        "services",
        "settings",
        "stages",
        "synthesis",
        "jobs",
        "endpoint",
    },
    "services": {"domain", "formats", "ports", "stages", "models", "adapters", "pipeline", "settings", "resources"},
}
for _package in MAY_IMPORT.keys() - {"", "domain", "resources"}:
    MAY_IMPORT[_package].add("contract")
EVERYTHING_BUT_ADAPTERS = {package for package in MAY_IMPORT if package != "adapters"} | {"commands", "cli"}
MAY_IMPORT["commands"] = EVERYTHING_BUT_ADAPTERS
MAY_IMPORT["cli"] = EVERYTHING_BUT_ADAPTERS
MAY_IMPORT["python_api"] = EVERYTHING_BUT_ADAPTERS - {
    "commands",
    "cli",
    "web",
    "endpoint",
    "jobs",
    "localaws",
    "testing",
}
MAY_IMPORT["python_api"] |= {"python_api"}
# The package itself only says where its public names are.
MAY_IMPORT[""] = {"domain", "python_api"}
for package in MAY_IMPORT.keys() - {"", "domain", "resources"}:
    MAY_IMPORT[package] = MAY_IMPORT[package] | {"contract"}

# Libraries that only some rooms may use.
ONLY_IN: dict[str, set[str]] = {
    "torch": {"models", "training"},
    "deepbet": {"models", "training"},
    "safetensors": {"models", "training"},
    "click": {"commands", "cli"},
    "platformdirs": {"settings"},
    "dbos": {"adapters"},
    "sqlalchemy": {"adapters"},
    "alembic": {"adapters"},
    "boto3": {"adapters", "localaws"},
    "botocore": {"adapters", "localaws"},
    "fastapi": {"web", "endpoint"},
    "starlette": {"web", "endpoint"},
    "skimage": {"stages", "models"},
    "sklearn": {"training"},
    "monai": {"models"},
    "dynamic_network_architectures": {"models"},
    "openvino": {"models"},
    "highdicom": {"formats"},
    "pynetdicom": {"dicomnet"},
    "nvflare": {"federated"},
}
ALLOWED_LIBRARIES = {"domain": {"numpy"}, "contract": {"pydantic"}}
# Rooms that hand voxels on and never compute with them.
NO_VOXELS = {"jobs"}


def package_of(path: Path) -> str:
    """The first folder or module name under src/hope; empty for the package's own __init__."""
    first = path.relative_to(SOURCE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Every imported module name, also those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the arrows"
            # `from hope import domain` names a room, `from hope import DISCLAIMER` does not.
            if node.module == "hope":
                yield from (f"hope.{alias.name}" for alias in node.names if alias.name[0].islower())
            elif node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module.count(".") == 1)


def forbidden(package: str, imported: str) -> bool:
    """Whether a module in ``package`` may not import the name."""
    top, _, rest = imported.partition(".")
    if top == "hope":
        allowed = MAY_IMPORT[package]
        return bool(rest) and not any(f"{rest}.".startswith(f"{name}.") for name in allowed if name)
    if package in ALLOWED_LIBRARIES:
        return top not in sys.stdlib_module_names | ALLOWED_LIBRARIES[package]
    if top == "numpy" and package in NO_VOXELS:
        return True
    return top in ONLY_IN and package not in ONLY_IN[top]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def listed(offenders: Mapping[Path, object]) -> str:
    """The offenders of a rule, one a line, for the message of a failure."""
    return "\n".join(f"{path.relative_to(PROJECT).as_posix()}: {what}" for path, what in offenders.items())


def wrong_imports(path: Path) -> list[str]:
    """The names that the module may not import."""
    package = package_of(path)
    return sorted(
        {
            name
            for name in imports_of(parsed(path))
            if not is_prefix_of_allowed(package, name) and forbidden(package, name)
        }
    )


def long_functions(path: Path) -> list[str]:
    """Each function of the module that is too long, with its length in lines."""
    functions = [n for n in ast.walk(parsed(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    return [f"{node.name} has {length} lines" for node, length in lengths.items() if length > LONGEST_FUNCTION]


def is_generated(path: Path) -> bool:
    """Whether a file is one of the page's and says in its first line that a program wrote it."""
    first = path.read_text(encoding="utf-8").partition("\n")[0].lower()
    return path in PAGE and any(words in first for words in ("generated", "made by tools/", "written by `make"))


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 250 and len(PAGE) > 40


def test_every_package_has_its_arrows() -> None:
    new = sorted({package_of(path) for path in MODULES} - set(MAY_IMPORT))
    assert not new, f"new packages of src/hope: {new}: give them their arrows here and in ARCHITECTURE.md"


def test_imports_point_inward() -> None:
    offenders = {path: wrong for path in MODULES if package_of(path) in MAY_IMPORT and (wrong := wrong_imports(path))}
    assert not offenders, f"these must not import:\n{listed(offenders)}"


def is_prefix_of_allowed(package: str, imported: str) -> bool:
    """`from hope.stages import resample` names hope.stages too, which alone is no breach where a part is allowed."""
    return imported.startswith("hope.") and any(
        allowed.startswith(imported.removeprefix("hope.") + ".") for allowed in MAY_IMPORT[package]
    )


@pytest.mark.parametrize(
    ("package", "imported", "breach"),
    [
        ("domain", "numpy", False),
        ("domain", "scipy.ndimage", True),
        ("domain", "hope.formats.nifti", True),
        ("domain", "hope.contract.stages", True),
        ("contract", "pydantic", False),
        ("contract", "numpy", True),
        ("contract", "hope.ports.platform", True),
        ("jobs", "hope.contract.stages", False),
        ("stages", "hope.domain.grid", False),
        ("stages", "torch", True),
        ("stages", "hope.adapters.brain", True),
        ("synthesis", "hope.stages.resample", True),
        ("synthesis", "hope.stages.report", True),
        ("models", "torch.nn", False),
        ("commands", "hope.adapters.brain", True),
        ("services", "hope.adapters.brain", False),
        ("pipeline", "hope.models.runtime", True),
        ("jobs", "numpy", True),
    ],
)
def test_the_arrow_check_itself_can_fail(package: str, imported: str, breach: bool) -> None:
    assert forbidden(package, imported) is breach


def test_the_checks_of_files_can_fail(tmp_path: Path) -> None:
    reaching = SOURCE / "domain" / "grid.py"
    tree = ast.parse("import scipy\ndef far():\n" + "    x = 1\n" * LONGEST_FUNCTION)
    assert [name for name in imports_of(tree) if forbidden(package_of(reaching), name)] == ["scipy"]
    long = tmp_path / "long.py"
    long.write_text(ast.unparse(tree), encoding="utf-8")
    assert long_functions(long) == [f"far has {LONGEST_FUNCTION + 1} lines"]


def test_modules_stay_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (*MODULES, *PAGE)}
    offenders = {path: f"{n} lines" for path, n in lengths.items() if n > LONGEST_MODULE and not is_generated(path)}
    assert not offenders, f"recut these, at most {LONGEST_MODULE} lines:\n{listed(offenders)}"


def test_functions_stay_short() -> None:
    offenders = {path: found for path in MODULES if (found := long_functions(path))}
    assert not offenders, f"recut these, at most {LONGEST_FUNCTION} lines:\n{listed(offenders)}"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["segment", "--help"], ["synth", "--help"], ["train", "--help"]]
)
def test_help_starts_without_heavy_libraries(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from hope.cli import main\n"
        f"try:\n    main({arguments!r}, prog_name='hope')\n"
        "except SystemExit as stop:\n    assert stop.code in (0, None), stop.code\n"
        f"loaded = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
