"""What stands in for the objects that a pickle asks for. Nothing here imports, opens or runs anything."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

_PLAIN_DTYPE = re.compile(r"[<>|=]?([fiub])(1|2|4|8)")
_TEXT_DTYPE = re.compile(r"[<>|=]?([SU])([0-9]{1,5})")


class RefusedError(Exception):
    """A pickle asks for what it may not have; `load` words it with the file's name."""


class PickleStub:
    """Takes the place of an object of a foreign class and keeps what the pickle gave it.

    Attributes:
        origin: the class's dotted name.
        args: what it was called with.
        state: what it was filled with; for nearly all objects their attributes by name.
        entries: what was appended to it or set by key.
    """

    __slots__ = ("args", "entries", "state")
    origin = ""
    args: tuple[Any, ...]
    entries: list[Any]
    state: Any

    def __new__(cls, *args: Any, **_named: Any) -> PickleStub:
        """Keep the arguments; nothing is looked at."""
        made = super().__new__(cls)
        made.args, made.state, made.entries = args, {}, []
        return made

    def __init__(self, *_args: Any, **_named: Any) -> None:
        """Nothing: `__new__` has done it."""

    def __setstate__(self, state: Any) -> None:
        """Keep the state. Objects with slots come as a pair of two mappings."""
        if isinstance(state, tuple) and len(state) == 2 and all(s is None or isinstance(s, dict) for s in state):
            state = {**(state[0] or {}), **(state[1] or {})}
        self.state = state

    def append(self, entry: Any) -> None:
        """Keep one entry of a list-like object."""
        self.entries.append(entry)

    def __setitem__(self, key: Any, entry: Any) -> None:
        """Keep one entry of a dict-like object."""
        self.entries.append((key, entry))


class Table(dict[Any, Any]):
    """An OrderedDict or defaultdict: a plain dict that ignores attributes set on it (torch's ``_metadata``)."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignore the attributes."""


class Array:
    """A numpy array as pickled, made into a real one only when asked for, with every number checked."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        """Keep (version, shape, dtype, Fortran order, bytes or list)."""
        self.state = state

    def real(self) -> npt.NDArray[Any]:
        """The array; one of Python objects as an array of those objects, stand-ins included.

        Raises:
            RefusedError: if the parts do not fit together.
        """
        if not (isinstance(self.state, tuple) and len(self.state) == 5):
            raise RefusedError("holds a numpy array of an unknown form")
        _, shape, dtype, fortran, raw = self.state
        if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
            raise RefusedError("holds a numpy array of an impossible shape")
        if not isinstance(dtype, Dtype):
            raise RefusedError("holds a numpy array without a type")
        count = math.prod(shape)
        if dtype.code in ("O", "O8"):
            if not isinstance(raw, list) or len(raw) != count:
                raise RefusedError("holds a numpy array whose size is not that of its content")
            flat: npt.NDArray[Any] = np.empty(count, dtype=object)
            flat[:] = raw
        else:
            kind = dtype.real()
            if not isinstance(raw, bytes | bytearray) or len(raw) != count * kind.itemsize:
                raise RefusedError("holds a numpy array whose size is not that of its content")
            flat = np.frombuffer(bytes(raw), kind)
        return flat.reshape(shape, order="F" if fortran else "C")


class Dtype:
    """A numpy type as pickled."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any) -> None:
        self.code, self.order = str(code) if isinstance(code, str) else "", "="

    def __setstate__(self, state: Any) -> None:
        """Of the state only the byte order counts: (version, order, ...)."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = str(state[1])

    def real(self) -> np.dtype[Any]:
        """The type.

        Raises:
            RefusedError: for anything but numbers, truth values and text.
        """
        if not (_PLAIN_DTYPE.fullmatch(self.code) or _TEXT_DTYPE.fullmatch(self.code)):
            raise RefusedError(f"holds a numpy array of the type {self.code[:40]!r}")
        kind = np.dtype(self.code)
        return kind if self.order == "|" else kind.newbyteorder(self.order)  # type: ignore[arg-type]


class Named:
    """A function that a pickle may call, or a value that it may name. It cannot be changed by a pickle."""

    __slots__ = ("_function", "value")
    _function: Callable[..., Any] | None
    value: Any

    def __init__(self, function: Callable[..., Any] | None = None, value: Any = None) -> None:
        object.__setattr__(self, "_function", function)
        object.__setattr__(self, "value", value)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise RefusedError(f"tries to change {name}")

    def __setstate__(self, state: Any) -> NoReturn:
        """Functions take no state."""
        raise RefusedError("tries to change a function")

    def __call__(self, *args: Any) -> Any:
        """Run it, if it is a function."""
        if self._function is None:
            raise RefusedError("calls what is not a function")
        return self._function(*args)


def path(*parts: Any) -> str:
    """A path as text."""
    return "/".join(part[:4096] for part in parts[:100] if isinstance(part, str))


def table(*args: Any) -> Table:
    """An empty dict; a defaultdict gives its factory, which is of no use here, and entries follow one by one."""
    if args and not (len(args) == 1 and (args[0] is None or isinstance(args[0], type) or args[0] == [])):
        raise RefusedError("fills a dict in an unusual way")
    return Table()


def scalar(dtype: Any = None, raw: Any = b"") -> Any:
    """A numpy number as a plain one."""
    made = Array()
    made.state = (1, (), dtype, False, raw)
    return made.real().item()


def array_from_buffer(raw: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> Array:
    """A numpy array in the form that newer pickles have."""
    made = Array()
    made.state = (1, shape if isinstance(shape, tuple) else (shape,), dtype, order == "F", raw)
    return made


def rebuilt(kind: Any, *_: Any) -> Any:
    """An object of a foreign class in the form that old pickles have."""
    if not (isinstance(kind, type) and issubclass(kind, PickleStub)):
        raise RefusedError("rebuilds an object of an unknown class")
    return kind()


def encoder(budget: int) -> Callable[..., bytes]:
    """Make the function that turns text into bytes, ``budget`` bytes in all."""
    left = [budget]

    def encode(text: Any, codec: Any = "latin1") -> bytes:
        if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
            raise RefusedError("encodes text in an unknown way")
        left[0] -= len(text)
        if left[0] < 0:
            raise RefusedError("grows far beyond its own size")
        return text.encode("latin1")

    return encode


def known_names(budget: int) -> dict[str, Any]:
    """Names whose meaning matters: containers, paths, numpy arrays. ``budget``: bytes that text may be turned into."""
    names: dict[str, Any] = {
        "_codecs.encode": Named(encoder(budget)),
        "numpy.dtype": Named(lambda code=None, *_: Dtype(code)),
    }
    for module in ("copyreg", "copy_reg"):
        names |= {f"{module}._reconstructor": Named(rebuilt), f"{module}.__newobj__": Named(rebuilt)}
    for name in ("OrderedDict", "defaultdict"):
        names[f"collections.{name}"] = Named(table)
    for module in ("pathlib", "pathlib._local"):
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath"):
            names[f"{module}.{name}"] = Named(path)
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray._reconstruct"] = Named(lambda *_: Array())
        names[f"{core}.multiarray.scalar"] = Named(scalar)
        names[f"{core}.numeric._frombuffer"] = Named(array_from_buffer)
    for name in ("int", "float", "str", "bool", "list", "dict", "tuple"):
        # Classes that a defaultdict names as its factory; called, they give a stand-in like any other class.
        names[f"builtins.{name}"] = names[f"__builtin__.{name}"] = type("PickleStub", (PickleStub,), {"__slots__": ()})
    return names
