"""Write src/hope/resources/styles/METHOD.json: the mean style of synthetic cases, the family the starter model knows.

.venv/bin/python tools/make_default_style.py [histogram|hail]

To be run again for `hail` whenever its bundle changes: the codes are those of one network.

No patient's data: cases 0 to 11 of seed 6 of ``hope.synthesis``, on the atlas grid.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hope.domain.case import AlignedCase
from hope.domain.grid import ATLAS_GRID
from hope.domain.volume import Volume
from hope.services import Services
from hope.settings import Settings
from hope.stages.harmonize.harmonize import learn_style
from hope.synthesis.raw import preprocessed_case

SEED, CASES = 6, 12
STYLES = Path(__file__).resolve().parents[1] / "src" / "hope" / "resources" / "styles"


def cases() -> Iterator[AlignedCase]:
    """Synthetic cases as a BraTS release would hold them."""
    for index in range(CASES):
        images, _, _ = preprocessed_case(SEED, index)
        mask = np.any([volume.data > 0 for volume in images.values()], axis=0)
        yield AlignedCase.in_place(f"synth-{index + 1:04d}", images, Volume(mask, ATLAS_GRID))


if __name__ == "__main__":
    method = sys.argv[1] if len(sys.argv) > 1 else "histogram"
    note = f"mean of {CASES} synthetic cases (seed {SEED}), see tools/make_default_style.py"
    style = learn_style(cases(), Services(Settings.from_environment()).harmonizer(method), "default", note)
    (STYLES / f"{method}.json").write_text(style.to_json(), encoding="utf-8")
