"""Reading pickles without running them.

A pickle is a program: it may import anything and call it. Here nothing is imported and nothing foreign is called. Names
that checkpoints of the published kinds need are answered with stand-ins that only keep what they are given; every other
name ends the reading with a `BundleError` that says which name was asked for. The bytes are looked through before they
are run, so that sizes that lie, back references that reserve memory, the extension registry, and what its nesting or
its keys would make costly (`pickle_shape`) are refused first.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from hope.domain.errors import BundleError
from hope.models.importers.pickle_shape import ShapeCheck
from hope.models.importers.pickle_stubs import Array, PickleStub, RefusedError, known_names

MAX_PICKLE_BYTES = 64 * 2**20
"""Largest single pickle; tensors and big arrays of torch checkpoints lie outside of it."""

MAX_OPERATIONS = 500_000
"""Most instructions in one pickle: the largest real checkpoints have some ten thousand."""

MAX_NAMES = 500
"""Most different names that one pickle may ask for."""

_INERT_ROOTS = ("sklearn", "nnunet", "nnunetv2", "nnunet_mednext", "batchgenerators", "monai", "pandas", "scipy")
"""Libraries that checkpoints mention: their names become stand-ins, the libraries themselves stay untouched."""

_INERT_NAMES = {
    "builtins": ("set", "frozenset", "slice", "complex", "range", "bytearray", "object"),
    "__builtin__": ("set", "frozenset", "slice", "complex", "xrange", "bytearray", "object"),
    "argparse": ("Namespace",),
    "datetime": ("datetime", "date", "timedelta", "timezone"),
    "uuid": ("UUID",),
}
_NUMPY_INERT = ("numpy.random", "numpy.ma")


class SafeUnpickler(pickle.Unpickler):
    """An unpickler that imports nothing.

    Args:
        raw: the pickle, looked through by `scan` before.
        names: further dotted names, each with what it stands for; things from `torch_files`.
    """

    def __init__(self, raw: bytes, names: Mapping[str, Any] | None = None) -> None:
        super().__init__(io.BytesIO(raw))
        self._names: dict[str, Any] = {**known_names(budget=4 * len(raw) + 2**20), **(names or {})}
        self._made: dict[str, type[PickleStub]] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        """Answer a name with its stand-in.

        Raises:
            RefusedError: for every name that is not on the list.
        """
        full = f"{module}.{name}"
        if full in self._names:
            return self._names[full]
        if full not in self._made:
            if not _may_be_inert(module, name):
                raise RefusedError(f"asks for {full[:120]!r}, which no checkpoint needs; it was not run")
            if len(self._made) >= MAX_NAMES:
                raise RefusedError("asks for too many different names")
            # A class of its own for every reading: whatever a pickle does to it is gone with it.
            self._made[full] = type("PickleStub", (PickleStub,), {"__slots__": (), "origin": full})
        return self._made[full]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to things outside of the pickle; torch's own reader knows some."""
        raise RefusedError("refers to something outside of itself")


def _may_be_inert(module: str, name: str) -> bool:
    root = module.partition(".")[0]
    if any(module == m or module.startswith(f"{m}.") for m in _NUMPY_INERT):
        return True
    return name in _INERT_NAMES.get(module, ()) or root in _INERT_ROOTS or (module, name) == ("numpy", "ndarray")


def scan(stream: IO[bytes]) -> bytes:
    """Cut the next pickle out of a stream and look through its instructions, running none.

    Raises:
        RefusedError: if it is none, too large, or holds an instruction that no checkpoint needs.
    """
    start = stream.tell()
    head = stream.read(MAX_PICKLE_BYTES + 1)
    operations = 0
    end = 0
    shape = ShapeCheck()
    try:
        for operation, argument, position in pickletools.genops(io.BytesIO(head)):
            operations += 1
            if operation.name.startswith("EXT") or "BUFFER" in operation.name:
                raise RefusedError(f"uses the instruction {operation.name}, which no checkpoint needs")
            # The memo is a table that grows to the largest number named: it must not be told to reserve gigabytes.
            if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > operations:
                raise RefusedError("reserves far more memory than it fills")
            if operations > MAX_OPERATIONS:
                raise RefusedError("has far more instructions than a checkpoint")
            shape.follow(operation, argument)
            end = (position or 0) + 1
    except RefusedError:
        raise
    except Exception as error:
        if len(head) > MAX_PICKLE_BYTES:
            raise RefusedError(f"is larger than {MAX_PICKLE_BYTES // 2**20} MiB") from error
        raise RefusedError("is no pickle, or a damaged one") from error
    stream.seek(start + end)
    return head[:end]


def load(stream: IO[bytes], name: str, make: Callable[[bytes], SafeUnpickler] = SafeUnpickler) -> Any:
    """Read the next pickle of a stream.

    Args:
        stream: seekable; left behind the pickle.
        name: of the file, for messages.
        make: makes the unpickler.

    Returns:
        Plain values and stand-ins.

    Raises:
        BundleError: naming what the pickle asked for, or saying that it is damaged.
    """
    try:
        return make(scan(stream)).load()
    except RefusedError as error:
        raise BundleError(f"{name} {error}") from error
    except Exception as error:
        # Damaged bytes make the unpickler raise nearly anything; all of it means the same to the user.
        raise BundleError(f"{name} is not a pickle that can be read ({type(error).__name__}: {error})") from error


def walk(value: Any, limit: int = 1_000_000) -> Iterator[Any]:
    """Every object reachable from ``value``, each once, depth first, stand-ins and containers included."""
    seen: set[int] = set()
    waiting = [value]
    while waiting and len(seen) < limit:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, Mapping):
            waiting.extend(reversed(list(item.values())))
        elif isinstance(item, list | tuple):
            waiting.extend(reversed(item))
        elif isinstance(item, PickleStub):
            waiting.extend((item.entries, item.args, item.state))


def plain(value: Any) -> Any:
    """A number, text or (nested) list of them, with arrays made real as lists; for the small facts of plans.

    Raises:
        RefusedError: if something else is found, or the nesting is absurd.
    """
    left = [100_000]

    def convert(item: Any, depth: int) -> Any:
        left[0] -= 1
        if depth > 20 or left[0] < 0:
            raise RefusedError("holds facts that are nested too deeply")
        if item is None or isinstance(item, bool | int | float | str):
            return item
        if isinstance(item, Array):
            return convert(item.real().tolist(), depth + 1)
        if isinstance(item, Mapping):
            return {
                key if isinstance(key, str) else str(convert(key, depth + 1)): convert(entry, depth + 1)
                for key, entry in item.items()
            }
        if isinstance(item, list | tuple):
            return [convert(entry, depth + 1) for entry in item]
        if isinstance(item, PickleStub):
            return {}
        raise RefusedError(f"holds a {type(item).__name__} where a plain fact was expected")

    return convert(value, 0)
