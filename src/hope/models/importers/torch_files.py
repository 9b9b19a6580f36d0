"""Reading torch checkpoints (zip and the older stream) without torch's own unpickling.

The pickle inside is read by `pickles.SafeUnpickler`; tensors become small records of where their numbers lie, and only
those that are asked for are read. Optimiser states, often twice the size of the weights, never enter memory.
"""

from __future__ import annotations

import math
import os
import reprlib
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch
from torch import Tensor

from hope.domain.errors import BundleError, InputError
from hope.formats.reading import input_error
from hope.formats.zip_directory import check_entry_count
from hope.models.importers.pickle_stubs import Named, RefusedError
from hope.models.importers.pickles import SafeUnpickler, load

MAX_STATE_BYTES = 4 * 2**30
"""Most that the weights of one network may take: the published ones take a quarter of a GiB."""

_STORAGES: Mapping[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_STREAM_MAGIC = 0x1950A86A20F9469CFC6C
_STREAM_PROTOCOL = 1001
_MAX_TENSORS = 20_000
_MAX_ENTRIES = 2 * _MAX_TENSORS


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: torch.dtype
    count: int

    def __setstate__(self, state: Any) -> NoReturn:
        raise RefusedError("tries to change a storage")


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """Where the numbers of a tensor lie.

    Attributes:
        storage: which block of the file.
        offset: of the first element in it, in elements.
        shape, stride: as torch has them.
    """

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __setstate__(self, state: Any) -> NoReturn:
        """Tensors take no state."""
        raise RefusedError("tries to change a tensor")


def _numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > 16 or not all(type(n) is int and 0 <= n < 2**40 for n in values):
        raise RefusedError("holds a tensor of an impossible shape")
    return values


def _tensor(storage: Any = None, offset: Any = 0, shape: Any = (), stride: Any = (), *_: Any) -> LazyTensor:
    shape, stride = _numbers(shape), _numbers(stride)
    if not isinstance(storage, _Storage) or type(offset) is not int or offset < 0 or len(shape) != len(stride):
        raise RefusedError("holds a tensor without numbers")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) if 0 not in shape else -1
    # A stride of 0 would let a few bytes stand for gigabytes.
    if last >= storage.count or math.prod(shape) > storage.count:
        raise RefusedError("holds a tensor that reaches beyond its storage")
    return LazyTensor(storage, offset, shape, stride)


def _parameter(tensor: Any = None, *_: Any) -> LazyTensor:
    if not isinstance(tensor, LazyTensor):
        raise RefusedError("holds a parameter without numbers")
    return tensor


def _torch_names() -> dict[str, Any]:
    names: dict[str, Any] = {f"torch.{name}": Named(value=dtype) for name, dtype in _STORAGES.items()}
    rebuild = Named(_tensor)
    names |= {"torch._utils._rebuild_tensor": rebuild, "torch._utils._rebuild_tensor_v2": rebuild}
    for name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
        names[name] = Named(_parameter)
    names["torch.Size"] = Named(lambda shape=(), *_: _numbers(shape))
    names["torch.device"] = Named(lambda *parts: ":".join(reprlib.repr(part).strip("'") for part in parts[:2]))
    for dtype in ("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"):
        names[f"torch.{dtype}"] = f"torch.{dtype}"
    return names


class _TorchUnpickler(SafeUnpickler):
    def __init__(self, raw: bytes) -> None:
        super().__init__(raw, _torch_names())
        self.storages: dict[str, _Storage] = {}

    def persistent_load(self, pid: Any) -> Any:
        """A block of numbers: ("storage", class, key, device, count) and, in the older stream, a view of another."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise RefusedError("refers to something outside of itself")
        _, kind, key, _, count, *view = pid
        if not isinstance(kind, Named) or not isinstance(kind.value, torch.dtype) or any(v is not None for v in view):
            raise RefusedError("holds numbers of an unknown kind")
        if not isinstance(key, str) or not key.isdigit() or len(key) > 40 or type(count) is not int or count < 0:
            raise RefusedError("holds numbers without a place")
        if len(self.storages) > _MAX_TENSORS:
            raise RefusedError("holds far more tensors than a network")
        return self.storages.setdefault(key, _Storage(key, kind.value, count))


def _place(file: BinaryIO, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a member's numbers begin, and how many bytes they are; its own header has names and extras in front."""
    file.seek(entry.header_offset + 26)
    lengths = file.read(4)
    if len(lengths) != 4:
        raise zipfile.BadZipFile("no local header")
    name, extra = struct.unpack("<HH", lengths)
    return entry.header_offset + 30 + name + extra, entry.file_size


class TorchFile:
    """An open checkpoint.

    Args:
        path: the file.
        name: of the file, for messages.

    Attributes:
        content: what was saved, with tensors as `LazyTensor`.

    Raises:
        BundleError: if it is damaged, asks for what it may not have, or is no torch checkpoint.
        InputError: if it cannot be read.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._places: dict[str, tuple[int, int]] = {}
        try:
            if zipfile.is_zipfile(path):
                self.content = self._open_zip()
            else:
                self.content = self._open_stream()
        except OSError as error:
            raise input_error(name, error) from error

    def _open_zip(self) -> Any:
        try:
            with self.path.open("rb") as file:
                check_entry_count(file, _MAX_ENTRIES)
        except InputError as error:
            raise BundleError(f"{self.name} holds far more entries than a torch checkpoint") from error
        try:
            with zipfile.ZipFile(self.path) as archive:
                entries = {entry.filename: entry for entry in archive.infolist()}
                roots = [n.removesuffix("data.pkl") for n in entries if n == "data.pkl" or n.endswith("/data.pkl")]
                if len(roots) != 1:
                    raise BundleError(f"{self.name} is a zip archive, but no torch checkpoint (it has no data.pkl)")
                root = roots[0]
                if f"{root}constants.pkl" in entries:
                    raise BundleError(f"{self.name} is a compiled (TorchScript) model; the checkpoint itself is needed")
                # Torch stores without compression; anything else would be a way to make much out of little.
                if any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 1 for e in entries.values()):
                    raise BundleError(f"{self.name} is compressed inside, which torch never does")
                if f"{root}byteorder" in entries and archive.read(f"{root}byteorder")[:10] != b"little":
                    raise BundleError(f"{self.name} was saved on a big-endian computer, which is not supported")
                with self.path.open("rb") as file:
                    for key, entry in entries.items():
                        if key.startswith(f"{root}data/"):
                            self._places[key.removeprefix(f"{root}data/")] = _place(file, entry)
                with archive.open(f"{root}data.pkl") as stream:
                    return load(stream, self.name, _TorchUnpickler)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, KeyError) as error:
            raise BundleError(f"{self.name} is a damaged torch checkpoint; get the file again") from error

    def _open_stream(self) -> Any:
        found: list[_TorchUnpickler] = []

        def make(raw: bytes) -> _TorchUnpickler:
            found.append(_TorchUnpickler(raw))
            return found[-1]

        with self.path.open("rb") as stream:
            if load(stream, self.name, make) != _STREAM_MAGIC or load(stream, self.name, make) != _STREAM_PROTOCOL:
                raise BundleError(f"{self.name} is no torch checkpoint")
            system = load(stream, self.name, make)
            if not isinstance(system, dict) or system.get("little_endian") is not True:
                raise BundleError(f"{self.name} was saved on a big-endian computer, which is not supported")
            content = load(stream, self.name, make)
            storages = found[-1].storages
            keys = load(stream, self.name, make)
            if not isinstance(keys, list):
                raise BundleError(f"{self.name} is a damaged torch checkpoint; get the file again")
            for key in keys:
                length = stream.read(8)
                if key not in storages or len(length) != 8:
                    raise BundleError(f"{self.name} is a damaged torch checkpoint; get the file again")
                size = struct.unpack("<q", length)[0] * storages[key].dtype.itemsize
                if size < 0:
                    raise BundleError(f"{self.name} is a damaged torch checkpoint; get the file again")
                self._places[key] = (stream.tell(), size)
                stream.seek(size, os.SEEK_CUR)
        return content

    def outline(self, state: Any, what: str) -> dict[str, Tensor]:
        """Like `tensors`, but with shapes alone (torch's meta device) and nothing read.

        Raises:
            BundleError: if it is no state dict.
        """
        return {
            key: torch.empty(lazy.shape, dtype=lazy.storage.dtype, device="meta")
            for key, lazy in self._checked(state, what).items()
        }

    def _checked(self, state: Any, what: str) -> Mapping[str, LazyTensor]:
        if not isinstance(state, dict) or not state:
            raise BundleError(f"{self.name} has no {what}: it should be a table of named tensors")
        if len(state) > _MAX_TENSORS:
            raise BundleError(f"{self.name}: its {what} holds far more tensors than a network")
        for key, lazy in state.items():
            if not isinstance(key, str) or not isinstance(lazy, LazyTensor):
                named = key[:80] if isinstance(key, str) else reprlib.repr(key)
                raise BundleError(f"{self.name}: {named} in its {what} is no tensor")
        return state

    def tensors(self, state: Any, what: str) -> dict[str, Tensor]:
        """Read the numbers of a state dict; tensors that share a block share it here too.

        Args:
            state: a mapping from names to `LazyTensor`, out of ``content``.
            what: how to call it in messages.

        Raises:
            BundleError: if it is none, or the file ends too early.
            InputError: if the file cannot be read.
        """
        lazy_tensors = self._checked(state, what)
        blocks: dict[str, Tensor] = {}
        result = {}
        left = MAX_STATE_BYTES
        try:
            with self.path.open("rb") as file:
                for key, lazy in lazy_tensors.items():
                    if lazy.storage.key not in blocks:
                        left -= lazy.storage.count * lazy.storage.dtype.itemsize
                        if left < 0:
                            raise BundleError(f"{self.name}: the {what} is larger than {MAX_STATE_BYTES // 2**30} GiB")
                        blocks[lazy.storage.key] = self._block(file, lazy.storage)
                    block = blocks[lazy.storage.key]
                    result[key] = torch.as_strided(block, lazy.shape, lazy.stride, lazy.offset)
        except OSError as error:
            raise input_error(self.name, error) from error
        return result

    def _block(self, file: Any, storage: _Storage) -> Tensor:
        start, size = self._places.get(storage.key, (0, -1))
        wanted = storage.count * storage.dtype.itemsize
        if size < wanted or start + wanted > self.path.stat().st_size:
            raise BundleError(f"{self.name} is cut short or damaged; get the file again")
        if not wanted:
            return torch.empty(0, dtype=storage.dtype)
        file.seek(start)
        raw = bytearray(wanted)
        if file.readinto(raw) != wanted:
            raise InputError(f"{self.name} ended while it was read")
        return torch.frombuffer(raw, dtype=storage.dtype)
