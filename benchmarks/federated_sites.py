"""The sites of benchmarks/federated.py: cases that lie on a 4 mm grid already, so that nothing has to be aligned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hope.domain.case import SEQUENCES
from hope.domain.labels import PEDS
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, read_scan, write_labels, write_scan
from hope.models.normalise import zscore_inside
from hope.services import Services
from hope.stages.intake.case_finding import CaseSource
from hope.synthesis.acquisition import Faults, degrade
from hope.synthesis.anatomy import brain_mask, make_anatomy
from hope.synthesis.case import BRAIN_BLOCK_2MM
from hope.synthesis.contrast import render
from hope.synthesis.fields import FieldMaker
from hope.synthesis.template import Template, load_template
from hope.training.config import TrainingConfig
from hope.training.real_cases import segmentation_of
from hope.training.stored import core_kind, write_sample

SPACING_MM = 4.0
SHAPE = (BRAIN_BLOCK_2MM[0][0] // 2, BRAIN_BLOCK_2MM[0][1] // 2, BRAIN_BLOCK_2MM[0][2] // 2)
Images = npt.NDArray[np.float32]


def as_scanned(images: Images) -> Images:
    """The synthesis as it is."""
    return images


def compressed(images: Images) -> Images:
    """All sequences with a curve that compresses what is bright: the power 0.35."""
    return images**0.35


def inverted_t1(images: Images) -> Images:
    """Both T1 with dark and bright exchanged about the brain's median."""
    turned = images.copy()
    turned[:2] = np.maximum(2 - images[:2], 0.05)
    return turned


CONTRASTS = {"site-1": as_scanned, "site-2": compressed, "site-3": inverted_t1}


def write_site(folder: Path, site: str, seed: int, cases: int) -> None:
    """Write labelled synthetic cases with the contrast of a site.

    Args:
        folder: of the site; a directory per case is made there.
        site: name in ``CONTRASTS``.
        seed: of the whole benchmark.
        cases: how many.
    """
    number = list(CONTRASTS).index(site)
    template = load_template(int(SPACING_MM), SHAPE, BRAIN_BLOCK_2MM[1])
    for index in range(cases):
        rng = np.random.default_rng(np.random.SeedSequence([40_000 + seed, number, index]))
        images, labels = _sample(template, rng)
        inside = (images > 0).all(axis=0)
        scales = [np.median(image[inside]) for image in images]
        images = np.stack([image / scale for image, scale in zip(images, scales, strict=True)])
        shown = CONTRASTS[site](images) * inside
        case = folder / f"case-{index:02d}"
        case.mkdir(parents=True)
        for sequence, image in zip(SEQUENCES, shown, strict=True):
            write_scan(Volume(image.astype(np.float32), template.grid), case / f"{case.name}-{sequence}.nii.gz")
        write_labels(Volume(labels * inside, template.grid), case / f"{case.name}-seg.nii.gz")


def _sample(template: Template, rng: np.random.Generator) -> tuple[Images, npt.NDArray[np.uint8]]:
    """One case as ``hope.synthesis.case.training_sample`` makes it, on the template's coarser grid."""
    anatomy = make_anatomy(template, rng, "rim_enhancing", None)
    fields = FieldMaker(rng, SHAPE, SPACING_MM)
    mask, ideal = brain_mask(anatomy, fields), render(anatomy, fields, None)
    images = np.stack([degrade(ideal[s], fields, Faults(), 2) * mask for s in SEQUENCES])
    return images, np.where(mask, anatomy.labels, 0).astype(np.uint8)


def read_cases(
    sources: Sequence[CaseSource], config: TrainingConfig, folder: Path, services: Services
) -> tuple[dict[str, tuple[str, list[Path]]], Counter[str], int]:
    """In place of ``hope.federated.training.read_cases``."""
    stored = {}
    for source in sources:
        sets = PEDS.label_sets(read_labels(segmentation_of(source)).data)
        kind = core_kind(sets)
        file = folder / f"{sha256(source.case_id.encode()).hexdigest()[:12]}-00-{kind}.npz"
        if not file.is_file():
            images = np.stack([read_scan(source.files[s], str(s))[0].data for s in SEQUENCES])
            write_sample(file, (zscore_inside(images, (images > 0).all(axis=0)).astype(np.float16), sets))
        stored[source.case_id] = (kind, [file])
    return stored, Counter(), 0
