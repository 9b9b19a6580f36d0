"""What harmonisation does to segmentation: the reason for the default, which is what helps.

    python benchmarks/harmonize_effect.py synthetic [--model mixed] [--count 14]
    python benchmarks/harmonize_effect.py folds --cases CASES --networks FOLD-0 FOLD-1 FOLD-2

Every case is segmented as it is and after each method, brought to the style that ships. `folds` are the real cases of
``folds.json``, each answered by the network that never saw it, by release; `synthetic` are cases of a series that no
training sees. Both are judged as they are and as another site might give them: through a rising curve for each
sequence and coil shading, drawn anew for each case. Dice means, and how many of the images the anatomy check let
through. At the end stands what each method changes over all cases, with its 90 % interval.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine
from out_of_fold import FOLDS
from scipy import ndimage
from starter import KINDS, Judged, on_atlas, predict, synthetic_cases, truth_of

from hope.adapters.predict_local import LocalPredictor
from hope.domain.case import HarmonizedCase
from hope.evaluation.evaluate import evaluate
from hope.models.bundle import read_bundle
from hope.ports import Predictor
from hope.services import Services
from hope.settings import Settings
from hope.stages.harmonize.harmonize import default_style, harmonize
from hope.stages.intake.intake import find_cases
from hope.synthesis.fields import FieldMaker
from hope.training.harmonizer_pool import rising_curve
from hope.training.schedule import Folds

METHODS = ("none", "histogram", "hail")
REGIONS = ("WT", "TC", "ET")
ANOTHER = "another site"


def at_another_site(case: HarmonizedCase, seed: int) -> HarmonizedCase:
    """The case as another scanner might show it: a rising curve and shading for each sequence."""
    rng = np.random.default_rng([seed, 771])
    brain = np.asarray(case.aligned.brain_mask.data) > 0
    images = {}
    for sequence, volume in case.images.items():
        data = np.asarray(volume.data)
        median = float(np.median(data[brain & (data > 0)]))
        curve = rising_curve(rng, 0.35)
        i, j, k = (-(-n // 4) for n in data.shape)
        small = FieldMaker(rng, (i, j, k), 4.0).smooth(rng.uniform(60, 110))
        shading = ndimage.zoom(small, 4, order=1)[tuple(slice(n) for n in data.shape)]
        curved = np.interp(data / median, *curve) * np.exp(shading * rng.uniform(0, 0.3))
        images[sequence] = volume.with_data(np.where(data > 0, curved, 0).astype(np.float32))
    aligned = replace(case.aligned, images=images)
    return HarmonizedCase(aligned, images)


class Effect:
    """Dice by method, added up case by case and printed by group."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dice: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
        self._changed: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, group: str, judged: Judged, predictor: Predictor) -> None:
        """Judge one case after each method."""
        name, case, truth, scheme = judged
        for method in METHODS:
            given, key = case, (group, method)
            if method != "none":
                given = harmonize(case.aligned, self._services.harmonizer(method), default_style(method))
                self._changed[key] += [facts["changed"] for facts in given.details["sequences"].values()]
            labels = predict(given, predictor).labels.reoriented(truth.grid.orientation)
            regions = evaluate(labels, truth, scheme)["regions"]
            # A region that the truth lacks says nothing of overlap.
            self._dice[key].append([regions[r]["dice"] if regions[r]["truth_ml"] > 0 else np.nan for r in REGIONS])
        reported = {method: [round(float(v), 3) for v in self._dice[group, method][-1]] for method in METHODS}
        print(f"{group} {name} {reported}", flush=True)

    def show(self) -> None:
        """One line for each group and method."""
        print(f"\n{'':44}" + "".join(f"{region:>8}" for region in REGIONS))
        for (group, method), dice in self._dice.items():
            changed = self._changed.get((group, method))
            share = f"{np.mean(changed):.0%} of images changed" if changed else ""
            means = "".join(f"{mean:8.3f}" for mean in np.nanmean(dice, axis=0))
            print(f"{group + ', ' + method:38}{len(dice):>6}{means}   {share}", flush=True)
        for moved in (False, True):
            self._show_differences([g for g in {group for group, _ in self._dice} if (ANOTHER in g) is moved], moved)

    def _show_differences(self, groups: Sequence[str], moved: bool) -> None:
        """What each method changes over all groups, with its 90 % interval: cases are drawn anew."""
        if not groups:
            return
        rng = np.random.default_rng(0)
        none = np.concatenate([self._dice[group, "none"] for group in sorted(groups)])
        for method in METHODS[1:]:
            change = np.concatenate([self._dice[group, method] for group in sorted(groups)]) - none
            drawn = [np.nanmean(change[rng.integers(len(change), size=len(change))], axis=0) for _ in range(4000)]
            low, high = np.nanpercentile(drawn, [5, 95], axis=0)
            said = (
                f"{region} {mean:+.3f} ({a:+.3f} to {b:+.3f})"
                for region, mean, a, b in zip(REGIONS, np.nanmean(change, axis=0), low, high, strict=True)
            )
            print(
                f"{method} - none, {'another' if moved else 'own'} site, {len(change)}: {', '.join(said)}", flush=True
            )


def _moved(judged: Judged, seed: int) -> Judged:
    name, case, truth, scheme = judged
    return name, at_another_site(case, seed), truth, scheme


def synthetic(chosen: argparse.Namespace, services: Services) -> None:
    """Synthetic children by a model that ships."""
    predictor, effect = services.predictor(chosen.model), Effect(services)
    for index, judged in enumerate(synthetic_cases(chosen.count, KINDS)):
        effect.add("synthetic", judged, predictor)
        effect.add(f"synthetic, {ANOTHER}", _moved(judged, index), predictor)
    effect.show()


def folds(chosen: argparse.Namespace, services: Services) -> None:
    """Real adults with a tumour, each by the network of its fold."""
    found = {source.case_id: source for source in find_cases([chosen.cases], {})}
    effect = Effect(services)
    for fold, names in enumerate(Folds.read(FOLDS).folds):
        predictor = LocalPredictor(read_bundle(chosen.networks[fold]), "cpu")
        for index, name in enumerate(names):
            if not name.startswith("BraTS"):
                continue
            aligned = on_atlas(found[name], services, predictor)
            truth = truth_of(found[name], aligned)
            assert truth is not None, f"{name} has no mask"
            judged = (name, HarmonizedCase(aligned, aligned.images), truth, "brats2023")
            group = "BraTS-Africa" if name.startswith("BraTS-SSA") else "BraTS 2021"
            effect.add(group, judged, predictor)
            effect.add(f"{group}, {ANOTHER}", _moved(judged, 100 * fold + index), predictor)
    effect.show()


def main() -> None:
    """Measure on synthetic cases, or on real ones out of fold."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("synthetic")
    one.add_argument("--model", default=None)
    one.add_argument("--count", type=int, default=14)
    one.set_defaults(run=synthetic)
    two = commands.add_parser("folds")
    two.add_argument("--cases", type=Path, required=True)
    two.add_argument("--networks", type=Path, nargs=3, required=True, help="bundles, one a fold")
    two.set_defaults(run=folds)
    chosen = parser.parse_args()
    print(machine())
    chosen.run(chosen, Services(Settings.from_environment()))


if __name__ == "__main__":
    main()
