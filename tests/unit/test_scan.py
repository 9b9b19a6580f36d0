"""`make scan`: what the scanner may not say is answered in the documentation, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "deploy" / "checkov.yaml"
PAGE = REPOSITORY / "docs" / "reference" / "security.md"


def test_every_check_that_is_left_out_is_answered() -> None:
    left_out = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["skip-check"]
    section = PAGE.read_text(encoding="utf-8").partition("## What scanners say")[2].partition("\n## ")[0]
    answered = re.findall(r"`(CKV\w+)`", section)
    assert sorted(left_out) == sorted(answered)


def test_the_scanner_reads_all_that_deploys() -> None:
    given = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    assert given["directory"] == ["."]
    assert set(given["framework"]) == {"dockerfile", "kubernetes", "terraform"}
    assert not {"deploy", "containers"} & set(given["skip-path"])
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for dockerfile in ("containers/Dockerfile", "containers/sagemaker/Dockerfile"):
        assert re.search(rf"hadolint .*{re.escape(dockerfile)}", makefile)
    assert f"--config-file {CONFIG.relative_to(REPOSITORY)}" in makefile
