"""From a training run to a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

from hope.domain.case import SEQUENCES, CleanUp
from hope.domain.intervals import IntervalRule
from hope.domain.labels import PEDS
from hope.models.bundle import FORMAT, Bundle, write_manifest
from hope.models.normalise import NORMALISATION
from hope.models.out_of_distribution import OLD_FILE, OUT_OF_DISTRIBUTION, OutOfDistributionScore
from hope.training.checkpoints import write_weights
from hope.training.config import TrainingConfig
from hope.training.loop import TrainingState

NOTE_SYNTHETIC = (
    "Trained on synthetic cases only; no patient's scan went into it. Expect wrong borders, missed faint or small "
    "lesions, and oedema taken for tumour."
)


def export_bundle(
    state: TrainingState,
    config: TrainingConfig,
    folder: Path,
    model_id: str,
    measured: dict[str, Any] | None = None,
    out_of_distribution: OutOfDistributionScore | None = None,
    intervals: IntervalRule | None = None,
    federated: Mapping[str, Any] | None = None,
    base: Bundle | None = None,
) -> Bundle:
    """Write the averaged weights and all facts of the run as a bundle.

    Args:
        state: a finished (or well advanced) run.
        config: its settings.
        folder: made if need be; existing bundle files are replaced.
        model_id: the bundle's id.
        measured: figures to store with it.
        out_of_distribution: what an ordinary input looks like; None makes a bundle that cannot tell a strange one.
        intervals: how probabilities become intervals; None leaves that to the default thresholds.
        federated: which sites trained it together; None where one did.
        base: the bundle whose weights it began from; what that one names as its sources is named here too.
    """
    # Half precision halves the download; the runtime computes in single precision again.
    write_weights(state.average, folder, torch.float16)
    for name in (OUT_OF_DISTRIBUTION, OLD_FILE):
        (folder / name).unlink(missing_ok=True)
    if out_of_distribution:
        (folder / OUT_OF_DISTRIBUTION).write_text(json.dumps(out_of_distribution.to_json()) + "\n", encoding="utf-8")
    synthetic = not config.real_cases and config.base_synthetic
    learnt = [dict(source) for source in (base.manifest.get("trained_on") or [])] if base else []
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "id": model_id,
        "version": date.today().isoformat(),
        "licence": "Apache-2.0" if synthetic else _licence(base if learnt else None),
        "note": NOTE_SYNTHETIC if synthetic else "",
        "architecture": {"name": "UNet", "arguments": config.network_arguments()},
        "input": {
            "sequences": [str(s) for s in SEQUENCES],
            "optional": [str(s) for s in SEQUENCES],
            "max_missing": 3,
            "spacing_mm": config.spacing_mm,
            "head_state": "brain",
            "normalisation": NORMALISATION,
        },
        "patch": list(config.tile),
        "label_schema": PEDS.name,
        "cleanup": str(CleanUp.UNSURE),
        "training": {
            "recipe": config.recipe,
            "steps": state.step,
            "seconds": round(state.seconds),
            "real_cases": config.real_cases,
            "only_synthetic": synthetic,
            "started_from": config.base,
            "synthetic_cases": min(config.most_cases, config.first_cases + int(state.step * config.new_cases_per_step)),
            "config": config.to_json(),
        },
        "measured": measured or {},
    }
    if learnt:
        manifest["trained_on"] = learnt
    if federated:
        manifest["training"]["federated"] = dict(federated)
    if intervals:
        manifest["intervals"] = intervals.to_json()
    return write_manifest(folder, manifest)


def _licence(base: Bundle | None) -> str:
    """Of weights that real cases went into: the user decides, within what the base's sources ask for."""
    if base is None:
        return "not stated: real cases went into it"
    return f"not stated: real cases went into it; it began from {base.id} ({base.licence})"
