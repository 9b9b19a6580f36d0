"""What the instructions of a pickle would build, told without building it.

Two things hurt before any check of the result could: tuples nested so deep that hashing them overflows the stack, and
thousands of keys made to collide, each of which is compared with all before it. Text and small numbers cannot collide
that often, so only other keys are counted.
"""

from __future__ import annotations

import pickletools
from typing import Any

from hope.models.importers.pickle_stubs import RefusedError

MAX_DEPTH = 100
"""Deepest nesting of tuples; checkpoints nest a handful."""

MAX_ODD_KEYS = 1000
"""Most keys of tables and sets that are neither text nor numbers of 64 bits."""

MAX_NUMBER_BYTES = 512
"""Longest whole number; the longest in a checkpoint takes 16 bytes."""

_MARK = -1
_PLAIN, _ODD = 0, 1  # what stands on the stack: twice the depth of tuples, and whether it is an odd key
_MEMOS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_SMALL_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARKED = ("TUPLE", "FROZENSET", "DICT", "LIST", "APPENDS", "SETITEMS", "ADDITEMS", "POP_MARK")


class ShapeCheck:
    """Follows a pickle's stack, one instruction at a time."""

    def __init__(self) -> None:
        self._stack: list[int] = []
        self._memo: dict[int, int] = {}
        self._odd_keys = 0

    def follow(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        """Take the next instruction.

        Raises:
            RefusedError: if it nests too deep, has too many odd keys, holds an absurd number, or finds no operands.
        """
        name = operation.name
        try:
            if name == "MARK":
                self._stack.append(_MARK)
            elif name in _MEMOS:
                self._memo[int(argument)] = self._stack[-1]
            elif name == "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            elif name in _GETS:
                self._stack.append(self._memo.get(int(argument), _ODD))
            elif name == "DUP":
                self._stack.append(self._stack[-1])
            elif name in _SMALL_TUPLES:
                self._tuple([self._stack.pop() for _ in range(_SMALL_TUPLES[name])])
            elif name in _MARKED:
                self._marked(name, self._to_mark())
            elif name == "SETITEM":
                self._keys([self._stack[-2]])
                del self._stack[-2:]
            elif isinstance(argument, int) and not operation.stack_before:
                self._number(argument)
            else:
                self._other(operation, argument)
        except IndexError as error:
            raise RefusedError("is not a pickle that can be read (an instruction finds nothing to work on)") from error

    def _to_mark(self) -> list[int]:
        place = len(self._stack) - 1
        while self._stack[place] != _MARK:
            place -= 1
            if place < 0:
                raise IndexError("no mark")
        items = self._stack[place + 1 :]
        del self._stack[place:]
        return items

    def _marked(self, name: str, items: list[int]) -> None:
        if name == "TUPLE":
            self._tuple(items)
        elif name == "FROZENSET":
            self._keys(items)
            self._tuple(items)
        elif name in ("DICT", "SETITEMS"):
            self._keys(items[::2])
        elif name == "ADDITEMS":
            self._keys(items)
        if name in ("DICT", "LIST"):
            self._stack.append(_ODD)

    def _tuple(self, items: list[int]) -> None:
        depth = 1 + max((item >> 1 for item in items), default=0)
        if depth > MAX_DEPTH:
            raise RefusedError("nests tuples far deeper than a checkpoint")
        self._stack.append(2 * depth + _ODD)

    def _keys(self, keys: list[int]) -> None:
        self._odd_keys += sum(key & 1 for key in keys)
        if self._odd_keys > MAX_ODD_KEYS:
            raise RefusedError("has far more unusual keys than a checkpoint")

    def _number(self, value: int) -> None:
        if value.bit_length() > 8 * MAX_NUMBER_BYTES:
            raise RefusedError("holds a number that is far larger than a checkpoint's")
        self._stack.append(_PLAIN if -(2**63) <= value < 2**63 else _ODD)

    def _other(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        """Whatever takes some operands and leaves some results, as the table of instructions says."""
        before, after = operation.stack_before, operation.stack_after
        if pickletools.markobject in before:
            self._to_mark()
            count = before.index(pickletools.markobject)
        else:
            count = len(before)
        if count > len(self._stack):
            raise IndexError("no operands")
        if count:
            del self._stack[-count:]
        plain = not before and isinstance(argument, str | bytes | float | None) and operation.name != "EMPTY_LIST"
        made = _PLAIN if plain and not operation.name.startswith("EMPTY") else _ODD
        self._stack.extend([made] * len(after))
