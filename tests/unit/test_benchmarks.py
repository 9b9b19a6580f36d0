"""Benchmarks run by hand, so nothing else notices when a name that they import is gone."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
OWN = {path.stem: path for path in SCRIPTS}


def names_of(path: Path) -> set[str]:
    """What a script defines or imports at its top level."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of what is imported from the package or from another benchmark, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and (node.module in OWN or node.module.startswith("hope")):
            yield from ((node.module, alias.name) for alias in node.names)


def gone(path: Path) -> list[str]:
    """Names that a script imports and that are not there."""
    missing = []
    for module, name in imports(path):
        if module in OWN:
            there = name in names_of(OWN[module])
        else:
            package = importlib.import_module(module)
            inside = hasattr(package, "__path__") and importlib.util.find_spec(f"{module}.{name}") is not None
            there = hasattr(package, name) or inside
        if not there:
            missing.append(f"{module}.{name}")
    return missing


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_is_there(path: Path) -> None:
    assert gone(path) == []


def test_a_name_that_is_gone_is_noticed(tmp_path: Path) -> None:
    script = tmp_path / "old.py"
    script.write_text("from starter import answer, predict\nfrom hope.domain.grid import Grid, Gird\n")
    assert gone(script) == ["starter.answer", "hope.domain.grid.Gird"]
