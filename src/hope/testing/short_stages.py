"""Stand-ins for the stages: a moment each, no libraries, the same files by name. For tests of what runs stages.

The environment says how they behave; counters and logs are files, so that they survive the process:

    HOPE_SHORT_SECONDS   how long each takes: ``0.05`` (default), ``noop``, or per stage ``segment:3,postprocess:0.1``
    HOPE_SHORT_LOG       file to which ``start|end STAGE CASE PID`` is appended
    HOPE_SHORT_DIR       where failures are counted; needed for the next two
    HOPE_SHORT_FAIL      ``segment:1`` fails the first try of every case; ``segment:1:input`` as if the input were wrong
    HOPE_SHORT_CRASH     ``segment:1`` ends the process without an answer in the first try of every case
    HOPE_SHORT_STUBBORN  ``1``: burn a core and ignore SIGTERM, as compiled code in a loop does
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hope.contract.outputs import Audience, OutputFile, Role
from hope.contract.report import FORMAT, CaseReport, FileFacts
from hope.contract.stages import STAGES, Stage
from hope.domain.errors import InputError, StageError
from hope.domain.progress import Progress

SEQUENCES = ("t1n", "t1c", "t2w", "t2f")
LABELS = ("ET", "NET", "CC", "ED")

_STEP_SECONDS = 0.05
_SHAPE = (4, 4, 4)
_UINT8, _INT16 = 2, 4
_WEBP = "UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoEAAQAAUAmJaQAA3AA/vBPwAA="  # 4 x 4 grey pixels

Artifacts = list[dict[str, Any]]


def run(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do one stage or task for show; see `hope.jobs.child` for the job and the answer.

    Raises:
        StageError: if told to fail, or if a file that an earlier stage leaves behind is not there.
        InputError: if told to fail so, or if the job is unknown.
    """
    name, case = str(job["do"]), str(job.get("case", ""))
    if name == "scan":
        from hope.jobs.scan_task import scan  # an upload is read as it always is; nothing stands in for that

        return scan(job)
    if name not in _BODIES:
        raise InputError("there is no such stage or task", got=name)
    _note("start", name, case)
    _misbehave(name, case)
    _take_time(name, progress)
    done = _BODIES[name](job)
    _note("end", name, case)
    return done


def _seconds(name: str) -> float:
    text = os.environ.get("HOPE_SHORT_SECONDS") or "0.05"
    for part in text.split(","):
        stage, _, value = part.rpartition(":")
        if stage in ("", name):
            return 0.0 if value == "noop" else float(value)
    return 0.05


def _take_time(name: str, progress: Progress) -> None:
    stubborn = os.environ.get("HOPE_SHORT_STUBBORN") == "1"
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    seconds = _seconds(name)
    begin = time.monotonic()
    progress(f"{name}: begin", 0.0)
    while (gone := time.monotonic() - begin) < seconds:
        progress(f"{name}: working", gone / seconds)
        pause = min(_STEP_SECONDS, seconds - gone)
        if stubborn:
            until = time.monotonic() + pause
            while time.monotonic() < until:
                pass
        else:
            time.sleep(pause)
    progress(f"{name}: done", 1.0)


def _note(what: str, name: str, case: str) -> None:
    if log := os.environ.get("HOPE_SHORT_LOG"):
        with Path(log).open("ab", buffering=0) as stream:
            stream.write(f"{what} {name} {case} {os.getpid()}\n".encode())


def _misbehave(name: str, case: str) -> None:
    kind = _due("HOPE_SHORT_FAIL", name, case)
    if kind == "input":
        raise InputError(f"{name} was told to find the input wrong", fix="nothing: this is a test")
    if kind is not None:
        raise StageError(f"{name} was told to fail")
    if _due("HOPE_SHORT_CRASH", name, case) is not None:
        os.kill(os.getpid(), signal.SIGKILL)


def _due(variable: str, name: str, case: str) -> str | None:
    """Whether this try of this case has to go wrong, and how; each failure leaves a file, so that they are counted."""
    for part in filter(None, os.environ.get(variable, "").split(",")):
        stage, _, rest = part.partition(":")
        times, _, kind = rest.partition(":")
        if stage != name:
            continue
        for number in range(int(times or 1)):
            try:
                (Path(os.environ["HOPE_SHORT_DIR"]) / f"{variable}-{stage}-{case}-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return kind
    return None


def _stage(job: Mapping[str, Any]) -> dict[str, Any]:
    """Check that what the stage reads is there, and leave a file of each role that later stages read."""
    stage = Stage(str(job["do"]))
    earlier = STAGES[: STAGES.index(stage)]
    for before in earlier:
        for role in set(before.spec.writes) & set(stage.spec.reads):
            path = Path(job["in"]) / f"{before}-{role}.json"
            if not path.is_file() or json.loads(path.read_bytes())["case"] != job["case"]:
                raise StageError(f"{stage} misses what {before} left behind")
    facts = {"case": job["case"], "stage": str(stage), "seed": _seed(job["case"], str(stage)).hex()}
    between = [role for role in stage.spec.writes if role.audience is Audience.STAGES]
    artifacts = [_leave(job, OutputFile(role), json.dumps(facts).encode(), f"{stage}-{role}.json") for role in between]
    result = None
    if stage is STAGES[-1]:
        report = _report(job)
        written = _write_results(job, report)
        artifacts += written
        result = report.for_page()
    return {"artifacts": artifacts, "result": result}


def _write_results(job: Mapping[str, Any], report: CaseReport) -> Artifacts:
    """One file of each role that is listed, sequence and label; the report of them all comes last."""
    contents = _contents(str(job["case"]))
    done = []
    for role in STAGES[-1].spec.writes:
        if role is Role.FACTS:
            continue
        if role is Role.HARMONIZED_VIEW or (role is Role.UNCERTAINTY and not _options(job).get("uncertainty_map")):
            continue
        for space, place in role.spec.places.items():
            sequences = SEQUENCES if "{sequence}" in place.file else ("",)
            labels = LABELS if "{label}" in place.file else ("",)
            for sequence in sequences:
                for label in labels:
                    done.append(_leave(job, OutputFile(role, sequence, label, space), contents(role, sequence)))
    listed = report.with_sections(files=[FileFacts.model_validate(entry) for entry in done])
    return [*done, _leave(job, OutputFile.of(Role.FACTS), listed.text().encode())]


def _contents(case: str) -> Callable[[Role, str], bytes]:
    """What a file of a role holds; images are small, and differ by case and sequence."""
    mask = _nifti(bytes(byte % 5 for byte in _seed(case, "mask") * 2), _UINT8)
    table = "part,ml,low_ml,high_ml\n" + "".join(f"{key},1.0,0.5,1.5\n" for key in (*LABELS, "TC", "WT"))
    known = {
        Role.SEGMENTATION: mask,
        Role.MODEL_SEGMENTATION: mask,
        Role.MESH: _mesh(),
        Role.PICTURE: _png(),
        Role.REPORT: b"<!doctype html><title>report</title><p>A test's report.</p>",
        Role.VOLUMES: table.encode(),
    }
    return lambda role, sequence: known[role] if role in known else _nifti(_seed(case, sequence) * 4)


def _options(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(job.get("choice") or {})


def _report(job: Mapping[str, Any]) -> CaseReport:
    volume = {"ml": 1.0, "low_ml": 0.5, "high_ml": 1.5}
    cleaned = bool(_options(job).get("postprocess", True))
    values = {
        "format": FORMAT,
        "case_id": job["case"],
        "disclaimer": "Made by a test's stand-in; no result.",
        "input": {"missing": [], "reference": "t1c", "treated_as": "raw", "head_state": "full"},
        "harmonizer": {"method": "none", "note": "a test's stand-in"},
        "qc": [],
        "volumes_ml": {key: dict(volume) for key in (*LABELS, "TC", "WT")},
        "tumour_found": True,
        "interval_method": "none: the stages are short",
        "postprocess": {"rules": "a test's rules" if cleaned else "none", "changed": False},
        "model": {"id": "short", "version": "1"},
        "stages": [{"name": str(stage), "seconds": 0.0} for stage in STAGES],
    }
    return CaseReport.stored(values)


def _series(job: Mapping[str, Any]) -> dict[str, Any]:
    series, artifacts = [], []
    for key in SEQUENCES:
        voxels = gzip.decompress(_nifti(_seed("sample", key) * 4))
        (Path(job["out"]) / f"{key}.nii").write_bytes(voxels)
        artifacts.append({"name": f"{key}.nii", "kind": "", "public": False})
        series.append(
            {
                "key": key,
                "sequence": key,
                "file": f"{key}.nii",
                "shape": list(_SHAPE),
                "spacing_mm": [1.0, 1.0, 1.0],
                "orientation": "RAS",
                "warnings": [],
                "confidence": 1.0,
                "reason": "made by a test's stand-in",
            }
        )
    return {"artifacts": artifacts, "result": {"series": series, "problem": ""}}


def _segmentation(job: Mapping[str, Any]) -> dict[str, Any]:
    sent = next((p for p in sorted(Path(job["in"]).glob("mask.nii*")) if p.stat().st_size), None)
    if sent is None:
        raise InputError("the segmentation is an empty file", expected="a NIfTI label volume")
    raw = sent.read_bytes()
    mask = raw if raw[:2] == b"\x1f\x8b" else gzip.compress(raw, 1, mtime=0)
    volumes = {key: {"ml": 1.0} for key in (*LABELS, "TC", "WT")}
    return {
        "artifacts": [_leave(job, OutputFile.of(Role.CORRECTED_SEGMENTATION), mask, "mask.nii.gz")],
        "result": {"volumes_ml": volumes, "warnings": []},
    }


def _checks(job: Mapping[str, Any]) -> dict[str, Any]:
    pictures = {path.stem: _WEBP for path in sorted(Path(job["in"]).glob("*.nii"))}
    return {"artifacts": [], "result": {"problem": "", "remarks": [], "thumbnails": pictures}}


def _studies(_job: Mapping[str, Any]) -> dict[str, Any]:
    study = {"uid": "1.2.840.99.7", "date": "20260301", "series": 4, "images": 96}
    return {"artifacts": [], "result": {"studies": [study]}}


def _pulled(job: Mapping[str, Any]) -> dict[str, Any]:
    """As of an archive; nothing said whether contrast was given."""
    done = _series(job)
    done["result"]["problem"] = "nothing says whether contrast was given: choose below which is which"
    return done


def _objects(job: Mapping[str, Any]) -> dict[str, Any]:
    with zipfile.ZipFile(Path(job["out"]) / "objects.zip", "w") as made:
        made.writestr(f"{job['case']}-sr.dcm", b"a stand-in\n")
    return {"artifacts": [], "result": {"objects": 1}}


def _seed(case: str, what: str) -> bytes:
    return hashlib.sha256(f"{case}/{what}".encode()).digest()


def _leave(job: Mapping[str, Any], output: OutputFile, content: bytes, name: str = "") -> dict[str, Any]:
    name = name or output.name(str(job["case"]))
    (Path(job["out"]) / name).write_bytes(content)
    return output.entry(name)


def _nifti(voxels: bytes, datatype: int = _INT16) -> bytes:
    """A gzipped NIfTI-1 file of 4 x 4 x 4 voxels of 1 mm, listed RAS."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *_SHAPE, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, datatype, 8 if datatype == _UINT8 else 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    header[123] = 2  # millimetres
    struct.pack_into("<2h", header, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *(float(row == column) for column in range(3)), 0)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + voxels, 1, mtime=0)


def _mesh() -> bytes:
    """An MZ3 file of one tetrahedron."""
    faces = struct.pack("<12i", 0, 2, 1, 0, 1, 3, 0, 3, 2, 1, 2, 3)
    points = struct.pack("<12f", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1)
    return struct.pack("<2H3I", 0x5A4D, 3, 4, 4, 0) + faces + points


def _png() -> bytes:
    """A PNG of one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">2I5B", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")


def _comparison(job: Mapping[str, Any]) -> dict[str, Any]:
    with zipfile.ZipFile(Path(job["out"]) / "comparison.zip", "w") as made:
        made.writestr("comparison.json", b"{}\n")
    return {"artifacts": [], "result": {}}


_BODIES: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    **dict.fromkeys(map(str, STAGES), _stage),
    "dicom": _series,
    "sample": _series,
    "checks": _checks,
    "segmentation": _segmentation,
    "dicom-objects": _objects,
    "comparison": _comparison,
    "archive-find": _studies,
    "archive-pull": _pulled,
}
