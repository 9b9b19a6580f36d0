"""hope harmonize: what it refuses before it looks at a single voxel of the case."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hope.cli import main
from hope.domain.sequence import MRSequence
from hope.domain.style import SequenceStyle, Style
from hope.formats.nifti import write_scan
from hope.testing.head import head_scan


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--learn-style", "DIR", "CASE"], "learns and does nothing else"),
        (["--learn-style", "DIR", "--method", "none"], "learns and does nothing else"),
        (["CASE", "--target", "bad.json"], "the style file is damaged"),
        (["CASE", "--target", "far.json"], "learnt with is not installed.*begins with 00ff.*--method histogram"),
        (["CASE", "--target", "none.json"], "the style cannot be read"),
        (["CASE", "--target", "DIR"], "no scan was found|holds no"),
        (["CASE", "--method", "magic"], "magic"),
        (["CASE", "--method", "histogram", "--model", "mine"], "histogram runs no model"),
        (["CASE", "--method", "none", "--model", "mine"], "none runs no model"),
        (["CASE", "--model", "nobody"], "nobody"),
        (["CASE", "--model", "starter"], "starter is a segmenter"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "bad.json").write_text("{")
    entry = SequenceStyle((1.0, 50.0, 99.0), (0.5, 1.0, 2.0), (0.0,))
    (tmp_path / "far.json").write_text(Style("far", {MRSequence.T1C: entry}, "00ff" * 16).to_json())
    (tmp_path / "DIR").mkdir()
    (tmp_path / "CASE").mkdir()
    write_scan(head_scan(1), tmp_path / "CASE" / "BraTS-PED-00001-000-t1c.nii.gz")
    given = [str(tmp_path / a) if a in ("DIR", "CASE", "bad.json", "none.json", "far.json") else a for a in arguments]
    done = CliRunner().invoke(main, ["harmonize", *given, "-o", str(tmp_path / "out")])
    assert done.exit_code == 2, done.output
    assert re.search(said, done.output), done.output
    assert not (tmp_path / "out").exists()
