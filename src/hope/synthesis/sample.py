"""The sample case of the platform: four synthetic scans, as an upload would leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hope.domain.progress import Progress
from hope.formats.nifti import write_compact
from hope.formats.nifti_clean import clean_nifti

SAMPLE_SEED, SAMPLE_KIND = 11, "rim_enhancing"
"""The sample case: a tumour with all that the viewer can show."""

_ANY_SIZE = 2**40


def make_sample(out: Path, progress: Progress) -> list[dict[str, Any]]:
    """Make the sample case, and leave each scan as a clean NIfTI file.

    Args:
        out: where the files go.
        progress: called for each scan.

    Returns:
        facts of each scan: key, sequence, file, shape, spacing_mm, orientation, warnings, confidence, reason.
    """
    from hope.synthesis.raw import RawOptions, raw_case

    progress("sample: make a synthetic case", 0.05)
    case = raw_case(SAMPLE_SEED, 0, RawOptions(kind=SAMPLE_KIND))
    series = []
    for number, (sequence, scan) in enumerate(case.scans.items()):
        progress(f"sample: write {sequence}", 0.8 + 0.05 * number)
        raw, clean = out / f".{sequence}.nii", out / f"{sequence}.nii"
        # Whole numbers, as a scanner stores them.
        write_compact(scan.with_data(np.rint(scan.data)), raw)
        facts = clean_nifti(raw, clean, sequence, _ANY_SIZE).facts()
        raw.unlink()
        known = {"key": str(sequence), "sequence": str(sequence), "file": clean.name}
        series.append({**known, **facts, "confidence": 1.0, "reason": "made by this program: it shows nobody"})
    return series
