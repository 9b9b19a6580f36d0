"""Pack labelled cases, synthetic cases and starting weights into one file for ``train_on_gpu.py``.

.venv/bin/python tools/gpu_training/pack.py -o cases.npz --brats2023 DIR

A case is kept at 2 mm as uint8 z-scores with a bit set of labels for each voxel. docs/how-to/train-on-a-gpu.md says
how to use it. The file holds scans: it must not enter a repository.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from hope.domain.errors import HopeError, InputError
from hope.domain.labels import PEDS, SCHEMAS
from hope.formats.atomic import atomic_output
from hope.models.bundle import BUNDLED, WEIGHTS, read_bundle
from hope.models.normalise import zscore_inside
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.intake import find_cases
from hope.synthesis.case import BRAIN_BLOCK_2MM, training_sample
from hope.synthesis.template import load_template
from hope.training.real_cases import read_labelled
from hope.training.stored import core_kind

FORMAT = "hope-gpu-pack/1"
SPACING_MM = 2.0
STEPS = 12
"""Codes a unit of z: the code is 128 + 12 z, and 0 outside the brain. Finer steps would mostly store noise."""
SYNTHETIC = "synthetic"
"""The kind of a synthetic case; the kinds of real ones are those of ``hope.training.stored``."""
FOLDS = 3
LARGEST_CASE_MIB = 0.75
HELD_OUT_SEED = 990_001
"""The series that ``hope train`` follows its training on; it is never trained on."""
MAY_TRAIN = Path(__file__).with_name("may_train.txt")


@dataclass(frozen=True)
class Case:
    """A case on the model's grid.

    Attributes:
        case_id: name.
        kind: ``ring``, ``non_enhancing``, ``tumour_free`` (all real) or ``synthetic``.
        images: (4, i, j, k) z-scores in the brain, 0 outside.
        sets: (i, j, k) uint8 bit sets: bit v is set where the voxel may have the peds label v; bit 0 is background.
        source: what has to be named where weights ship that saw it; empty for synthesis.
        held_out: true for a case that is never trained on.
    """

    case_id: str
    kind: str
    images: npt.NDArray[np.float16]
    sets: npt.NDArray[np.uint8]
    source: str = ""
    held_out: bool = False


class Permissions:
    """Which cases may train weights, and what source each has.

    Args:
        text: see ``may_train.txt``.
    """

    def __init__(self, text: str) -> None:
        lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self._rules = [(words[0], words[1].strip() if len(words) > 1 else "") for words in lines]

    def source_of(self, case_id: str) -> str | None:
        """The source that has to be named; None if the case may not train. The last rule that fits decides."""
        found = None
        for pattern, source in self._rules:
            if fnmatchcase(case_id, pattern.removeprefix("!")):
                found = None if pattern.startswith("!") else source
        return found


def real_cases(folders: Sequence[Path], scheme: str, allowed: Permissions) -> Iterator[Case]:
    """Labelled cases of one scheme from case directories, as ``hope train --cases`` reads them."""
    services = Services(Settings.from_environment())
    for source in find_cases(list(folders), {}) if folders else []:
        if (name := _permitted(source.case_id, allowed)) is not None:
            images, sets = read_labelled(source, scheme, services.brain_extractor()).at(SPACING_MM)
            yield Case(source.case_id, core_kind(sets), images, sets, name)


def synthetic_cases(count: int, seed: int, held_out: bool = False) -> Iterator[Case]:
    """The first synthetic cases of a series; every fourth has no tumour, unless they are held out."""
    for index in range(count):
        drawn = training_sample(seed, index, "none" if index % 4 == 3 and not held_out else None)
        images = zscore_inside(drawn.images, np.asarray((drawn.images > 0).any(axis=0))).astype(np.float16)
        yield Case(f"synth-{seed}-{index}", SYNTHETIC, images, PEDS.label_sets(drawn.labels), held_out=held_out)


def _permitted(case_id: str, allowed: Permissions) -> str | None:
    source = allowed.source_of(case_id)
    if source is None:
        sys.stderr.write(f"left out: {case_id} is not among the cases that may train\n")
    return source


def patient_of(case_id: str) -> str:
    """The case id without the number of the visit, so that a patient's visits stay together."""
    return re.sub(r"-\d{3}$", "", case_id)


def draw_folds(cases: Sequence[Case]) -> dict[str, int]:
    """A fold for every real case: each kind's patients are dealt out in the order of their hashes."""
    folds: dict[str, int] = {}
    kinds = {patient_of(c.case_id): c.kind for c in cases if c.kind != SYNTHETIC}
    for kind in sorted(set(kinds.values())):
        patients = sorted((p for p in kinds if kinds[p] == kind), key=lambda p: hashlib.sha256(p.encode()).hexdigest())
        folds.update({patient: number % FOLDS for number, patient in enumerate(patients)})
    return {c.case_id: folds[patient_of(c.case_id)] for c in cases if c.kind != SYNTHETIC}


def read_folds(path: Path, cases: Sequence[Case]) -> dict[str, int]:
    """The folds of a JSON file: ``{"folds": [[case id, ...], ...]}``, or the lists alone.

    Raises:
        InputError: if the file is something else, or lacks a real case.
    """
    try:
        given = json.loads(path.read_bytes())
        lists = given["folds"] if isinstance(given, dict) else given
        folds = {str(case_id): fold for fold, case_ids in enumerate(lists) for case_id in case_ids}
    except (OSError, LookupError, ValueError, TypeError) as error:
        raise InputError(
            f"the fold list {path.name} cannot be read", expected='JSON: {"folds": lists of case ids}'
        ) from error
    real = [case.case_id for case in cases if case.kind != SYNTHETIC]
    if missing := [case_id for case_id in real if case_id not in folds]:
        raise InputError(f"the fold list {path.name} lacks {len(missing)} of {len(real)} cases, such as {missing[0]}")
    return {case_id: folds[case_id] for case_id in real}


def encode(case: Case) -> dict[str, npt.NDArray[np.uint8]]:
    """What is stored of a case, cropped to the brain: ``mask`` in bits, ``image`` as differences, ``sets``."""
    mask = (case.images != 0).any(axis=0)
    used = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(int(u[0]), int(u[-1]) + 1) for u in used)
    inside = mask[box]
    scores = np.stack([channel[box][inside] for channel in case.images]).astype(np.float32)
    codes = np.clip(np.rint(scores * STEPS) + 128, 1, 255).astype(np.uint8)
    # Neighbours are alike: their differences (modulo 256) take a tenth less space.
    image = np.diff(codes, axis=1, prepend=np.uint8(0))
    shape = np.array(inside.shape, dtype=np.uint8)
    return {"shape": shape, "mask": np.packbits(inside), "image": image, "sets": case.sets[box][inside]}


def starting_weights(folder: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float16]]]:
    """A bundle's facts for the pack, and its weights in half precision.

    Raises:
        BundleError: if it is damaged.
        InputError: if it is another network than the one that is trained here.
    """
    bundle = read_bundle(folder)
    bundle.verify()
    if bundle.architecture != "UNet" or bundle.spacing_mm != SPACING_MM:
        raise InputError(
            f"training cannot start from the model {bundle.id}",
            expected=f"a UNet at {SPACING_MM:g} mm",
            got=f"{bundle.architecture} at {bundle.spacing_mm:g} mm",
        )
    training = bundle.manifest.get("training", {})
    facts = {
        "network": dict(bundle.arguments),
        "base": f"{bundle.id} {bundle.sha256}",
        "base_synthetic": bundle.licence == "Apache-2.0" and training.get("only_synthetic") is True,
        "base_sources": training.get("sources", []),
    }
    return facts, {name: w.astype(np.float16) for name, w in load_file(folder / WEIGHTS).items()}


def tissue_maps() -> npt.NDArray[np.uint8]:
    """Grey matter, white matter and brain of the template at 2 mm, (3, i, j, k), fractions as 0 to 255."""
    template = load_template(2, *BRAIN_BLOCK_2MM)
    maps = np.stack([template.gm, template.wm, template.brain])
    return np.rint(np.clip(maps, 0, 1) * 255).astype(np.uint8)


def write_pack(
    path: Path, cases: Sequence[Case], folds: Mapping[str, int], start: Path, most_mib: float
) -> tuple[list[Case], float]:
    """Write the packed file; of the synthetic cases to train on as many as fit.

    Returns:
        The cases that were packed, and the size of the file in MiB.

    Raises:
        InputError: if the other cases do not fit; nothing is then left behind.
    """
    facts, weights = starting_weights(start)
    arrays: dict[str, npt.NDArray[Any]] = {f"weights/{name}": values for name, values in weights.items()}
    arrays["tissue"] = tissue_maps()
    packed: list[Case] = []
    with atomic_output(path) as stream:
        with zipfile.ZipFile(stream, "w") as archive:
            for name, values in arrays.items():
                _add(archive, name, values)
            for case in sorted(cases, key=_may_be_left_out):
                if _may_be_left_out(case) and stream.tell() > (most_mib - LARGEST_CASE_MIB) * 2**20:
                    break
                for name, values in encode(case).items():
                    _add(archive, f"{len(packed)}/{name}", values)
                packed.append(case)
            meta = {"format": FORMAT, "spacing_mm": SPACING_MM, "steps": STEPS, **facts}
            meta["cases"] = [_facts_of(case, folds) for case in packed]
            _add(archive, "meta", np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8))
        size = stream.tell() / 2**20
        if size > most_mib:
            raise InputError(
                "the packed file is too large",
                expected=f"at most {most_mib:g} MiB",
                got=f"{size:.1f} MiB",
                fix="pack fewer real cases, or allow more (--most-mib)",
            )
    return packed, size


def _may_be_left_out(case: Case) -> bool:
    return case.kind == SYNTHETIC and not case.held_out


def _facts_of(case: Case, folds: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": case.case_id,
        "kind": case.kind,
        "fold": folds.get(case.case_id),
        "source": case.source,
        "held_out": case.held_out,
        "present": [bool((channel != 0).any()) for channel in case.images],
    }


def _add(archive: zipfile.ZipFile, name: str, values: npt.NDArray[Any]) -> None:
    info = zipfile.ZipInfo(f"{name}.npy")
    # Weights hardly shrink, and compressing them takes longest.
    info.compress_type = zipfile.ZIP_STORED if name.startswith("weights/") else zipfile.ZIP_LZMA
    with archive.open(info, "w") as entry:
        np.lib.format.write_array(entry, values, allow_pickle=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pack cases and starting weights for train_on_gpu.py.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the packed file")
    for scheme in SCHEMAS:
        text = f"case directories with labels of the {scheme} scheme"
        parser.add_argument(f"--{scheme}", type=Path, action="append", default=[], metavar="DIR", help=text)
    parser.add_argument("--synthetic", type=int, default=36, metavar="N", help="synthetic cases to train on, at most")
    parser.add_argument("--seed", type=int, default=41, help="of the synthetic cases")
    parser.add_argument("--follow", type=int, default=6, metavar="N", help="synthetic cases that are only looked at")
    parser.add_argument("--may-train", type=Path, default=MAY_TRAIN, metavar="FILE", help="which cases may train")
    parser.add_argument("--folds", type=Path, metavar="FILE", help="JSON fold list; without it folds are drawn")
    parser.add_argument(
        "--from", dest="start", type=Path, default=BUNDLED / "starter", metavar="BUNDLE", help="weights"
    )
    parser.add_argument("--most-mib", type=float, default=36, help="largest size of the packed file")
    return parser.parse_args()


def _pack(chosen: argparse.Namespace) -> None:
    allowed = Permissions(chosen.may_train.read_text(encoding="utf-8"))
    cases = [case for scheme in SCHEMAS for case in real_cases(getattr(chosen, scheme), scheme, allowed)]
    cases += synthetic_cases(chosen.synthetic, chosen.seed)
    cases += synthetic_cases(chosen.follow, HELD_OUT_SEED, held_out=True)
    if twice := [case_id for case_id, count in Counter(case.case_id for case in cases).items() if count > 1]:
        raise InputError(f"the case {twice[0]} is given twice")
    folds = read_folds(chosen.folds, cases) if chosen.folds else draw_folds(cases)
    packed, size = write_pack(chosen.output, cases, folds, chosen.start, chosen.most_mib)
    for kind, count in Counter(case.kind for case in packed).items():
        sys.stdout.write(f"{kind}: {count} cases\n")
    sys.stdout.write(f"{chosen.output.name}: {size:.1f} MiB\n")


def main() -> int:
    """Pack what the command line says; 2 after an error of the input."""
    try:
        _pack(_arguments())
    except (HopeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
