"""hope infer as MedPerf runs it: nobody's user, no network, nothing to write to but output and scratch."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.earlier_output import WORK, edited, refused

from hope.formats.nifti import read_labels, read_scan, write_scan
from hope.testing.head import atlas_scan

CONFINED = """
set -e
mount --bind "$OUT" "$OUT"
mount --bind "$TMPDIR" "$TMPDIR"
for place in / "$DATA" "$HOME"; do
    if [ "$place" != / ]; then mount --bind "$place" "$place"; fi
    mount -o remount,bind,ro "$place"
done
exec unshare --user --map-user=12345 --map-group=12345 -- "$@"
"""
"""Root of a mount namespace of its own -> a user without rights, to whom everything but OUT and TMPDIR is read-only."""

PROBE = """
import os, pwd, socket
assert os.getuid() == 12345 and not any(entry.pw_uid == 12345 for entry in pwd.getpwall())
for place in ("DATA", "HOME"):
    try:
        open(os.environ[place] + "/x", "w")
    except OSError:
        continue
    raise SystemExit(place + " can be written")
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as error:
    raise SystemExit(0 if error.errno == 101 else f"there is a network: {error}")
raise SystemExit("there is a network")
"""


def confined(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    """Run a program so."""
    command = ["unshare", "--mount", "--net", "--", "sh", "-c", CONFINED, "sh", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)


@pytest.fixture
def places(tmp_path: Path, models_dir: Path) -> dict[str, str]:
    """The environment of a confined run: DATA, OUT, TMPDIR and HOME are empty directories."""
    given = {"PATH": "/usr/bin:/bin", "HOPE_MODELS_DIR": str(models_dir), "OMP_NUM_THREADS": "1"}
    for name in ("DATA", "OUT", "TMPDIR", "HOME"):
        (tmp_path / name.lower()).mkdir()
        given[name] = str(tmp_path / name.lower())
    return given


@pytest.mark.slow
def test_it_runs_as_nobody_without_a_network_on_a_read_only_system(
    places: dict[str, str], preprocessed_case_dir: Path
) -> None:
    """One case of two is broken: the other one's mask is there, and the status says that some failed."""
    if not shutil.which("unshare") or confined(places, "true").returncode:
        pytest.skip("no namespaces on this machine: `hope infer` was not tried without network and rights")
    probe = confined(places, sys.executable, "-c", PROBE)
    assert probe.returncode == 0, probe.stderr

    data, out = Path(places["DATA"]), Path(places["OUT"])
    shutil.copytree(preprocessed_case_dir, data / preprocessed_case_dir.name)
    broken = data / "BraTS-PED-00009-000"
    broken.mkdir()
    for sequence in ("t1n", "t1c", "t2w", "t2f"):
        (broken / f"{broken.name}-{sequence}.nii.gz").write_bytes(b"no scan")

    hope = Path(sys.executable).with_name("hope")
    done = confined(places, hope, "infer", "--data_path", data, "--output_path", out, "--model", "tiny")
    assert done.returncode == 3, done.stderr
    assert "BraTS-PED-00009-000 failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in out.iterdir()] == [f"{preprocessed_case_dir.name}.nii.gz"]
    mask = read_labels(out / f"{preprocessed_case_dir.name}.nii.gz")
    native, _ = read_scan(preprocessed_case_dir / f"{preprocessed_case_dir.name}-t1c.nii.gz", "t1c")
    assert mask.grid.same_as(native.grid)
    assert list(Path(places["TMPDIR"]).iterdir()) == []


def test_a_mask_of_the_same_scans_is_replaced_and_everything_else_stays(
    preprocessed_case_dir: Path, tmp_path: Path, hope: Callable
) -> None:
    case = preprocessed_case_dir.name
    data, out = tmp_path / "data", tmp_path / "o"
    shutil.copytree(preprocessed_case_dir, data / case)
    mask = out / f"{case}.nii.gz"
    words = ["infer", "--data_path", data, "--output_path", out, "--model", "tiny"]
    out.mkdir()
    mask.write_bytes(WORK)
    refused(words, [mask])
    assert hope(*words, "--replace").status == 0
    assert hope(*words).status == 0, "the same once more"
    assert list(out.iterdir()) == [mask], "nothing lies beside the mask"
    made = mask.read_bytes()
    assert read_labels(mask).data.any()
    mask.write_bytes(edited(mask))
    refused(words, [mask])
    mask.write_bytes(made)
    write_scan(atlas_scan(9), data / case / f"{case}-t2f.nii.gz")
    refused(words, [mask])
    assert "other images as t2f" in hope(*words).err


def test_an_output_that_cannot_be_written_is_said_before_the_work(
    preprocessed_case_dir: Path, tmp_path: Path, hope: Callable
) -> None:
    (tmp_path / "file").write_text("in the way")
    done = hope("infer", "--data_path", preprocessed_case_dir.parent, "--output_path", tmp_path / "file" / "o")
    assert done.status == 2
    assert "cannot write the output directory: a part of its path is a file" in done.err
    assert "intake" not in done.err


def test_no_place_for_temporary_files_is_said_before_the_work(
    preprocessed_case_dir: Path, tmp_path: Path, hope: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_is_usable() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none_is_usable)
    done = hope("infer", "--data_path", preprocessed_case_dir.parent, "--output_path", tmp_path / "o")
    assert done.status == 2
    assert "cannot write temporary files" in done.err
    assert "TMPDIR" in done.err
    assert "intake" not in done.err
