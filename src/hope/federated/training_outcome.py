"""What a federated training starts from at the server, and the files of its result."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hope.domain.errors import InputError
from hope.federated.averaging import Training
from hope.federated.plan import TrainingPlan
from hope.federated.weights import Weights
from hope.formats.atomic import atomic_output
from hope.models.bundle import SEGMENTER, Bundle
from hope.services import Services
from hope.settings import Settings

if TYPE_CHECKING:
    from hope.training.config import TrainingConfig

FORMAT: Final = "hope-federated-training/1"
COLUMNS: Final = ("model", "site", "region", "n", "dice")
BUNDLE: Final = "bundle.zip"


@dataclass(frozen=True)
class Base:
    """The bundle that a training starts from, its weights and the settings of the run."""

    bundle: Bundle
    weights: Weights
    config: TrainingConfig


def base_of(model: str, sha256: str, plan: TrainingPlan) -> Base:
    """Read the bundle from the registry of this machine.

    Raises:
        InputError: if there is none of this id and hash, or training cannot start from it.
        BundleError: if its files are damaged.
    """
    from hope.training.rounds import config_of_bundle, weights_of

    bundle = Services(Settings.from_environment()).models.get(model, SEGMENTER)
    if bundle.sha256 != sha256:
        raise InputError(
            f"the server's model {model} is another one than the job names", fix="`hope models add` the bundle there"
        )
    config = config_of_bundle(bundle, plan.all_steps, plan.rate, plan.seed)
    return Base(bundle, weights_of(bundle), config)


def write_training(base: Base, plan: TrainingPlan, training: Training, folder: Path) -> None:
    """Write result.json, table.csv and, if a model came out, its bundle.

    Args:
        base: what the training started from.
        plan: of the training.
        training: what came of it.
        folder: made if need be.

    Raises:
        OutputError: if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(rows_of(training))
    facts = facts_of(plan, training)
    bundle = _write_bundle(base, plan, training, facts, rows, folder / BUNDLE)
    result = {
        "format": FORMAT,
        "job": "train",
        "model": base.bundle.id,
        "sha256": base.bundle.sha256,
        **facts,
        "bundle": {"id": bundle.id, "sha256": bundle.sha256} if bundle else None,
        "rows": rows,
    }
    for name, text in (
        ("result.json", json.dumps(result, indent=1, allow_nan=False) + "\n"),
        ("table.csv", _csv(rows)),
    ):
        with atomic_output(folder / name) as stream:
            stream.write(text.encode())


def facts_of(plan: TrainingPlan, training: Training) -> dict[str, Any]:
    """Plan, rounds and sites by their names in the federation, as plain JSON values."""
    sites: list[dict[str, Any]] = []
    for name, participant in training.sites.items():
        site: dict[str, Any] = {"site": name, "n": participant.n, "rounds": participant.rounds}
        if participant.refusal is not None:
            site |= {"code": participant.refusal.code, "reason": participant.refusal.message}
        sites.append(site)
    return {"plan": plan.model_dump(), "sites": sites, "rounds": training.rounds}


def rows_of(training: Training) -> Iterator[dict[str, Any]]:
    """The table of every model at every site, on cases that the site kept aside."""
    for model, sites in training.dice.items():
        for site, scores in sites.items():
            for region, metrics in scores.regions.items():
                if (found := metrics.get("dice")) is not None:
                    yield dict(zip(COLUMNS, (model, site, region, found.n, found.mean), strict=True))


def _write_bundle(
    base: Base,
    plan: TrainingPlan,
    training: Training,
    facts: Mapping[str, Any],
    rows: list[dict[str, Any]],
    path: Path,
) -> Bundle | None:
    """Write the bundle as a zip that `hope models add` takes; a result directory holds files alone."""
    from hope.training.rounds import bundle_of_weights

    if training.weights is None:
        return None
    config = replace(base.config, real_cases=sum(participant.n for participant in training.sites.values()))
    with tempfile.TemporaryDirectory(prefix="hope-bundle-") as scratch:
        made = bundle_of_weights(training.weights, config, Path(scratch), plan.id, facts, {"federated_dice": rows})
        with atomic_output(path) as stream, zipfile.ZipFile(stream, "w") as packed:
            for file in sorted(Path(scratch).iterdir()):
                packed.write(file, file.name)
    return made


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
