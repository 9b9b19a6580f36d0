"""The short form of benchmarks/platform_upgrade.py: an earlier version is replaced while cases come in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from platform_upgrade import EARLIER, REPOSITORY, campaign

pytestmark = pytest.mark.slow


def test_an_upgrade_under_load_loses_and_doubles_nothing(postgres_url: str, tmp_path: Path) -> None:
    known = ["git", "-C", str(REPOSITORY), "cat-file", "-e", f"{EARLIER}^{{commit}}"]
    if subprocess.run(known, capture_output=True, check=False).returncode:
        pytest.skip("this copy has no history: the earlier version cannot be run")
    result = campaign(tmp_path, EARLIER, pipelines=10, url=postgres_url)
    assert result["states"] == {"done": 10}
    assert result["finished twice"] == 0
