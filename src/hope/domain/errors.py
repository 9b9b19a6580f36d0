"""The errors that the product speaks in. No HTTP, no exit codes: the thin entry points map them."""

from __future__ import annotations


class HopeError(Exception):
    """Base of every error that is raised on purpose."""


class InputError(HopeError):
    """The input or the call is wrong, and the user can mend it.

    Args:
        what: what is wrong, naming the sequence or role but never a patient.
        expected: what would have been right.
        got: what was found instead.
        fix: what to do about it.
    """

    def __init__(self, what: str, *, expected: str = "", got: str = "", fix: str = "") -> None:
        self.what, self.expected, self.got, self.fix = what, expected, got, fix
        super().__init__(self.message())

    def message(self) -> str:
        """One line: what (expected ..., got ...); fix."""
        facts = [f"expected {self.expected}" if self.expected else "", f"got {self.got}" if self.got else ""]
        detail = ", ".join(fact for fact in facts if fact)
        text = self.what + (f" ({detail})" if detail else "") + (f"; {self.fix}" if self.fix else "")
        return " ".join(text.split())

    def about(self, whose: str) -> InputError:
        """The same sentence, and whose it is, such as ``row 3 of the cohort table``."""
        return InputError(f"{whose}: {self.what}", expected=self.expected, got=self.got, fix=self.fix)


class WrongTypeError(InputError):
    """The bytes are of another kind of file."""


class TooLargeError(InputError):
    """The bytes are more than the platform takes."""


class AmbiguousInputError(InputError):
    """The sequences cannot be told apart with confidence: the user has to say which is which."""


class OutputError(HopeError):
    """The result cannot be written: disk full, no permission, directory missing."""


class FullError(OutputError):
    """A disk is full: it goes on when there is room, and nobody's input is to blame."""


class BundleError(HopeError):
    """A model bundle is missing, damaged, or made for something else."""


class StageError(HopeError):
    """A stage could not do its work on input that looked right (for example: registration diverged)."""


class PeerError(HopeError):
    """Another machine does not answer, or refuses what it is asked for."""
