"""SIGTERM or SIGHUP in the middle of work: nothing half-made stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.volume import Volume
from hope.formats.nifti import read_scan, write_labels
from hope.stages.intake.intake import hash_volume
from hope.stages.report.made_from import MadeFrom, mask_facts
from hope.testing.fleet import Fleet
from hope.testing.live_files import files_below


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP], ids=["terminated", "terminal closed"])
def test_a_terminated_command_leaves_nothing(ending: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = (
        "import sys, time; import hope.synthesis.raw as raw\n"
        "import hope.stages.report.write_results as written\n"
        "from contextlib import contextmanager\n"
        "whole = written.result_folder\n"
        "@contextmanager\n"
        "def slow(*a, **k):\n"
        "    with whole(*a, **k) as folder:\n"
        "        print('inside', flush=True); time.sleep(60); yield folder\n"
        "written.result_folder = slow\n"
        "raw.preprocessed_case = lambda *a: ({}, None, ())\n"
        "from hope.cli import main; main()"
    )
    # Whoever runs the tests may have SIGHUP ignored, which a program keeps.
    program = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n{program}"
    call = [sys.executable, "-c", program, "synth", "1", "-o", str(out), "--preprocessed"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "inside"
    assert list(out.iterdir()), "the private folder should exist now"
    started = time.monotonic()
    process.send_signal(ending)
    process.wait(timeout=20)
    assert process.returncode == 128 + ending
    assert time.monotonic() - started < 10
    assert not out.exists()


def test_a_killed_command_leaves_the_earlier_mask(
    models_dir: Path, preprocessed_case_dir: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    (data / preprocessed_case_dir.name).symlink_to(preprocessed_case_dir)
    mask = out / f"{preprocessed_case_dir.name}.nii.gz"
    out.mkdir()
    scans = {s: read_scan(preprocessed_case_dir / f"{preprocessed_case_dir.name}-{s}.nii.gz", s)[0] for s in SEQUENCES}
    made_from = MadeFrom.scans({sequence: hash_volume(scan) for sequence, scan in scans.items()})
    grid = scans[MRSequence.T1C].grid
    write_labels(Volume(np.ones(grid.shape, np.uint8), grid), mask, mask_facts(made_from))
    before = mask.read_bytes()
    program = (
        "import sys, time; import hope.formats.nifti as nifti; import hope.stages.report.mask_files as masks\n"
        "whole = nifti.in_file_order\n"
        "def slow(*a):\n"
        "    print('\\ninside', flush=True); time.sleep(60); return whole(*a)\n"
        "written = masks.write_labels\n"
        "def write(*a):\n"
        "    nifti.in_file_order = slow; written(*a)\n"
        "masks.write_labels = write\n"
        "from hope.cli import main; main()"
    )
    call = [sys.executable, "-c", program, "infer", "--data_path", data, "--output_path", out, "--model", "tiny"]
    environment = os.environ | {"HOPE_MODELS_DIR": str(models_dir), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout is not None
    assert any(line.strip() == "inside" for line in process.stdout), "it is writing the mask"
    process.kill()
    process.communicate(timeout=60)
    assert mask.read_bytes() == before
    assert [path for path in out.iterdir() if not path.name.startswith(".")] == [mask]


def test_a_terminated_batch_leaves_whole_results_alone(
    models_dir: Path, preprocessed_case_dir: Path, tmp_path: Path
) -> None:
    batch, out = tmp_path / "batch", tmp_path / "out"
    batch.mkdir()
    names = [f"BraTS-PED-0000{n}-000" for n in range(4)]
    for name in names:
        (batch / name).mkdir()
        for scan in preprocessed_case_dir.iterdir():
            (batch / name / scan.name.replace(preprocessed_case_dir.name, name)).symlink_to(scan)
    program = (
        "import time; import hope.pipeline as pipeline; from hope.commands import batch_overlap\n"
        "batch_overlap.has_spare_processor = lambda: True\n"
        "whole, seen = pipeline.segment_case, []\n"
        "def slow(*a):\n"
        "    seen.append(1)\n"
        "    if len(seen) == 2:\n"
        "        print('\\ninside', flush=True); time.sleep(60)\n"
        "    return whole(*a)\n"
        "pipeline.segment_case = slow\n"
        "from hope.cli import main; main()"
    )
    call = [sys.executable, "-c", program, "segment", batch, "-o", out, "--model", "tiny", "--device", "cpu"]
    environment = os.environ | {"HOPE_MODELS_DIR": str(models_dir), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=tmp_path
    )
    assert process.stdout is not None
    assert any(line.strip() == "inside" for line in process.stdout)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - started < 30
    assert {path.name for path in tmp_path.iterdir()} <= {"batch", "out"}
    assert not out.exists() or [path.name for path in out.iterdir()] == names[:1]
    if out.exists():
        assert (out / names[0] / "result.json").is_file()


def test_an_upload_that_the_end_cuts_off_is_told_to_come_again(tmp_path: Path) -> None:
    """SIGTERM while a body trickles in: 503 with Retry-After, no traceback, nothing stored."""
    fleet = Fleet(tmp_path, {})
    try:
        process = fleet.start("up")
        fleet.wait_ready()
        client = fleet.client()
        case = client.new_case({})
        with socket.create_connection(("127.0.0.1", fleet.port), timeout=30) as connection:
            connection.sendall(
                f"PUT /api/cases/{case}/series/t1c HTTP/1.1\r\nHost: 127.0.0.1:{fleet.port}\r\n"
                f"Authorization: Bearer {client.token}\r\nContent-Length: 100000\r\n\r\n".encode()
                + bytes(50_000)
            )
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            # Header and body may come apart; the answer says that the connection is closed after it.
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 503 "), answer
        assert b"retry-after: 5" in answer.lower() and b"the server is stopping" in answer
        process.wait(timeout=20)
        assert "Traceback" not in fleet.logs() and "Exception in ASGI" not in fleet.logs(), fleet.logs()
        assert files_below(tmp_path / "data" / "blobs") == []
    finally:
        fleet.stop()
