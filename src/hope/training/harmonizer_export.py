"""From a run of the harmonizer's training to a bundle."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from hope.domain.case import SEQUENCES
from hope.models.bundle import FORMAT, HARMONIZER, Bundle, write_manifest
from hope.models.hail.coarse import SPACING_MM
from hope.models.hail.runner import ARCHITECTURE, NORMALISATION
from hope.training.checkpoints import write_weights
from hope.training.harmonizer import HarmonizerState
from hope.training.harmonizer_config import HarmonizerConfig

NOTE = (
    "Trained on synthetic cases only; no patient's scan went into it. It changes intensities by bounded rising curves "
    "and evens out shading; it draws nothing."
)


def export_harmonizer(
    state: HarmonizerState,
    config: HarmonizerConfig,
    folder: Path,
    model_id: str,
    measured: dict[str, Any] | None = None,
) -> Bundle:
    """Write the averaged weights and all facts of the run as a bundle of kind harmonizer.

    Args:
        state: a finished (or well advanced) run.
        config: its settings.
        folder: made if need be; existing bundle files are replaced.
        model_id: the bundle's id.
        measured: figures to store with it.
    """
    write_weights(state.average, folder)
    manifest = {
        "format": FORMAT,
        "kind": HARMONIZER,
        "id": model_id,
        "version": date.today().isoformat(),
        "licence": "Apache-2.0",
        "note": NOTE,
        "architecture": {"name": ARCHITECTURE, "arguments": config.network_arguments()},
        "input": {
            "sequences": [str(s) for s in SEQUENCES],
            "optional": [str(s) for s in SEQUENCES],
            "max_missing": len(SEQUENCES) - 1,
            "spacing_mm": SPACING_MM,
            "head_state": "brain",
            "normalisation": NORMALISATION,
        },
        "patch": [8, 8, 8],
        "training": {
            "steps": state.step,
            "seconds": round(state.seconds),
            "real_cases": 0,
            "synthetic_anatomies": config.groups * config.anatomies,
            "config": config.to_json(),
        },
        "measured": measured or {},
    }
    return write_manifest(folder, manifest)
