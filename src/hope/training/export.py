"""From a training run to a bundle."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import torch

from hope.domain.case import SEQUENCES
from hope.domain.labels import PEDS
from hope.models.bundle import FORMAT, Bundle, write_manifest
from hope.models.normalise import NORMALISATION
from hope.training.checkpoints import write_weights
from hope.training.config import TrainingConfig
from hope.training.loop import TrainingState

NOTE_SYNTHETIC = (
    "Trained on synthetic cases only; no patient's scan went into it. Its figures on real scans are those of a first, "
    "small model: expect wrong borders and missed small lesions."
)


def export_bundle(
    state: TrainingState,
    config: TrainingConfig,
    folder: Path,
    model_id: str,
    measured: dict[str, Any] | None = None,
) -> Bundle:
    """Write the averaged weights and all facts of the run as a bundle.

    Args:
        state: a finished (or well advanced) run.
        config: its settings.
        folder: made if need be; existing bundle files are replaced.
        model_id: the bundle's id.
        measured: figures to store with it.
    """
    # Half precision halves the download; the runtime computes in single precision again.
    write_weights(state.average, folder, torch.float16)
    manifest = {
        "format": FORMAT,
        "id": model_id,
        "version": date.today().isoformat(),
        "licence": "not stated: trained on cases of the user's own" if config.real_cases else "Apache-2.0",
        "note": "" if config.real_cases else NOTE_SYNTHETIC,
        "architecture": {"name": "UNet", "arguments": config.network_arguments()},
        "input": {
            "sequences": [str(s) for s in SEQUENCES],
            "optional": ["t1n", "t1c", "t2f"],
            "max_missing": 1,
            "spacing_mm": config.spacing_mm,
            "head_state": "brain",
            "normalisation": NORMALISATION,
        },
        "patch": list(config.patch),
        "label_schema": PEDS.name,
        "training": {
            "recipe": config.recipe,
            "steps": state.step,
            "seconds": round(state.seconds),
            "real_cases": config.real_cases,
            "synthetic_cases": config.first_cases + int(state.step * config.new_cases_per_step),
            "config": config.to_json(),
        },
        "measured": measured or {},
    }
    return write_manifest(folder, manifest)
