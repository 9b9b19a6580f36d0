"""HOPE: paediatric brain tumour segmentation from raw MRI. Research software, not a medical device.

    import hope

    result = hope.segment("BraTS-PED-00001-000")
    result.volumes_ml          # {"ET": ..., "NET": ..., "CC": ..., "ED": ..., "TC": ..., "WT": ...}
    result.labels              # a nibabel image on the grid of the t1c scan
    result.save("results")     # the files of `hope segment`

`__all__` lists what stays stable. Each name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hope.domain.errors import (
        AmbiguousInputError,
        BundleError,
        HopeError,
        InputError,
        OutputError,
        StageError,
    )
    from hope.domain.grid import Grid
    from hope.domain.volume import Volume
    from hope.python_api.cases import Case, read_case
    from hope.python_api.comparison import compare
    from hope.python_api.images import from_nibabel, from_simpleitk, to_nibabel, to_simpleitk
    from hope.python_api.result import Result
    from hope.python_api.scores import evaluate
    from hope.python_api.segmentation import segment

__version__ = "0.2.0"

DISCLAIMER = "Research use only. Not a medical device; not for diagnosis or treatment decisions."

__all__ = [
    "AmbiguousInputError",
    "BundleError",
    "Case",
    "Grid",
    "HopeError",
    "InputError",
    "OutputError",
    "Result",
    "StageError",
    "Volume",
    "compare",
    "evaluate",
    "from_nibabel",
    "from_simpleitk",
    "read_case",
    "segment",
    "to_nibabel",
    "to_simpleitk",
]

_ERRORS = ("AmbiguousInputError", "BundleError", "HopeError", "InputError", "OutputError", "StageError")
_CONVERSIONS = ("from_nibabel", "from_simpleitk", "to_nibabel", "to_simpleitk")
_HOMES = {
    **dict.fromkeys(_ERRORS, "hope.domain.errors"),
    **dict.fromkeys(_CONVERSIONS, "hope.python_api.images"),
    "Case": "hope.python_api.cases",
    "Grid": "hope.domain.grid",
    "Result": "hope.python_api.result",
    "Volume": "hope.domain.volume",
    "compare": "hope.python_api.comparison",
    "evaluate": "hope.python_api.scores",
    "read_case": "hope.python_api.cases",
    "segment": "hope.python_api.segmentation",
}
"""Public name -> the module that defines it."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: ``import hope`` alone loads no library."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'hope' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
