"""A result that somebody else handed over: its case's name is no path."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hope.cli import main
from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.ids import check_case_name
from hope.export.stored_result import read_result
from hope.testing.stored_results import labelled, write_stored_result

GRID = Grid((14, 16, 13), np.diag([-1.0, 2.0, 5.0, 1.0]))


def renamed(folder: Path, case_id: str) -> Path:
    """A result whose result.json names another case."""
    write_stored_result(folder, labelled(GRID))
    facts = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**facts, "case_id": case_id}))
    return folder


@pytest.mark.parametrize(
    "case_id",
    [
        "../../evil",
        "/abs/evil",
        "a/b",
        "a\\b",
        "..",
        ".hidden",
        "",
        "-o",
        "a\n",
        "a\0b",
        "Anna Mustermann",
        "c" * 101,
        "a.",
    ],
)
def test_a_case_name_that_is_a_path_is_refused_by_every_reader(case_id: str, tmp_path: Path) -> None:
    result = renamed(tmp_path / "in" / "deep" / "result", case_id)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(InputError, match="no name of a case"):
        read_result(result)
    for arguments in (
        ["export", str(result), "--slicer", "--itksnap", "-o", str(tmp_path / "in" / "out")],
        ["bids", "export", str(result), "-o", str(tmp_path / "in" / "out")],
        ["cohort", "table", str(result), "-o", str(tmp_path / "in" / "out.csv")],
        ["compare", str(result), str(result), "-o", str(tmp_path / "in" / "out")],
    ):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 2, done.output
        assert "no name of a case" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert len(case_id) < 5 or case_id not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "case_id", ["case-0a1b", "case-unreadable", "sub-01_ses-02", "BraTS-PED-00001-000", "TCGA-02-0047", "a", "case-1-2"]
)
def test_names_that_intake_gives_are_taken(case_id: str) -> None:
    check_case_name(case_id)
