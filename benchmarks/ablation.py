"""What each switch of the recipe for real cases brings: one fold, equal steps, one switch off at a time.

    python benchmarks/ablation.py run OUT --cases CASES [--fold 1] [--steps 2000] [--rows NAME...] [--threads 1]
    python benchmarks/ablation.py table OUT

Every row starts from the starter's weights, as the model that ships did, sees the cases outside the fold and is
judged on those inside and on synthetic cases that are kept aside, on the model's grid before clean-up (what
``hope train schedule`` writes into log.jsonl). A row that was stopped goes on; one that has ended is not run again.
CASES is what ``benchmarks/pool.py export`` wrote. The first row is the recipe as it is; the last, with another seed,
tells how much is chance. Run it in the background: a step takes 0.7 processor seconds with bfloat16, and two and more
without.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hope.domain.progress import silent
from hope.models.bundle import SEGMENTER, Bundle
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.intake import find_cases
from hope.training.config import Augmentation, TrainingConfig
from hope.training.loop import POOL, use_threads
from hope.training.real_cases import store_cases
from hope.training.schedule import CASES, MIXED, Folds, Phase, StoredCases, check_schedule, phases, run_schedule

FOLDS = Path(__file__).with_name("folds.json")
RECIPE = "recipe"


def _without(**off: float) -> TrainingConfig:
    return replace(MIXED, augmentation=replace(MIXED.augmentation, **off))


ROWS: Mapping[str, TrainingConfig] = {
    RECIPE: MIXED,
    "no-synthesis": replace(MIXED, real_share=1 - MIXED.transplant_share - MIXED.tumour_free_share),
    "no-transplants": replace(MIXED, transplant_share=0.0),
    "no-tumour-free": replace(MIXED, tumour_free_share=0.0),
    "no-real": replace(MIXED, real_share=0.0, transplant_share=0.0),
    "no-cyst-share": replace(MIXED, cyst_share=0.0),
    "no-warp": _without(warp=0.0),
    "no-smooth-fields": _without(smooth_fields=0.0),
    "no-curves": _without(curves=0.0),
    "no-thick-slices": _without(thick_slices=0.0),
    "no-fewer-sequences": _without(fewer_sequences=0.0),
    "no-augmentation": replace(MIXED, augmentation=Augmentation(fewer_sequences=0.0)),
    "no-variety": replace(MIXED, variety=None),
    "other-seed": replace(MIXED, seed=MIXED.seed + 1),
}
"""Name of a row -> its settings. Where a share is off, synthesis takes its place; without synthesis, real cases do."""


def run(args: argparse.Namespace) -> None:
    """Run the rows that have not ended, one after another."""
    use_threads(args.threads)
    services = Services(Settings.from_environment())
    folds = Folds.read(FOLDS)
    found = {source.case_id: source for source in find_cases([args.cases], {})}
    base = services.models.get("starter", SEGMENTER)
    args.out.mkdir(parents=True, exist_ok=True)

    def stored() -> StoredCases:
        sources = [found[case] for case in folds.cases]
        settings = replace(MIXED, scheme="brats2023")
        return store_cases(sources, settings, args.out / CASES, services.brain_extractor(), silent)

    for name in args.rows or ROWS:
        folder = args.out / name
        folder.mkdir(exist_ok=True)
        if not (folder / POOL).exists():  # one for all rows: it keeps cases of other settings apart
            (args.out / POOL).mkdir(exist_ok=True)
            (folder / POOL).symlink_to(Path("..") / POOL)
        check_schedule(folder, folds, "brats2023", base)
        run_schedule(folder, [_phase(name, args, folds, base)], stored, folds, base, silent)
        if last := _last(folder):
            print(_line(name, last), flush=True)


def _phase(name: str, args: argparse.Namespace, folds: Folds, base: Bundle) -> Phase:
    usual = next(p for p in phases(folds, base, (0, args.steps, 0)) if p.fold == args.fold)
    same = {key: getattr(usual.config, key) for key in ("steps", "base", "base_synthetic", "first_cases", "held_out")}
    return replace(usual, config=replace(ROWS[name], **same, calibration_cases=0, look_every=max(1, args.steps // 2)))


def _last(folder: Path) -> Mapping[str, Any] | None:
    logs = sorted(folder.glob("phase-2-fold-*/log.jsonl"))
    lines = logs[0].read_text(encoding="utf-8").splitlines() if logs else []
    return json.loads(lines[-1]) if lines else None


def _line(name: str, last: Mapping[str, Any]) -> str:
    real = [last["unseen_dice"].get(region) for region in ("WT", "TC", "ET", "TC non-enhancing")]
    synthetic = [last["hold_out_dice"].get(region) for region in ("WT", "TC", "ET")]
    cells = [f"{dice:.3f}" if dice is not None else "-" for dice in (*real, *synthetic)]
    return f"| {name} | {last['step']} | " + " | ".join(cells) + f" | {last['loss']:.3f} | {last['seconds']} |"


def table(args: argparse.Namespace) -> None:
    """Print the rows that have been judged."""
    print("| row | steps | real WT | TC | ET | TC, non-enhancing | synthetic WT | TC | ET | loss | wall, s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in ROWS:
        if last := _last(args.out / name):
            print(_line(name, last))


def main() -> None:
    """Run rows, or print what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run")
    one.add_argument("out", type=Path)
    one.add_argument("--cases", type=Path, required=True)
    one.add_argument("--fold", type=int, default=1)
    one.add_argument("--steps", type=int, default=2_000)
    one.add_argument("--rows", nargs="+", choices=list(ROWS), metavar="NAME", help="only these, in this order")
    one.add_argument("--threads", type=int, default=1)
    one.set_defaults(run=run)
    two = commands.add_parser("table")
    two.add_argument("out", type=Path)
    two.set_defaults(run=table)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
