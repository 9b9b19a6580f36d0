"""Expected quality: how well it tells poor outlines from good ones, on cases that the network never saw.

    python benchmarks/quality.py collect OUT.jsonl --cases DIR --store DIR [--model ID | --network BUNDLE] [--fold N]
    python benchmarks/quality.py fit OUT.jsonl... [--write BUNDLE]

``collect`` runs one network on the model's grid: the cases of ``folds.json`` (of one fold with --fold), each with all
four sequences and with one of them left out, and 64 synthetic children of a series of its own. It goes on where an
earlier call was stopped. ``fit`` fits the rule of ``hope.training.quality_fit`` and prints what it expected of patients
that the fit had not seen: area under the curve, rank correlation, cover of the intervals of Dice and of volumes, and
what each verdict is worth; --write puts the rules into the manifest of a bundle.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
import torch
from machine import machine
from scipy.stats import spearmanr
from volume_intervals import intervals_table, volumes_of

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.expected_quality import GOOD_CHANCE, POOR_BELOW, POOR_CHANCE, Verdict, share_of
from hope.domain.labels import ET, NET, REGIONS, first_of_sets, region_mask, surely_in
from hope.domain.progress import silent
from hope.models.bundle import MANIFEST, Bundle, read_bundle, write_manifest
from hope.models.out_of_distribution import OutOfDistributionScore, measurements
from hope.models.quality_signs import REGION_NAMES, quality_signs
from hope.models.runtime import MIRROR_AXES, OVERLAP, BundleRunner
from hope.models.sliding_window import sliding_window
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.intake import find_cases
from hope.synthesis.variety import Variety
from hope.training.intervals import Counted, count, learn_intervals, learn_spread
from hope.training.pool import make_sample
from hope.training.quality_fit import Judged, RegionFit, auc, bootstrap, fit_quality
from hope.training.real_cases import store_cases
from hope.training.schedule import MIXED, Folds
from hope.training.stored import Sample, read_sample

CHILDREN, CHILDREN_SEED = 64, 990_004
FOLDS = Path(__file__).with_name("folds.json")
SETS: tuple[tuple[MRSequence, ...], ...] = ((), *((s,) for s in SEQUENCES))
FEWER: tuple[tuple[MRSequence, ...], ...] = tuple(
    without
    for count in (2, 3)
    for without in combinations(SEQUENCES, count)
    if not {MRSequence.T2W, MRSequence.T2F} <= set(without)
)
"""What else may be missing: t2w or t2f has to be there."""
SOURCES = "BraTS 2021, BraTS-Africa, open_ms_data"


def cases_of(args: argparse.Namespace) -> Iterator[tuple[str, str, Sample, Sequence[tuple[MRSequence, ...]]]]:
    """Patient, kind, the case on the model's grid, and the sets of sequences to leave out."""
    folds = Folds.read(FOLDS)
    wanted = set(folds.cases if args.fold is None else folds.folds[args.fold])
    if args.cases:
        found = {source.case_id: source for source in find_cases([args.cases], {})}
        sources = [found[case] for case in folds.cases if case in wanted]
        settings = replace(MIXED, scheme="brats2023", real_copies=args.copies)
        brain = Services(Settings.from_environment()).brain_extractor()
        for case, (kind, paths) in store_cases(sources, settings, args.store, brain, silent).items():
            yield case, f"adult, {kind}", read_sample(paths[0]), FEWER if args.fewer else SETS
    for number in range(args.children):
        rng = np.random.default_rng(number)
        without = SETS[int(rng.integers(1, len(SETS)))] if rng.random() < 0.5 else ()
        yield f"child-{number:02d}", "synthetic child", make_sample(CHILDREN_SEED, number, Variety()), (without,)


def dice(labels: npt.NDArray[np.integer], sets: npt.NDArray[np.uint8], region: str) -> float:
    """Dice of one region; 1 where both lack it."""
    truth, found = surely_in(sets, REGIONS[region]), region_mask(labels.astype(np.uint8), region)
    size = int(truth.sum() + found.sum())
    return 2 * int((truth & found).sum()) / size if size else 1.0


def pieces(
    probability: npt.NDArray[np.floating], sets: npt.NDArray[np.uint8], values: Sequence[int], images: npt.NDArray[Any]
) -> list[dict[str, float]]:
    """Every component of a region: volume, surest voxel, mean, overlap with mirror images and with the truth."""
    belief = probability[list(values)].sum(axis=0)
    mask = np.isin(probability.argmax(axis=0), values)
    parts = cc3d.connected_components(mask.astype(np.uint8), connectivity=26)
    truth = surely_in(sets, values)
    rows = []
    for number in range(1, int(parts.max()) + 1):
        here = parts == number
        rows.append(
            {
                "ml": round(float(here.sum()) * 0.008, 3),
                "peak": round(float(belief[here].max()), 4),
                "mean": round(float(belief[here].mean()), 4),
                "mirrored": round(float(mask[::-1][here].mean()), 3),
                "paired": round(float(((parts[::-1] > 0) & (parts[::-1] != number))[here].mean()), 3),
                "true": round(float(truth[here].mean()), 3),
                **{str(s): round(float(images[c][here].mean()), 2) for c, s in enumerate(SEQUENCES)},
            }
        )
    return sorted(rows, key=lambda row: -row["ml"])[:30]


def judge(
    runner: BundleRunner,
    bundle: Bundle,
    known: OutOfDistributionScore | None,
    sample: Sample,
    without: Sequence[MRSequence],
) -> dict[str, Any]:
    """Signs, scores and counts of one answer."""
    images, sets = np.array(sample[0], dtype=np.float32), sample[1]
    inside = (images != 0).any(axis=0)
    for sequence in without:
        images[SEQUENCES.index(sequence)] = 0
    probability = sliding_window(
        runner.network, torch.from_numpy(images), bundle.patch, OVERLAP, lambda _a, _b: None, MIRROR_AXES
    ).numpy()
    if MRSequence.T1C in without:  # as the runtime does
        probability[NET] += probability[ET]
        probability[ET] = 0
    present = [s for s in SEQUENCES if s not in without]
    distance = known.distance(measurements(images, inside, bundle.spacing_mm, present)) if known else None
    labels = probability.argmax(axis=0)
    counted = count(probability, first_of_sets(sets))
    return {
        "signs": quality_signs(probability, bundle.spacing_mm, without, distance),
        "dice": {region: round(dice(labels, sets, region), 4) for region in REGION_NAMES},
        "ml": {r: round(float(np.isin(labels, REGIONS[r]).sum()) * 0.008, 3) for r in REGION_NAMES},
        "true_ml": {r: round(float(surely_in(sets, REGIONS[r]).sum()) * 0.008, 3) for r in REGION_NAMES},
        "counted": {
            key: [one.truth, one.predicted, one.possible.tolist(), one.sure.tolist()] for key, one in counted.items()
        },
        "WT pieces": pieces(probability, sets, REGIONS["WT"], images),
        "TC pieces": pieces(probability, sets, REGIONS["TC"], images),
        "ET pieces": pieces(probability, sets, REGIONS["ET"], images),
    }


def collect(args: argparse.Namespace) -> None:
    """Run the network on every case that the file does not hold yet."""
    torch.set_num_threads(args.threads)
    services = Services(Settings.from_environment())
    bundle = read_bundle(args.network) if args.network else services.models.get(args.model, "segmenter")
    runner, known = BundleRunner(bundle, "cpu"), OutOfDistributionScore.read(bundle.folder)
    done = set()
    if args.out.is_file():
        done = {(row["patient"], tuple(row["without"])) for row in map(json.loads, args.out.read_text().splitlines())}
    for patient, kind, sample, sets in cases_of(args):
        for without in sets:
            if (patient, without) in done:
                continue
            began = time.perf_counter()
            row = {"patient": patient, "kind": kind, "without": without, "model": f"{bundle.id} {bundle.sha256[:12]}"}
            row |= judge(runner, bundle, known, sample, without)
            with args.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            print(
                f"{patient} without {without or 'none'}: {row['dice']}, {time.perf_counter() - began:.1f} s", flush=True
            )


def table(region: str, fit: RegionFit, rows: Sequence[dict[str, Any]]) -> None:
    """Print what the rule expected of patients that it had not seen."""
    used = [rows[number] for number in fit.used]
    patients = [row["patient"] for row in used]
    true = np.array([row["dice"][region] for row in used])
    poor = true < POOR_BELOW[region]
    area = auc(-fit.expected, poor)
    low, high = bootstrap(patients, lambda n: auc(-fit.expected[n], poor[n]))
    rank = float(spearmanr(fit.expected, true).statistic)
    print(
        f"{region}: {len(used)} answers of {len(set(patients))} patients, {int(poor.sum())} below {POOR_BELOW[region]}"
    )
    print(f"  AUC {area:.3f} ({low:.3f} to {high:.3f}), rank correlation {rank:.3f}, penalty {fit.penalty:g}")
    residuals = np.array(fit.rule.residuals)
    low_end, high_end = (fit.expected + np.quantile(residuals, share) for share in (0.05, 0.95))
    inside = (low_end <= fit.true) & (fit.true <= high_end)
    width = [share_of(high) - share_of(low) for low, high in zip(low_end, high_end, strict=True)]
    print(f"  interval holds the truth in {inside.mean():.0%}, median width {np.median(width):.2f}")
    possible = np.array([[share_of(e + r) for r in residuals] for e in fit.expected])
    chance = (possible < POOR_BELOW[region]).mean(axis=1)
    for verdict, here in (
        (Verdict.GOOD, chance <= GOOD_CHANCE),
        (Verdict.CHECK, (chance > GOOD_CHANCE) & (chance < POOR_CHANCE)),
        (Verdict.POOR, chance >= POOR_CHANCE),
    ):
        if here.any():
            scores = f"mean Dice {true[here].mean():.3f}, poor {poor[here].mean():.0%}"
            print(f"  {verdict}: {int(here.sum())} answers, {scores}")
    for kind in sorted({row["kind"] for row in used}):
        here = np.array([row["kind"] == kind for row in used])
        if here.sum() > 5:
            area = auc(-fit.expected[here], poor[here])
            print(f"  {kind}: {int(here.sum())} answers, mean Dice {true[here].mean():.3f}, AUC {area:.3f}")


def fitted_on(rows: Sequence[dict[str, Any]]) -> str:
    """The cases of a fit in the words that a reader of a result is shown."""
    adults, children = (
        len({row["patient"] for row in rows if (row["kind"] == "synthetic child") is synthetic})
        for synthetic in (False, True)
    )
    return (
        f"{adults} adults' scans ({SOURCES}) and {children} synthetic children, each answered by a network that "
        "had not seen it; no real child's scan was among them"
    )


def thresholds(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Thresholds of probability chosen on the synthetic children, whose masks tell every label of the scheme."""
    children = [row["counted"] for row in rows if row["kind"] == "synthetic child"]
    counted = [
        {
            key: Counted(truth, predicted, np.array(possible), np.array(sure))
            for key, (truth, predicted, possible, sure) in one.items()
        }
        for one in children
    ]
    rule = learn_intervals(counted, "synthetic children that it was not trained on")
    return rule.to_json() if rule else {}


def fit(args: argparse.Namespace) -> None:
    """Fit the rule, print its table, and write it where that is wanted."""
    found = [json.loads(line) for path in args.files for line in path.read_text(encoding="utf-8").splitlines()]
    rows = list({(row["patient"], tuple(row["without"])): row for row in found}.values())
    rule, fits = fit_quality(
        [Judged(r["patient"], r["signs"], r["dice"], r["kind"], r["true_ml"]["WT"] > 0) for r in rows], fitted_on(rows)
    )
    for region, found in fits.items():
        table(region, found, rows)
    old = Services(Settings.from_environment()).models.get(args.model, "segmenter").intervals
    for region, found in fits.items():
        intervals_table(region, found, rows, old)
    spread = learn_spread({region: volumes_of(region, found, rows) for region, found in fits.items()}, fitted_on(rows))
    if rule and (free := rule.no_tumour):
        print(
            f"expected Dice of WT below {free.below}: {free.patients} patients, {free.without_tumour} without a tumour"
        )
    if rule and (apart := rule.core_apart):
        print(f"most of the core apart from enhancement: {apart.patients} patients, {apart.poor} with a poor core")
    print(machine())
    if args.write and rule:
        manifest = json.loads((args.write / MANIFEST).read_bytes())
        manifest.pop("files")
        intervals = manifest.get("intervals") or thresholds(rows)
        intervals |= {"spread": spread.to_json()} if spread else {}
        print(
            "wrote", write_manifest(args.write, {**manifest, "quality": rule.to_json(), "intervals": intervals}).sha256
        )


def main() -> None:
    """Collect or fit."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("collect")
    one.add_argument("out", type=Path)
    one.add_argument("--cases", type=Path)
    one.add_argument("--store", type=Path, help="where cases on the model's grid are kept")
    one.add_argument("--copies", type=int, default=0)
    one.add_argument("--children", type=int, default=CHILDREN)
    one.add_argument("--model", default="starter")
    one.add_argument("--network", type=Path)
    one.add_argument("--fold", type=int)
    one.add_argument("--fewer", action="store_true", help="one or two sequences alone, for `out_of_fold.py table`")
    one.add_argument("--threads", type=int, default=1)
    one.set_defaults(run=collect)
    two = commands.add_parser("fit")
    two.add_argument("files", type=Path, nargs="+")
    two.add_argument("--model", default="starter", help="whose intervals of today are compared")
    two.add_argument("--write", type=Path)
    two.set_defaults(run=fit)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
