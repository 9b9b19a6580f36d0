"""The rule that every command keeps: output of the same input is replaced, everything else that lies there stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from click.testing import CliRunner

from hope.cli import main

WORK = b"an hour's work"

Words = Sequence[object]


def holds_rule(
    same: Words, other: Words, outputs: Sequence[Path], *, between: Callable[[], object] = lambda: None
) -> None:
    """Hold a command to the rule.

    Args:
        same: a call that works.
        other: the same call on other input.
        outputs: what it writes, as files or directories of files.
        between: makes the input into the other one, where both calls name the same files.
    """
    assert call(same) == (0, ""), "the first time"
    files = [file for path in outputs for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    made = contents(files)
    assert all(made.values())
    assert call(same) == (0, ""), "the same once more"
    assert contents(files).keys() == made.keys()
    for path in files:
        kept = path.read_bytes()
        for strange in (edited(path), WORK):
            path.write_bytes(strange)
            refused(same, files)
        path.write_bytes(kept)
    between()
    refused(other, files)
    status, said = call([*other, "--replace"])
    assert status == 0, said


def refused(words: Words, files: Sequence[Path], fix: str = "choose another") -> None:
    """One sentence that says what to do, and nothing is changed."""
    there = [*files, *(path for folder in {file.parent for file in files} for path in folder.iterdir())]
    before = contents(there)
    status, said = call(words)
    assert status == 2, f"{words}: {said}"
    sentence = said.strip().splitlines()[-1]
    assert sentence.startswith("hope: ") and fix in sentence, said
    assert "Traceback" not in said
    after = [*files, *(path for folder in {file.parent for file in files} for path in folder.iterdir())]
    assert contents(after) == before


def call(words: Words) -> tuple[int, str]:
    """The exit status, and what was said of an error."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stderr if done.exit_code else ""


def contents(files: Sequence[Path]) -> dict[Path, bytes]:
    """Of the files that are there."""
    return {path: path.read_bytes() for path in files if path.is_file()}


def edited(path: Path) -> bytes:
    """What a person might make of a file with another program: it stays a file of its kind."""
    if path.suffix == ".json":
        return json.dumps({**json.loads(path.read_bytes()), "note": "by hand"}).encode()
    if path.name.endswith((".nii", ".nii.gz")):
        image = nib.load(path)
        voxels = np.asanyarray(image.dataobj).copy()
        voxels[0, 0, 0] += 1
        copy = path.with_name(f"copy-{path.name}")
        nib.save(nib.Nifti1Image(voxels, image.affine, image.header), copy)
        content = copy.read_bytes()
        copy.unlink()
        return content
    return path.read_bytes() + b"\n"
