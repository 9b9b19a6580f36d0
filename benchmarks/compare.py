"""How often `hope compare` calls an unchanged tumour changed, what growth it finds, and the factors it uses.

    python benchmarks/compare.py collect STORE.jsonl --patients 60 --seconds 500
    python benchmarks/compare.py fit STORE.jsonl [--write]

``collect`` draws synthetic patients with two dates, each on another scanner's grid with the head moved, between which
nothing grows; one in twenty has a third date at which every radius has grown by one factor. Each date is segmented by
the starter on its own 2 mm grid, with the true pose and brain mask, and counted on the grid of its t1c. It goes on
where an earlier call was stopped. ``fit`` takes the factors from the unchanged pairs. It counts how many of them are
called changed by factors that come from all the other patients, and what growth would be called
growth if volume and interval of the second date were that much larger; at the third dates it was looked at.
--write puts the factors into the package.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hope.domain.case import AlignedCase, HeadState, MRSequence
from hope.domain.change import Direction, MeasuredVolume, change_between
from hope.domain.grid import ATLAS_GRID
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.longitudinal.calibration import TABLE, ChangeRule
from hope.ports import Predictor
from hope.services import Services
from hope.settings import Settings
from hope.stages.harmonize.harmonize import not_harmonized
from hope.stages.postprocess.measure import measure
from hope.stages.postprocess.postprocess import drop_unsure
from hope.stages.preprocess.preprocess import to_native
from hope.stages.resample import resample
from hope.stages.segment.segment import segment
from hope.synthesis.raw import RawCase, RawOptions
from hope.synthesis.timeline import timeline
from hope.training.change_fit import excess, factor_for, smallest_found

SEED = 31
LARGEST_FACTOR = 1.6
"""On the radius, so that volumes grow up to fourfold."""

EVERY = 20
"""One patient of so many has a third date."""

GROWTH_PERCENT = np.arange(5, 401, 5)

OPTIONS = RawOptions(skull=False, thick_slices=False, drawn_mm=2)
GRID = ATLAS_GRID.with_spacing([2.0, 2.0, 2.0])
KIND = (
    "synthetic patients without their skull, two scanners, two grids of about 2 mm, pose and brain mask known; no real "
    "scan was among them"
)
Row = dict[str, Any]


def volumes_of(case: RawCase, predictor: Predictor) -> dict[str, dict[str, float]]:
    """Volumes and intervals of one date, millilitres."""
    back: dict[MRSequence, Transform] = {sequence: pose.inverse() for sequence, pose in case.scan_to_head.items()}
    brain = resample(case.brain, GRID, back[MRSequence.T1C], "nearest")
    images = {
        sequence: Volume(resample(scan, GRID, back[sequence], "linear").data * (brain.data > 0), GRID)
        for sequence, scan in case.scans.items()
    }
    mask = brain.with_data(brain.data > 0)
    native = case.scans[MRSequence.T1C].grid
    aligned = AlignedCase("synthetic", images, mask, HeadState.BRAIN, native, MRSequence.T1C, back)
    prediction = segment(not_harmonized(aligned), predictor)
    cleaned = drop_unsure(prediction.labels, prediction.region_probability["WT"], mask).labels
    volumes = measure(to_native(cleaned, aligned), prediction)
    return {key: {name: round(value, 4) for name, value in one.items()} for key, one in volumes.items()}


def collect(store: Path, patients: int, seconds: float) -> None:
    """Add patients to the store until there are enough or the time is up."""
    begun = time.monotonic()
    known = {row["patient"] for row in rows_of(store)} if store.is_file() else set()
    services = Services(Settings.from_environment())
    predictor = services.predictor()
    facts = predictor.describe()
    for index in sorted(set(range(patients)) - known):
        if time.monotonic() - begun > seconds:
            break
        spent = time.process_time()
        last = [float(np.random.default_rng([SEED, index]).uniform(1.0, LARGEST_FACTOR))] if index % EVERY == 0 else []
        factors = [1.0, 1.0, *last]
        visits = timeline(SEED, index, len(factors), OPTIONS, factors=factors)
        row = {
            "patient": index,
            "model": [str(facts["id"]), str(facts["sha256"])],
            "true_ml": [visit.true_ml for visit in visits],
            "dates": [volumes_of(visit.case, predictor) for visit in visits],
            "seconds": round(time.process_time() - spent, 1),
        }
        with store.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        print(f"patient {index}: {row['seconds']} processor seconds", flush=True)


def rows_of(store: Path) -> list[Row]:
    """Patients of a store."""
    return [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]


def pair(row: Row, key: str, first: int, second: int) -> tuple[MeasuredVolume, MeasuredVolume]:
    """Two dates of one region."""
    a, b = (MeasuredVolume(**row["dates"][date][key]) for date in (first, second))
    return a, b


def true_percent(row: Row, key: str) -> float | None:
    """True growth of a region at the third date; None where it was not there."""
    parts = {"TC": ("ET", "NET", "CC"), "WT": ("ET", "NET", "CC", "ED")}.get(key, (key,))
    before, after = (sum(row["true_ml"][date][part] for part in parts) for date in (1, 2))
    return 100 * (after / before - 1) if before > 0 else None


def changed(rows: Iterable[Row], key: str, factor: float) -> list[bool]:
    """Whether a region of each unchanged patient is called changed."""
    return [change_between(*pair(row, key, 0, 1), factor).direction is not Direction.WITHIN for row in rows]


def growth_found(rows: Sequence[Row], key: str, factor: float) -> float | None:
    """Smallest growth, per cent, that is called growth in 80 % of the patients who have the region at both dates."""
    pairs = [pair(row, key, 0, 1) for row in rows]
    return smallest_found([(a, b) for a, b in pairs if a.ml > 0 and b.ml > 0], factor, GROWTH_PERCENT.tolist())


def fit(store: Path, write: bool) -> None:
    """Print factors, false alarms and power; perhaps write them."""
    rows = sorted(rows_of(store), key=lambda row: int(row["patient"]))
    models = {tuple(row["model"]) for row in rows}
    if len(models) != 1:
        raise SystemExit(f"the store holds answers of {len(models)} models")
    keys = list(rows[0]["dates"][0])
    factors = {key: factor_for([excess(*pair(row, key, 0, 1)) for row in rows]) for key in keys}
    alarms: dict[str, int] = {}
    power: dict[str, float | None] = {}
    any_called = np.zeros(len(rows), dtype=bool)
    for key in keys:
        wrong = np.zeros(len(rows), dtype=bool)
        for number in range(len(rows)):
            others = [excess(*pair(row, key, 0, 1)) for row in rows[:number] + rows[number + 1 :]]
            wrong[number] = changed([rows[number]], key, factor_for(others))[0]
        any_called |= wrong
        alarms[key], power[key] = int(wrong.sum()), growth_found(rows, key, factors[key])
        before = _percent(growth_found(rows, key, 1.0))
        print(
            f"{key}: factor {factors[key]:.3f}; called changed {alarms[key]} of {len(rows)} unchanged pairs, by "
            f"factors of the others; smallest growth found in 80 %: {_percent(power[key])} (with factor 1: {before})"
        )
        for row in rows:
            if len(row["dates"]) > 2 and (percent := true_percent(row, key)) is not None:
                change = change_between(*pair(row, key, 1, 2), factors[key])
                print(f"    patient {row['patient']}: true growth {percent:.0f} %, {change.direction}")
    print(f"any of them called changed in {int(any_called.sum())} of {len(rows)} pairs")
    print(f"processor seconds a date: {np.mean([row['seconds'] / len(row['dates']) for row in rows]):.1f}")
    ((model, sha256),) = models
    rule = ChangeRule(model, sha256, factors, len(rows), alarms, power, KIND)
    if write:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(json.dumps({"models": [rule.to_json()]}, indent=2) + "\n", encoding="utf-8")
        print(f"written: {TABLE}")


def _percent(value: float | None) -> str:
    return "more than was tried" if value is None else f"{value:.0f} %"


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("collect", "fit"))
    parser.add_argument("store", type=Path)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.do == "collect":
        collect(given.store, given.patients, given.seconds)
    else:
        fit(given.store, given.write)


if __name__ == "__main__":
    main()
