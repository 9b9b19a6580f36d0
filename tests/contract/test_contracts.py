"""The contracts are for tests: nothing of the running software may come to need what they need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import hope

SOURCE = Path(str(hope.__file__)).parent


def test_only_contracts_import_contracts_and_test_libraries() -> None:
    for path in SOURCE.rglob("*.py"):
        if SOURCE / "testing" / "contracts" in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert not name.startswith(("pytest", "hypothesis", "hope.testing.contracts")), path


def test_the_store_is_opened_without_alembic_and_heavy_libraries(tmp_path: Path) -> None:
    """A start that finds its schema does not load what makes it."""
    program = (
        "import sys\n"
        "from hope.adapters.cases_sql import SqlCaseStore\n"
        "store = SqlCaseStore(sys.argv[1]); store.check(); store.close()\n"
        "print(sorted({'alembic', 'torch', 'numpy.f2py', 'boto3', 'pytest'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path / 'x.sqlite'}"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first.strip() == "['alembic']"
    assert second.strip() == "[]"
