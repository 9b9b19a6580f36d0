"""How good a bundle is, and where it is not: the figures of docs/model-cards/starter.md.

    python benchmarks/starter.py real DATA          Dice and lesion-wise scores on DATA/pool (one half) and DATA/dev
    python benchmarks/starter.py subsets DATA       the same for all 15 subsets of the four sequences
    python benchmarks/starter.py missed DATA        what it misses, what it marks too much, how bright the missed is
    python benchmarks/starter.py children           cysts, pontine tumours and all other kinds on synthetic cases
    python benchmarks/starter.py skull              the same synthetic heads with the skull and without
    python benchmarks/starter.py alarm DATA         what is marked in volumes without a tumour
    python benchmarks/starter.py intervals DATA     how often the true volume lies in the stated interval
    python benchmarks/starter.py unusual DATA       which inputs the model says it was not made for

DATA holds pool/*.npz, dev/ and tumour-free/ (see hope's development data); --half, --model and --count choose. Of the
pool, every other file by name from the first is the steering half, which guided choices; the rest judges.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from machine import machine
from pool import load

from hope.contract.options import RunOptions
from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase, HeadState, MRSequence, Prediction
from hope.domain.grid import ATLAS_GRID
from hope.domain.labels import region_mask
from hope.domain.progress import silent
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.evaluation.evaluate import evaluate, mean_scores
from hope.formats.nifti import read_labels
from hope.models.bundle import DEFAULT_MODEL, read_bundle, write_manifest
from hope.models.runtime import BundleRunner
from hope.pipeline import Clock, prepare_case
from hope.ports import Predictor
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.intake import CaseSource, find_cases
from hope.stages.postprocess.measure import measure
from hope.stages.postprocess.postprocess import drop_unsure
from hope.stages.preprocess.preprocess import to_native
from hope.stages.resample import resample
from hope.stages.segment.segment import segment
from hope.synthesis.raw import RawOptions, preprocessed_case, raw_case

KINDS = ("rim_enhancing", "solid_enhancing", "infiltrating", "pontine", "cystic_with_nodule", "tiny", "multifocal")
SERIES = 880_001
"""Synthetic cases of this series are only ever judged on."""

Judged = tuple[str, HarmonizedCase, Volume, str]
"""Name, case, truth on the case's grid, and the truth's label scheme."""


def _case(name: str, images: Mapping[MRSequence, Volume], brain: Volume) -> HarmonizedCase:
    return HarmonizedCase(AlignedCase.in_place(name, images, brain), images)


def _only(case: HarmonizedCase, present: tuple[MRSequence, ...]) -> HarmonizedCase:
    """The case without the other sequences."""
    return _case(case.aligned.case_id, {s: case.images[s] for s in present}, case.aligned.brain_mask)


def predict(case: HarmonizedCase, predictor: Predictor | BundleRunner) -> Prediction:
    """What the pipeline would deliver on the atlas grid."""
    said = segment(case, predictor, silent)
    aligned = case.aligned
    labels = drop_unsure(said.labels, said.region_probability["WT"], aligned.brain_mask, aligned.images).labels
    return replace(said, labels=labels)


def _folder(source: CaseSource) -> Path:
    return next(iter(source.files.values())).parent


def on_atlas(source: CaseSource, services: Services, predictor: Predictor) -> AlignedCase:
    """The case as the pipeline would hand it to the model."""
    clock = Clock(silent)
    return prepare_case(source, predictor, services.brain_extractor(), RunOptions(), _folder(source), clock).aligned


def truth_of(source: CaseSource, aligned: AlignedCase) -> Volume | None:
    """The mask that lies beside a case's scans, on the grid of the aligned case; None if there is none."""
    masks = [p for p in _folder(source).iterdir() if p.name.endswith(("-seg.nii.gz", "_seg.nii.gz"))]
    if not masks:
        return None
    return resample(read_labels(masks[0]), aligned.grid, aligned.atlas_to_native[aligned.reference], "nearest")


def real_cases(data: Path, half: str, services: Services, predictor: Predictor) -> Iterator[Judged]:
    """One half of the pool, and with the judging half the dev cases, on the atlas grid."""
    for path in sorted((data / "pool").glob("*.npz"))[0 if half == "steering" else 1 :: 2]:
        case, truth = load(path, None)
        yield path.stem, case, truth, "brats2023"
    if half == "steering":
        return
    for source in find_cases([data / "dev"], {}):
        aligned = on_atlas(source, services, predictor)
        truth = truth_of(source, aligned)
        assert truth is not None, f"{source.case_id} has no mask"
        scheme = "brats2021" if source.case_id.startswith("BraTS2021") else "brats2023"
        yield source.case_id, HarmonizedCase(aligned, aligned.images), truth, scheme


def synthetic_cases(count: int, kinds: tuple[str, ...]) -> Iterator[Judged]:
    """Stripped synthetic cases at 1 mm on the atlas grid; the kinds take turns."""
    for index in range(count):
        kind = kinds[index % len(kinds)]
        images, truth, _ = preprocessed_case(SERIES, index, kind)
        brain = np.any([np.asarray(v.data) > 0 for v in images.values()], axis=0)
        yield f"{kind}-{index}", _case(f"{kind}-{index}", images, Volume(brain, ATLAS_GRID)), truth, "peds"


def _scores(
    cases: Iterator[Judged], predictor: Predictor | BundleRunner, reported: bool = True
) -> list[dict[str, object]]:
    scores = []
    for name, case, truth, scheme in cases:
        start = time.perf_counter()
        prediction = predict(case, predictor)
        seconds = time.perf_counter() - start
        score = evaluate(prediction.labels.reoriented(truth.grid.orientation), truth, scheme)
        scores.append({**score, "name": name})
        if reported:
            dice = {key: round(region["dice"], 3) for key, region in score["regions"].items()}
            print(f"{name:<24} {dice}  {seconds:.1f} s", flush=True)
    return scores


def real(chosen: argparse.Namespace, services: Services, predictor: Predictor) -> None:
    """Per case Dice, then the means of all scores."""
    print(json.dumps(mean_scores(_scores(real_cases(chosen.data, chosen.half, services, predictor), predictor))))


def missed(chosen: argparse.Namespace, services: Services, predictor: Predictor) -> None:
    """Millilitres missed and marked too much, and the brightness of what is missed against brain outside the tumour."""
    for name, case, truth, _ in real_cases(chosen.data, chosen.half, services, predictor):
        order = truth.grid.orientation
        marked = predict(case, predictor).labels.reoriented(order).data > 0
        tumour, brain = truth.data > 0, case.aligned.brain_mask.reoriented(order).data > 0
        lost, ml = tumour & ~marked, truth.grid.voxel_volume_ml
        images = {s: np.asarray(v.reoriented(order).data, dtype=float) for s, v in case.images.items()}
        bright = {str(s): round(float(v[lost].mean() / v[brain & ~tumour].mean()), 2) for s, v in images.items()}
        print(
            f"{name:<24} tumour {tumour.sum() * ml:.0f} ml, missed {lost.sum() * ml:.0f} ml, "
            f"too much {(marked & ~tumour).sum() * ml:.0f} ml; missed against brain {bright}",
            flush=True,
        )


def subsets(chosen: argparse.Namespace, services: Services, predictor: Predictor) -> None:
    """Mean Dice for every subset of sequences, also those that it refuses; --store adds them to a bundle's manifest."""
    cases = list(real_cases(chosen.data, chosen.half, services, predictor))
    bundle = services.models.get(chosen.model or DEFAULT_MODEL)
    any_subset = replace(bundle, optional=frozenset(SEQUENCES), max_missing=3, at_least_one_of=frozenset())
    runner = BundleRunner(any_subset)
    found: dict[str, dict[str, float]] = {}
    for present in (p for size in chosen.sizes for p in combinations(SEQUENCES, size)):
        judged = ((name, _only(case, present), truth, scheme) for name, case, truth, scheme in cases)
        scores = _scores(judged, runner, reported=False)
        means = {k: np.mean([s["regions"][k]["dice"] for s in scores]) for k in ("WT", "TC", "ET")}  # type: ignore[index]
        found["+".join(present)] = {k: round(float(v), 3) for k, v in means.items()}
        print(f"{'+'.join(present):<18}", found["+".join(present)], flush=True)
    if chosen.store:
        store(chosen.store, f"{len(cases)} real adult cases that it never saw", found)


def store(folder: Path, cases: str, found: Mapping[str, Mapping[str, float]]) -> None:
    """Put figures where the model says what to expect when sequences are missing (`hope.models.missing`)."""
    manifest = dict(read_bundle(folder).manifest)
    measured = manifest.get("measured") or {}
    dice = {**measured.get("dice", {}), **found}
    ordered = ("+".join(p) for size in (4, 3, 2, 1) for p in combinations(SEQUENCES, size))
    manifest["measured"] = {
        **measured,
        "cases": cases,
        "dice": {names: dice[names] for names in ordered if names in dice},
    }
    write_manifest(folder, manifest)


def children(chosen: argparse.Namespace, services: Services, predictor: Predictor) -> None:
    """Mean Dice per kind of synthetic tumour, over the cases whose truth holds the label."""
    for kind in chosen.kinds:
        found: dict[str, list[float]] = {}
        for score in _scores(synthetic_cases(chosen.count, (kind,)), predictor, reported=False):
            for key, region in score["regions"].items():  # type: ignore[attr-defined]
                if region["truth_ml"] > 0:
                    found.setdefault(key, []).append(region["dice"])
        print(f"{kind:<20}", {k: f"{np.mean(v):.3f} ({len(v)})" for k, v in found.items()}, flush=True)


def skull(chosen: argparse.Namespace, services: Services, predictor: Predictor) -> None:
    """WT Dice of the whole pipeline on the same raw heads: brain found by the pipeline against the true brain."""
    brain = services.brain_extractor()
    rows = []
    for index in range(chosen.count):
        raw = raw_case(SERIES, 5000 + index, RawOptions(thick_slices=False, kind=KINDS[index % len(KINDS)]))
        dice = []
        for stripped in (False, True):
            dice.append(_raw_dice(raw.scans, raw.brain, raw.labels, stripped, predictor, brain))
        rows.append(dice)
        print(f"{raw.kinds}: skull on {dice[0]:.3f}, stripped by the truth {dice[1]:.3f}", flush=True)
    on, off = np.mean(rows, axis=0)
    print(f"WT: skull on {on:.3f}, stripped {off:.3f}, cost {off - on:+.3f} over {len(rows)} pairs")


def _raw_dice(
    scans: Mapping[MRSequence, Volume],
    brain: Volume,
    truth: Volume,
    stripped: bool,
    predictor: Predictor,
    extractor: object,
) -> float:
    from hope.domain.case import UploadedCase
    from hope.stages.preprocess.preprocess import preprocess

    given = dict(scans)
    if stripped:
        for sequence, scan in scans.items():
            inside = resample(brain, scan.grid, Transform.identity(), "nearest").data
            given[sequence] = scan.with_data(np.asarray(scan.data) * inside)
    state = HeadState.BRAIN if stripped else HeadState.FULL
    case = UploadedCase("raw", given, False, state, dict.fromkeys(given, ""))
    aligned = preprocess(case, predictor.head_state, extractor)  # type: ignore[arg-type]
    prediction = predict(HarmonizedCase(aligned, aligned.images), predictor)
    native = to_native(prediction.labels, aligned)
    ours = region_mask(native.data, "WT")
    theirs = region_mask(truth.reoriented(native.grid.orientation).data, "WT")
    return float(2 * (ours & theirs).sum() / max(1, ours.sum() + theirs.sum()))


def alarm(chosen: argparse.Namespace, services: Services, predictor: Predictor) -> None:
    """Millilitres marked in real and synthetic volumes that hold no tumour."""
    volumes = []

    def tell(name: str, case: HarmonizedCase) -> None:
        marked = float((predict(case, predictor).labels.data > 0).sum()) * ATLAS_GRID.voxel_volume_ml
        volumes.append(marked)
        print(f"{name:<24} {marked:.2f} ml", flush=True)

    for source in find_cases(sorted((chosen.data / "tumour-free").glob("open-ms-*")), {}):
        aligned = on_atlas(source, services, predictor)
        tell(source.case_id, HarmonizedCase(aligned, aligned.images))
    for name, case, _, _ in synthetic_cases(chosen.count, ("none",)):
        tell(name, case)
    print(f"{sum(v > 1 for v in volumes)} of {len(volumes)} above 1 ml; largest {max(volumes):.2f} ml")


def intervals(chosen: argparse.Namespace, services: Services, predictor: Predictor) -> None:
    """Share of cases whose true volume lies between low and high, per label and region."""
    series: dict[str, Callable[[], Iterator[Judged]]] = {
        "real": lambda: real_cases(chosen.data, chosen.half, services, predictor),
        "synthetic": lambda: synthetic_cases(chosen.count, KINDS),
    }
    for title, cases in series.items():
        inside: dict[str, list[bool]] = {}
        width: dict[str, list[float]] = {}
        for _, case, truth, scheme in cases():
            prediction = predict(case, predictor)
            volumes = measure(prediction.labels, prediction)
            peds = evaluate(prediction.labels.reoriented(truth.grid.orientation), truth, scheme)["regions"]
            for key, region in peds.items():
                if region["truth_ml"] == 0 and volumes[key]["ml"] == 0:
                    continue
                low, high = volumes[key]["low_ml"], volumes[key]["high_ml"]
                inside.setdefault(key, []).append(low <= region["truth_ml"] <= high)
                width.setdefault(key, []).append((high - low) / max(region["truth_ml"], 1.0))
        print(title, {k: f"{np.mean(v):.2f} of {len(v)}, width {np.median(width[k]):.2f}" for k, v in inside.items()})


def unusual(chosen: argparse.Namespace, services: Services, predictor: Predictor) -> None:
    """What the model says of inputs that it was not made for, and of ordinary ones."""
    rng = np.random.default_rng(3)
    ordinary = list(real_cases(chosen.data, chosen.half, services, predictor))[: chosen.count]
    t1n, t1c, t2w, t2f = SEQUENCES

    def swapped(case: HarmonizedCase, one: MRSequence, two: MRSequence) -> HarmonizedCase:
        images = {**case.images, one: case.images[two], two: case.images[one]}
        return _case(case.aligned.case_id, images, case.aligned.brain_mask)

    def changed(case: HarmonizedCase, change: Callable[[np.ndarray], np.ndarray]) -> HarmonizedCase:
        images = {s: v.with_data(change(np.asarray(v.data)).astype(np.float32)) for s, v in case.images.items()}
        return _case(case.aligned.case_id, images, case.aligned.brain_mask)

    def noise(data: np.ndarray) -> np.ndarray:
        return np.where(data > 0, rng.uniform(1, 100, data.shape), 0)

    def turned(case: HarmonizedCase, axis: int) -> HarmonizedCase:
        images = {s: v.with_data(np.flip(np.asarray(v.data), axis).copy()) for s, v in case.images.items()}
        mask = case.aligned.brain_mask
        return _case(case.aligned.case_id, images, mask.with_data(np.flip(np.asarray(mask.data), axis).copy()))

    makers: dict[str, Callable[[HarmonizedCase], HarmonizedCase]] = {
        "as it is": lambda case: case,
        "t1n and t2w swapped": lambda case: swapped(case, t1n, t2w),
        "t1c and t2f swapped": lambda case: swapped(case, t1c, t2f),
        "t2w and t2f swapped": lambda case: swapped(case, t2w, t2f),
        "four times the t1c": lambda case: _case(
            "x", dict.fromkeys(SEQUENCES, case.images[t1c]), case.aligned.brain_mask
        ),
        "inverted": lambda case: changed(case, lambda data: np.where(data > 0, data.max() - data + 1, 0)),
        "noise": lambda case: changed(case, noise),
        "upside down": lambda case: turned(case, 2),
        "back to front": lambda case: turned(case, 1),
    }
    for title, maker in makers.items():
        reasons = [
            [flag.reason for flag in segment(maker(case), predictor, silent).flags if flag.code == "unlike_training"]
            for _, case, _, _ in ordinary
        ]
        first = next((r[0] for r in reasons if r), "")
        print(f"{title:<22} {sum(map(bool, reasons))} of {len(reasons)} flagged. {first}", flush=True)


TASKS = {task.__name__: task for task in (real, missed, subsets, children, skull, alarm, intervals, unusual)}


def main() -> None:
    """Run one task."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--half", choices=["steering", "judging"], default="judging")
    parser.add_argument("--model", default=None)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="of synthetic children")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 3, 2, 1], help="of subsets")
    parser.add_argument("--store", type=Path, help="bundle's folder, for subsets")
    chosen = parser.parse_args()
    print(machine())
    services = Services(Settings.from_environment())
    TASKS[chosen.task](chosen, services, services.predictor(chosen.model))


if __name__ == "__main__":
    main()
