"""Reading pickles without running them: honest files come out whole, hostile ones are refused and run nothing."""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import importlib
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import checkpoints

from hope.domain.errors import BundleError, HopeError
from hope.models.importers.clusters import read_clusters
from hope.models.importers.mednext_v1 import read_mednext
from hope.models.importers.nnunet_v2 import read_nnunet
from hope.models.importers.pickle_stubs import Array, PickleStub
from hope.models.importers.pickles import MAX_OPERATIONS, load, plain, walk
from hope.models.importers.swinunetr_pt import read_swinunetr
from hope.models.importers.torch_files import TorchFile

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Evil:
    """Unpickled as usual, it calls ``function``."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def read(raw: bytes) -> Any:
    return load(io.BytesIO(raw), "the file")


def evils(mark: Path) -> dict[str, tuple[Evil, str]]:
    """Payloads that would make ``mark`` if they were run, with the name that the refusal must give."""
    text = f"open({str(mark)!r}, 'w').close()"
    return {
        "system": (Evil(os.system, f"touch {mark}"), "posix.system"),
        "eval": (Evil(eval, text), "builtins.eval"),
        "exec": (Evil(exec, text), "builtins.exec"),
        "open": (Evil(open, str(mark), "w"), "io.open"),
        "getattr": (Evil(getattr, "", "upper"), "builtins.getattr"),
        "partial": (Evil(functools.partial, os.system, f"touch {mark}"), "functools.partial"),
        "import": (Evil(importlib.import_module, "antigravity"), "importlib.import_module"),
        "numpy": (Evil(np.load, str(mark)), "numpy.load"),
        "torch": (Evil(torch.hub.load, "x", "y"), "torch.hub.load"),
        "torch load": (Evil(torch.load, str(mark)), "torch.serialization.load"),
    }


EVILS = list(evils(Path("x")))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", EVILS)
def test_a_hostile_pickle_is_refused_by_name_and_runs_nothing(kind: str, protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil, name = evils(mark)[kind]
    with pytest.raises(BundleError) as caught:
        read(pickle.dumps({"a": [1, evil]}, protocol))
    # Older protocols write Python 2's names.
    asked = {name, name.replace("builtins", "__builtin__").replace("io.open", "__builtin__.open")}
    assert any(repr(n) in str(caught.value) for n in asked)
    assert not mark.exists()


def test_the_payloads_would_run_in_an_ordinary_unpickler(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    pickle.loads(pickle.dumps(evils(mark)["system"][0]))  # noqa: S301
    assert mark.exists()


@pytest.mark.parametrize("place", [".model", ".model.pkl", ".pth", ".pt", "legacy .model", "legacy .pt", "cluster"])
def test_payloads_hidden_in_every_kind_of_file(place: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil = Evil(os.system, f"touch {mark}")
    modern = not place.startswith("legacy")

    def save(content: Any, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path, _use_new_zipfile_serialization=modern)

    if place.endswith(".model") or place == ".model.pkl":
        folder = checkpoints.make_mednext_folder(tmp_path / "m", (0,))
        model = folder / "fold_0" / "model_final_checkpoint.model"
        if place == ".model.pkl":
            model.with_name(f"{model.name}.pkl").write_bytes(pickle.dumps({"init": (), "name": evil}))
        else:
            save({"state_dict": {}, "plot_stuff": evil}, model)
        act: Callable[[], Any] = lambda: read_mednext([model], None)  # noqa: E731
    elif place == ".pth":
        folder = checkpoints.make_nnunet_folder(tmp_path / "n", (0,))
        save({"network_weights": {}, "logging": evil}, folder / "fold_0" / "checkpoint_final.pth")
        act = lambda: read_nnunet(folder, None)  # noqa: E731
    elif place.endswith(".pt"):
        save({"model": {}, "args": evil}, tmp_path / "s.pt")
        act = lambda: read_swinunetr([(tmp_path / "s.pt", "s.pt")], None)  # noqa: E731
    else:
        (tmp_path / "c.pkl").write_bytes(pickle.dumps({"pca": evil}))
        act = lambda: read_clusters(tmp_path / "c.pkl")  # noqa: E731
    with pytest.raises(BundleError, match=r"posix\.system"):
        act()
    assert not mark.exists()


def glob(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"\x82\x01.", "EXT1"),
        (b"\x83\x01\x00.", "EXT2"),
        (b"Pworld\n.", "outside of itself"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "outside of itself"),
        (b"]r\xff\xff\xff\x7f.", "memory"),
        (b"]p2000000000\n.", "memory"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "no pickle"),
        (b"\x80\x05\x97.", "BUFFER"),
        (glob("numpy", "dtype") + b"}X\x05\x00\x00\x00valueK\x01sb.", "change"),
        (glob("collections", "OrderedDict") + b"N}X\x08\x00\x00\x00__call__K\x01s\x86b.", "change"),
        (glob("sklearn.x", "Y") + b"}X\x07\x00\x00\x00__new__K\x01sb.", "not a pickle"),
        (glob("collections", "OrderedDict") + b"]K\x01a\x85R.", "unusual"),
        (glob("_codecs", "encode") + b"X\x01\x00\x00\x00aX\x03\x00\x00\x00rot\x86R.", "encodes"),
        (glob("copyreg", "_reconstructor") + glob("os", "system") + b"\x85R.", r"os\.system"),
        (glob("copyreg", "_reconstructor") + b"K\x01\x85R.", "unknown class"),
        (glob("sklearn", "x") + b"R.", "not a pickle"),
        (glob("os.path", "sklearn"), r"no pickle"),
        (b"", "no pickle"),
        (b"\x80\x04.", "not a pickle"),
    ],
)
def test_tricks_with_instructions(raw: bytes, what: str) -> None:
    with pytest.raises(BundleError, match=what):
        read(raw)


def test_names_with_dots_do_not_reach_inside(tmp_path: Path) -> None:
    for module, name in (("sklearn", "os.system"), ("builtins", "set.__class__"), ("numpy.random", "os.system")):
        raw = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode()
        try:
            made = read(raw + b"\x93\x8c\x01a\x85R.")
        except BundleError:
            continue
        # A library's name gives a stand-in, whatever the name says, and nothing of the library.
        assert isinstance(made, PickleStub)


def test_too_many_instructions_and_names() -> None:
    with pytest.raises(BundleError, match="instructions"):
        read(b"(" + b"]" * (MAX_OPERATIONS + 1) + b"t.")
    names = b"".join(glob("sklearn", f"x{n}") for n in range(600))
    with pytest.raises(BundleError, match="too many different names"):
        read(b"(" + names + b"t.")


def test_text_turned_into_bytes_again_and_again_is_stopped() -> None:
    text = b"X" + struct.pack("<I", 2**20) + b"a" * 2**20 + b"q\x00"
    again = glob("_codecs", "encode") + b"h\x00\x85R"
    with pytest.raises(BundleError, match="beyond its own size"):
        read(b"(" + text + again * 50 + b"t.")


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BundleError):
        read(raw)


@given(data=st.data())
def test_damaged_honest_pickles_are_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(pickle.dumps(collections.OrderedDict(a=np.arange(3), b=argparse.Namespace(x=1.5)), protocol=2))
    for _ in range(3):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        content = read(bytes(raw))
        for item in walk(content):
            if isinstance(item, Array):
                plain({"a": item})
    except HopeError:
        pass
    except Exception as error:
        assert type(error).__name__ == "RefusedError"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_honest_content_comes_out_whole(protocol: int) -> None:
    namespace = argparse.Namespace(roi_x=96, logdir=Path("a/b"), betas=(0.9, 0.999))
    content = {
        "plain": [1, 2.5, None, True, "text", b"\xff\x00", {"k": (1, 2)}],
        "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
        "default": collections.defaultdict(list, {"x": [1]}),
        "floats": np.arange(6, dtype=np.float64).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        "names": np.array(["a", "b"], dtype=object),
        "texts": np.array(["ab", "c"]),
        "scalar": np.float32(0.25),
        "args": namespace,
    }
    made = read(pickle.dumps(content, protocol))
    assert made["plain"] == content["plain"]
    assert list(made["ordered"].items()) == [("b", 1), ("a", 2)]
    assert made["default"] == {"x": [1]}
    for name in ("floats", "fortran", "names", "texts"):
        assert np.array_equal(made[name].real(), content[name])
    assert made["scalar"] == 0.25
    assert made["args"].origin == "argparse.Namespace"
    assert made["args"].state == {"roi_x": 96, "logdir": "a/b", "betas": (0.9, 0.999)}


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_give_the_same_tensors_as_torch(legacy: bool, tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    state = {
        "whole": base,
        "view": base[1:3, ::2],
        "turned": base.t(),
        "half": base.half(),
        "brain": base.bfloat16(),
        "double": base.double(),
        "whole numbers": torch.arange(5),
        "truth": torch.tensor([True, False]),
        "single": torch.tensor(3.0),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base.clone()),
    }
    path = tmp_path / "x.pt"
    content = {"model": state, "size": torch.Size([1, 2]), "device": torch.device("cuda:1"), "dtype": torch.float16}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    file = TorchFile(path, "x.pt")
    made = file.tensors(file.content["model"], "model")
    assert list(made) == list(state)
    for name, tensor in state.items():
        assert made[name].dtype == tensor.dtype
        assert torch.equal(made[name], tensor), name
        assert file.outline(file.content["model"], "model")[name].shape == tensor.shape
    assert made["whole"].untyped_storage().data_ptr() == made["view"].untyped_storage().data_ptr()
    assert (file.content["size"], file.content["device"], file.content["dtype"]) == ((1, 2), "cuda:1", "torch.float16")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_torch_file_that_is_cut_short(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"model": {"a": torch.randn(1000)}}, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for share in (0.02, 0.3, 0.7, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(BundleError, match=r"x\.pt"):
            file = TorchFile(path, "x.pt")
            file.tensors(file.content["model"], "model")


def test_torch_objects_cannot_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"model": {"a": torch.zeros(3)}}, path)
    build = b"}X\x05\x00\x00\x00shapeK\x01sb"
    for changed in (glob("torch", "FloatStorage"), glob("torch._utils", "_rebuild_tensor_v2")):
        raw = b"\x80\x02" + changed + build + b"."
        rewrite(path, lambda name, old, raw=raw: (name, raw if name.endswith("data.pkl") else old))  # type: ignore[misc]
        with pytest.raises(BundleError, match="tries to change"):
            TorchFile(path, "x.pt")
    torch.save({"model": torch.zeros(3)}, path)

    def spoil(name: str, old: bytes) -> tuple[str, bytes]:
        return name, old[:-2] + build + b"s." if name.endswith("data.pkl") else old

    rewrite(path, spoil)
    with pytest.raises(BundleError, match="tries to change a tensor"):
        TorchFile(path, "x.pt")


def rewrite(path: Path, change: Callable[[str, bytes], tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = [change(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, raw in entries:
            archive.writestr(name, raw)


def test_torch_zips_with_something_wrong_inside(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"model": {"a": torch.zeros(100_000)}}, path)
    good = path.read_bytes()
    rewrite(path, lambda name, raw: (name, raw), zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match="compressed"):
        TorchFile(path, "x.pt")
    path.write_bytes(good)
    rewrite(path, lambda name, raw: (name.replace("data.pkl", "other"), raw))
    with pytest.raises(BundleError, match=r"no data\.pkl"):
        TorchFile(path, "x.pt")
    path.write_bytes(good)
    rewrite(path, lambda name, raw: (name, raw[:40] if name.endswith("data/0") else raw))
    file = TorchFile(path, "x.pt")
    with pytest.raises(BundleError, match="cut short"):
        file.tensors(file.content["model"], "model")
    path.write_bytes(good)
    rewrite(path, lambda name, raw: (name, b"big") if name.endswith("byteorder") else (name, raw))
    with pytest.raises(BundleError, match="big-endian"):
        TorchFile(path, "x.pt")


def test_a_tensor_that_says_it_is_larger_than_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"model": {"a": torch.zeros(1).expand(2**30)}}, path)
    with pytest.raises(BundleError, match="beyond its storage"):
        TorchFile(path, "x.pt")


def test_compiled_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": 1}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{archive.namelist()[0].split('/')[0]}/constants.pkl", b".")
    with pytest.raises(BundleError, match="TorchScript"):
        TorchFile(path, "x.pt")
