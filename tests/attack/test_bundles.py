"""Bundles and checkpoints of strangers: no crash, no minutes, no absurd number, no file of this machine."""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.attack.conftest import at_most

from hope.domain.errors import BundleError, HopeError, InputError
from hope.models.bundle import BUNDLED, MANIFEST, read_bundle, write_manifest
from hope.models.importers.pickles import load
from hope.models.importers.torch_files import TorchFile
from hope.models.networks import build_network
from hope.models.registry import ModelRegistry
from hope.models.tensor_files import check_tensor_file, load_tensors

PRIME = 2**61 - 1


def _nested(depth: int, then: bytes) -> bytes:
    """A tuple within a tuple, ``depth`` times."""
    return b"\x80\x04)" + b"\x85" * depth + then + b"."


def _tuple_of(*values: int) -> bytes:
    return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"


def _colliding_numbers(count: int) -> bytes:
    return pickle.dumps({n * PRIME: 1 for n in range(1, count)}, 4)


def _colliding_tuples(count: int) -> bytes:
    entries = b"".join(_tuple_of(n, n) + b"K\x01" for n in range(count))
    return b"\x80\x04}(" + entries + b"u."


HOSTILE: dict[str, bytes] = {
    "900,000 nested tuples": _nested(900_000, b""),
    "nested tuples as a key": b"\x80\x04}" + b")" + b"\x85" * 900_000 + b"K\x01s.",
    "nested tuples in a set": b"\x80\x04\x8f(" + b")" + b"\x85" * 900_000 + b"\x90.",
    "nested tuples by back references": b"\x80\x04)\x94" + b"h\x00h\x00\x86\x94" * 1 + b"\x85" * 200 + b".",
    "colliding tuples": _colliding_tuples(20_000),
    "an enormous number": b"\x80\x04\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20 + b".",
    "two million instructions": b"\x80\x04" + b"N0" * 1_000_000 + b"N.",
    "an empty stack": b"\x80\x04\x85.",
    "a mark that is missing": b"\x80\x04t.",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_pickle_is_refused_at_once(name: str) -> None:
    with at_most(6), pytest.raises(BundleError):
        load(io.BytesIO(HOSTILE[name]), "the file")


def test_colliding_numbers_are_refused_at_once() -> None:
    raw = _colliding_numbers(5_000)
    with at_most(1), pytest.raises(BundleError, match="unusual keys"):
        load(io.BytesIO(raw), "the file")


def test_honest_keys_and_numbers_are_read() -> None:
    value = {"a": (1, (2.5, (None, True))), 3: {(1, 2): b"x"}, 2**100: [], "magic": 0x1950A86A20F9469CFC6C}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        if protocol != 3:  # bytes of older protocols ask for a name; that is tested elsewhere
            assert load(io.BytesIO(pickle.dumps(value, protocol)), "the file")["magic"] == value["magic"]


@pytest.mark.parametrize("names", [1_500_000, 30_000])
def test_a_header_of_very_many_names(tmp_path: Path, names: int) -> None:
    entries = ",".join(f'"w{n}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for n in range(names))
    header = f"{{{entries}}}".encode()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with at_most(1), pytest.raises(BundleError, match=r"header of|far more tensors"):
        check_tensor_file(path)


@pytest.mark.parametrize("raw", [b"", b"\xff" * 8, struct.pack("<Q", 2**40), struct.pack("<Q", 8) + b"[" * 8])
def test_a_file_of_tensors_that_is_none(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(raw)
    with pytest.raises(BundleError):
        check_tensor_file(path)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    save_file({"w": torch.tensor([1.0, math.nan])}, tmp_path / "weights.safetensors")
    with pytest.raises(BundleError, match="not finite"):
        load_tensors(tmp_path / "weights.safetensors")


def test_a_checkpoint_of_very_many_entries(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *([0] * 16))
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(entry) * 300_000, 0, 0)
    path.write_bytes(entry * 300_000 + end)
    with at_most(1), pytest.raises(BundleError, match="far more entries"):
        TorchFile(path, "the file")
    with at_most(1), pytest.raises(InputError, match="too many files"):
        ModelRegistry(tmp_path / "models").add(path.rename(tmp_path / "a.zip"))


ARGUMENTS: dict[str, dict[str, Any]] = {
    "a million blocks": {"blocks": [10**6, 1], "widths": [8, 8], "decoder_blocks": [1]},
    "a thousand stages": {"blocks": [1] * 1000, "widths": [8] * 1000, "decoder_blocks": [1] * 999},
    "wide": {"blocks": [1, 1], "widths": [8, 10**7], "decoder_blocks": [1]},
    "nan": {"blocks": [1, math.nan], "widths": [8, 8], "decoder_blocks": [1]},
    "many": {"blocks": [0] * 10**6, "widths": [8, 8], "decoder_blocks": [1]},
    "negative": {"blocks": [1, -(10**9)], "widths": [8, 8], "decoder_blocks": [1]},
}


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_networks_that_no_machine_could_hold(name: str) -> None:
    with at_most(1), pytest.raises(BundleError):
        build_network("UNet", {"channels": 4, "classes": 5, **ARGUMENTS[name]})


def _bundle(folder: Path, **changes: Any) -> Path:
    manifest = json.loads((BUNDLED / "starter" / MANIFEST).read_bytes())
    folder.mkdir()
    for name in manifest["files"]:
        (folder / name).write_bytes((BUNDLED / "starter" / name).read_bytes())
    manifest |= {"id": "mine", **changes}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def _input(**changes: Any) -> dict[str, Any]:
    return {**json.loads((BUNDLED / "starter" / MANIFEST).read_bytes())["input"], **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"patch": [10**6, 16, 16]},
        {"patch": [1024, 1024, 1024]},
        {"patch": [0, 16, 16]},
        {"patch": [math.nan, 16, 16]},
        {"patch": [math.inf, 16, 16]},
        {"input": _input(spacing_mm=1e30)},
        {"input": _input(spacing_mm=math.nan)},
        {"input": _input(spacing_mm=math.inf)},
        {"input": _input(spacing_mm=1e-9)},
        {"files": {f"f{n}": "0" for n in range(5000)}},
    ],
)
def test_numbers_and_lists_of_a_bundle(tmp_path: Path, changes: dict[str, Any]) -> None:
    with at_most(1), pytest.raises(BundleError):
        read_bundle(_bundle(tmp_path / "bundle", **changes))


def test_a_manifest_of_100_megabytes(tmp_path: Path) -> None:
    folder = _bundle(tmp_path / "bundle")
    (folder / MANIFEST).write_bytes(b"[" * 100 * 2**20)
    with at_most(1), pytest.raises(BundleError, match="far too large"):
        read_bundle(folder)


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    folder = _bundle(tmp_path / "bundle")
    secret = (tmp_path / "secret").resolve()
    secret.write_text("a file of this machine")
    (folder / "familiarity.json").unlink(missing_ok=True)
    (folder / "notes.txt").symlink_to(secret)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    write_manifest(folder, {key: value for key, value in manifest.items() if key != "files"})
    registry = ModelRegistry(tmp_path / "models")
    with pytest.raises(BundleError, match="symbolic link"):
        registry.add(folder)
    assert not any((tmp_path / "models").rglob("*"))


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("bundle/model.json")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(HopeError, match="symbolic link"):
        ModelRegistry(tmp_path / "models").add(tmp_path / "a.zip")
