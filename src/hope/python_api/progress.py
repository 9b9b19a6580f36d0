"""Progress of a call: none, a bar, or a function of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from hope.domain.errors import InputError
from hope.domain.progress import Progress, silent

ProgressLike: TypeAlias = "bool | Callable[[str, float], None] | None"
"""None or False: nothing; True: a bar; or a function that gets what is being done and the share done (0 to 1)."""


@contextmanager
def listener(progress: object) -> Iterator[Progress]:
    """What the stages tell their progress to, as long as the block runs.

    Args:
        progress: see `ProgressLike`.

    Raises:
        InputError: if it is neither a truth value nor a function.
    """
    if progress is None or progress is False:
        yield silent
    elif progress is True:
        with _bar() as report:
            yield report
    elif callable(progress):
        yield progress
    else:
        got = f"a {type(progress).__qualname__}"
        raise InputError("progress is not usable", expected="True, False or a function of a text and a share", got=got)


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar of tqdm: in a notebook a widget, else a line on stderr."""
    from tqdm.auto import tqdm

    with tqdm(total=100, unit="%", bar_format="{percentage:3.0f}% {bar} {elapsed} {desc}") as bar:

        def report(message: str, share: float) -> None:
            bar.set_description_str(message, refresh=False)
            bar.update(max(0.0, 100 * min(share, 1.0) - bar.n))

        yield report
