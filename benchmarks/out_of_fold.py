"""What a model of folds scores on the training adults, each judged by the network that never saw it.

    python benchmarks/out_of_fold.py product CASES OUT.jsonl --networks FOLD-0 FOLD-1 FOLD-2
    python benchmarks/out_of_fold.py table OUT.jsonl... [--store BUNDLE]

``product`` takes each case of ``folds.json`` through the pipeline to the atlas grid, lets the network of its own fold
answer, and cleans up as the product does; Dice and lesion-wise scores come from ``hope evaluate``'s code. It goes on
where an earlier call was stopped. ``table`` prints means and medians of those rows, or of the rows of
``benchmarks/quality.py collect`` (on the model's grid, before clean-up), for each set of sequences; cores that mostly
do not enhance and brains without a tumour have lines of their own. A region that truth and answer both lack counts 1.
--store puts the means of each set of sequences into a bundle's manifest, for results that lack a sequence.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from starter import on_atlas, predict, store, truth_of

from hope.adapters.predict_local import LocalPredictor
from hope.domain.case import SEQUENCES, HarmonizedCase
from hope.evaluation.evaluate import evaluate
from hope.models.bundle import read_bundle
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.intake import find_cases
from hope.training.schedule import Folds
from hope.training.stored import RING_SHARE

FOLDS = Path(__file__).with_name("folds.json")
REGIONS = ("WT", "TC", "ET")


def kind_of(truth_ml: dict[str, float]) -> str:
    """What a case is by its true volumes, as ``hope.training.stored.core_kind`` says by its voxels."""
    if not truth_ml["WT"]:
        return "adult, tumour_free"
    ring = truth_ml["TC"] and truth_ml["ET"] >= RING_SHARE * truth_ml["TC"]
    return "adult, ring" if ring else "adult, non_enhancing"


def product(args: argparse.Namespace) -> None:
    """Judge the cases that the file does not hold yet."""
    torch.set_num_threads(args.threads)
    services = Services(Settings.from_environment())
    rows = args.out.read_text(encoding="utf-8").splitlines() if args.out.is_file() else []
    done = {json.loads(row)["patient"] for row in rows}
    found = {source.case_id: source for source in find_cases([args.cases], {})}
    folds = Folds.read(FOLDS).folds
    for fold in args.folds if args.folds is not None else range(len(folds)):
        predictor = LocalPredictor(read_bundle(args.networks[fold]), "cpu")
        for name in folds[fold]:
            if name in done:
                continue
            aligned = on_atlas(found[name], services, predictor)
            truth = truth_of(found[name], aligned)
            assert truth is not None, f"{name} has no mask"
            said = predict(HarmonizedCase(aligned, aligned.images), predictor)
            scores = evaluate(said.labels.reoriented(truth.grid.orientation), truth, "brats2023")["regions"]
            true = {region: round(scores[region]["truth_ml"], 3) for region in REGIONS}
            row = {
                "patient": name,
                "kind": kind_of(true),
                "without": [],
                "dice": {region: round(scores[region]["dice"], 4) for region in REGIONS},
                "lesions": {region: scores[region]["lw_dice"] for region in REGIONS},
                "ml": {region: round(scores[region]["prediction_ml"], 3) for region in REGIONS},
                "true_ml": true,
            }
            with args.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            print(name, row["kind"], row["dice"], f"{row['ml']['WT']} ml", flush=True)


def _line(title: str, rows: Sequence[dict[str, Any]], key: str = "dice") -> str:
    cells = []
    for region in REGIONS:
        values = [row[key][region] for row in rows if row[key][region] is not None]
        cells.append(f"{np.mean(values):.3f} ({np.median(values):.3f})" if values else "-")
    return f"| {title} | {len(rows)} | " + " | ".join(cells) + " |"


def table(args: argparse.Namespace) -> None:
    """Print means and medians a set of sequences."""
    found = [json.loads(line) for path in args.files for line in path.read_text(encoding="utf-8").splitlines()]
    rows = list({(row["patient"], tuple(row["without"])): row for row in found}.values())
    adults = [row for row in rows if row["kind"].startswith("adult")]
    tumour = [row for row in adults if row["true_ml"]["WT"] > 0]
    sets = sorted({tuple(row["without"]) for row in adults}, key=lambda without: (len(without), without))
    means: dict[str, dict[str, float]] = {}
    print("| without | cases | " + " | ".join(REGIONS) + " |\n|---|---|---|---|---|")
    for without in sets:
        here = [row for row in tumour if tuple(row["without"]) == without]
        if not here:
            continue
        print(_line(" + ".join(without) or "none", here))
        given = "+".join(s for s in SEQUENCES if s not in without)
        means[given] = {region: round(float(np.mean([row["dice"][region] for row in here])), 3) for region in REGIONS}
        hard = [row for row in here if row["kind"] == "adult, non_enhancing"]
        print(_line("&nbsp; of these: cores that mostly do not enhance", hard))
        if here and all("lesions" in row for row in here):
            print(_line("&nbsp; lesion-wise", here, "lesions"))
    for row in adults:
        if row["true_ml"]["WT"] == 0:
            print(f"{row['patient']} has no tumour; without {row['without'] or 'none'}: {row['ml']['WT']} ml marked")
        elif row["true_ml"]["ET"] == 0:
            print(f"{row['patient']} has no ET; without {row['without'] or 'none'}: {row['ml']['ET']} ml marked")
    print(machine())
    if args.store:
        patients = len({row["patient"] for row in tumour})
        store(args.store, f"{patients} real adults' scans, each answered by a network that never saw it", means)


def main() -> None:
    """Judge cases, or print tables."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("product")
    one.add_argument("cases", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--networks", type=Path, nargs="+", required=True, help="bundles, one a fold")
    one.add_argument("--folds", type=int, nargs="+", help="only these")
    one.add_argument("--threads", type=int, default=1)
    one.set_defaults(run=product)
    two = commands.add_parser("table")
    two.add_argument("files", type=Path, nargs="+")
    two.add_argument("--store", type=Path, metavar="BUNDLE")
    two.set_defaults(run=table)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
