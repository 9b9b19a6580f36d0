"""A bundle on a pool of labelled, stripped volumes (npz: image uint8 (4,x,y,z) RAS, label in the brats2023 scheme).

    python benchmarks/pool.py DIRECTORY [--half steering|judging] [--model ID] [--without t2f]
    python benchmarks/pool.py export OUT [--data ../shared/data]

The steering half is every other file by name, from the first; it may guide choices. The judging half may not.

``export`` writes pool, dev and tumour-free cases as ordinary case directories with labels of the brats2023 scheme:
OUT/train holds the cases of ``folds.json``, which may train weights that ship, OUT/judge all others, which only judge.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from machine import machine

from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase
from hope.domain.grid import ATLAS_GRID
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.evaluation.evaluate import evaluate, mean_scores
from hope.services import Services
from hope.settings import Settings
from hope.stages.postprocess.postprocess import drop_unsure
from hope.stages.segment.segment import segment


def load(path: Path, without: str | None) -> tuple[HarmonizedCase, Volume]:
    """Place one cropped volume back on the atlas grid."""
    ras = ATLAS_GRID.reoriented("RAS")
    with np.load(path) as content:
        image, label, origin = content["image"], content["label"], content["origin"]
    box = tuple(slice(int(o), int(o) + n) for o, n in zip(origin, label.shape, strict=True))
    images = {}
    for channel, sequence in enumerate(SEQUENCES):
        if str(sequence) != without:
            data = np.zeros(ras.shape, np.float32)
            data[box] = image[channel]
            images[sequence] = Volume(data, ras)
    truth, brain = np.zeros(ras.shape, np.uint8), np.zeros(ras.shape, bool)
    truth[box], brain[box] = label, (image > 0).any(axis=0)
    aligned = AlignedCase.in_place(path.stem, images, Volume(brain, ras))
    return HarmonizedCase(aligned, images), Volume(truth, ras)


def training_ids() -> set[str]:
    """The cases whose terms allow weights trained on them to be given away."""
    folds = json.loads(Path(__file__).with_name("folds.json").read_text(encoding="utf-8"))["folds"]
    return {case for fold in folds for case in fold}


def export(data: Path, out: Path) -> None:
    """Write every labelled and every tumour-free case as a case directory; what is there already is kept."""
    may_train = training_ids()

    def folder_of(case: str) -> Path:
        return out / ("train" if case in may_train else "judge") / case

    for path in sorted((data / "pool").glob("*.npz")):
        folder = folder_of(path.stem)
        if not (folder / f"{path.stem}-seg.nii.gz").is_file():
            case, truth = load(path, None)
            scans = {str(s): case.images[s].reoriented(ATLAS_GRID.orientation).data for s in SEQUENCES}
            _write_case(folder, scans, truth.reoriented(ATLAS_GRID.orientation).data, ATLAS_GRID.affine_ras_mm)
    for source in sorted((data / "dev").iterdir()):
        folder = folder_of(source.name)
        if not (folder / f"{source.name}-seg.nii.gz").is_file():
            files = {re.split("[-_]", path.name.removesuffix(".nii.gz"))[-1]: path for path in source.iterdir()}
            mask = nib.load(files.pop("seg"))
            labels = np.asarray(mask.dataobj).astype(np.uint8)
            _link_case(folder, files, np.where(labels == 4, 3, labels).astype(np.uint8), mask.affine)
    for source in sorted(path for path in (data / "tumour-free").iterdir() if path.is_dir()):
        folder = folder_of(source.name)
        files = {path.name.removesuffix(".nii.gz").split("-")[-1]: path for path in source.iterdir()}
        image = nib.load(files["t1c"])
        _link_case(folder, files, np.zeros(image.shape, np.uint8), image.affine)


_NAMES = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"}


def _link_case(folder: Path, files: dict[str, Path], labels: np.ndarray, affine: np.ndarray) -> None:
    """A case directory whose scans are links to where they lie."""
    _write_case(folder, {}, labels, affine)
    for key, path in files.items():
        link = folder / f"{folder.name}-{_NAMES.get(key, key)}.nii.gz"
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())


def _write_case(folder: Path, scans: dict[str, np.ndarray], labels: np.ndarray, affine: np.ndarray) -> None:
    """Scans and, last, labels; lightly packed, for they are read once."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, data in {**scans, "seg": labels}.items():
        image = nib.Nifti1Image(data.astype(np.uint8), affine)
        (folder / f"{folder.name}-{key}.nii.gz").write_bytes(gzip.compress(image.to_bytes(), 1))


def main() -> None:
    """Print Dice per case, then the means of all scores as JSON; or export."""
    if sys.argv[1:2] == ["export"]:
        parser = argparse.ArgumentParser(prog="pool.py export")
        parser.add_argument("out", type=Path)
        parser.add_argument("--data", type=Path, default=Path("../shared/data"))
        wanted = parser.parse_args(sys.argv[2:])
        export(wanted.data, wanted.out)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--half", choices=["steering", "judging"], default="judging")
    parser.add_argument("--model", default=None)
    parser.add_argument("--without", default=None)
    chosen = parser.parse_args()
    print(machine())
    predictor = Services(Settings.from_environment()).predictor(chosen.model)
    scores = []
    for path in sorted(chosen.directory.glob("*.npz"))[0 if chosen.half == "steering" else 1 :: 2]:
        case, truth = load(path, chosen.without)
        start = time.perf_counter()
        prediction = segment(case, predictor, silent)
        labels = drop_unsure(prediction.labels, prediction.region_probability["WT"], case.aligned.brain_mask).labels
        seconds = time.perf_counter() - start
        score = evaluate(labels, truth, "brats2023")
        scores.append(score)
        dice = {name: round(region["dice"], 3) for name, region in score["regions"].items()}
        print(f"{path.stem:<24} {dice}  {seconds:.1f} s", flush=True)
    print(json.dumps(mean_scores(scores)))


if __name__ == "__main__":
    main()
