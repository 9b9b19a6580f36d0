"""Whether an input looks like what a model was trained on: a few dozen measurements against those of its training.

Every measurement is of the normalised images that the network sees, so that scale and file order do not matter. The
distance is Mahalanobis' (Lee et al. 2018, arXiv 1807.03888, use it on a network's features; here it is on measurements
that have names, so that a flag can say what is unusual), divided by the root of their number: about 1 for an
ordinary case, whichever sequences it has.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.box import box_of
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import BundleError
from hope.domain.qc import QCFlag, Severity

OUT_OF_DISTRIBUTION = "out_of_distribution.json"
OLD_FILE = "familiarity.json"
"""Its name in bundles and runs of version 0.1; read for one version."""

FORMAT = "hope-familiarity/1"
CODE = "unlike_training"

Images = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]

_SHAPE_WORDS = {
    "volume": "the size of the brain",
    "length to width": "how long the brain is against its width",
    "height to width": "how high the brain is against its width",
    "fill": "how much of its box the brain fills",
    "front": "how much of the brain lies in front",
    "back": "how much of the brain lies at the back",
    "bottom": "how much of the brain lies at the bottom",
    "top": "how much of the brain lies at the top",
}
_IMAGE_WORDS = {
    "skew": "how its intensities are distributed",
    "dark": "its darkest parts",
    "median": "its middle intensity",
    "bright": "its brightest parts",
    "rim": "its brightness at the brain's border",
    "grain": "its fine detail",
    "symmetry": "its likeness of left and right",
}


def _correlation(a: Images, b: Images) -> float:
    spread = float(a.std() * b.std())
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 1e-6 else 0.0


def _shape(mask: Mask, spacing_mm: float) -> dict[str, float]:
    width, length, height = (int(n) for n in mask.shape)
    whole = float(mask.sum())
    quarter = [max(1, n // 4) for n in mask.shape]
    return {
        "volume": float(np.log(whole * spacing_mm**3)),
        "length to width": length / width,
        "height to width": height / width,
        "fill": float(mask.mean()),
        "back": float(mask[:, : quarter[1]].sum()) / whole,
        "front": float(mask[:, -quarter[1] :].sum()) / whole,
        "bottom": float(mask[:, :, : quarter[2]].sum()) / whole,
        "top": float(mask[:, :, -quarter[2] :].sum()) / whole,
    }


def _image(image: Images, mask: Mask, rim: Mask, deep: Mask) -> dict[str, float]:
    values = image[mask]
    dark, middle, bright = np.quantile(values, [0.02, 0.5, 0.98])
    both = mask & mask[::-1]
    grain = np.abs(image - ndimage.uniform_filter(image, 3))[deep]
    return {
        "skew": float((values**3).mean()),
        "dark": float(dark),
        "median": float(middle),
        "bright": float(bright),
        "rim": float(image[rim].mean()) if rim.any() else 0.0,
        "grain": float(grain.mean()) if grain.size else 0.0,
        "symmetry": _correlation(image[both], image[::-1][both]) if both.any() else 0.0,
    }


def measurements(
    images: Images,
    mask: Mask,
    spacing_mm: float,
    present: Collection[MRSequence] = SEQUENCES,
    order: Sequence[MRSequence] = SEQUENCES,
) -> dict[str, float]:
    """Measure one case on a model's grid.

    Args:
        images: (sequence, i, j, k), axes RAS, normalised in the mask, 0 outside.
        mask: (i, j, k) brain; must not be empty.
        spacing_mm: isotropic.
        present: the sequences that were given; the others are not measured.
        order: which sequence each image is.

    Returns:
        Name to value: of the brain's shape (``volume``), of one image (``t1c rim``), of two (``t1n~t2w``).
    """
    box = box_of(mask)
    inside = mask[box]
    used = {s: images[order.index(s)][box].astype(np.float32) for s in SEQUENCES if s in order and s in present}
    rim = inside & ~ndimage.binary_erosion(inside, iterations=2)
    deep = ndimage.binary_erosion(inside, iterations=3)
    found = _shape(inside, spacing_mm)
    for sequence, image in used.items():
        found |= {f"{sequence} {name}": value for name, value in _image(image, inside, rim, deep).items()}
    for one, first in used.items():
        for other, second in used.items():
            if SEQUENCES.index(one) < SEQUENCES.index(other):
                found[f"{one}~{other}"] = _correlation(first[inside], second[inside])
    return found


def in_words(name: str) -> str:
    """What a measurement is, for a reader."""
    if "~" in name:
        one, other = name.split("~")
        return f"how {one} and {other} go together"
    if name in _SHAPE_WORDS:
        return _SHAPE_WORDS[name]
    sequence, _, kind = name.partition(" ")
    return f"{sequence}: {_IMAGE_WORDS[kind]}"


@dataclass(frozen=True)
class OutOfDistributionScore:
    """How the measurements of a model's training cases are spread.

    Attributes:
        names: of the measurements, n of them.
        mean: (n,) over the training cases.
        deviation: (n,) likewise.
        correlation: (n, n) of the standardised measurements.
        limit: distance above which a case is called unlike the training.
        cases: how many cases this comes from.
    """

    names: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]
    correlation: npt.NDArray[np.float64]
    limit: float
    cases: int

    def distance(self, found: Mapping[str, float]) -> float:
        """How far a case lies from the training, about 1 for an ordinary one; over the measurements it has."""
        here, z = self._standardised(found)
        if not np.isfinite(z).all():
            return float("inf")
        part = self.correlation[np.ix_(here, here)]
        squared = float(z @ np.linalg.solve(part, z))
        return float(np.sqrt(max(0.0, squared) / max(1, len(here))))

    def unusual(self, found: Mapping[str, float], count: int = 2) -> tuple[str, ...]:
        """Names of the measurements that lie farthest from the training's, the farthest first."""
        here, z = self._standardised(found)
        return tuple(self.names[here[number]] for number in np.argsort(-np.abs(z), kind="stable")[:count])

    def flag(self, found: Mapping[str, float]) -> QCFlag | None:
        """A warning with its reason for a case unlike the training; None for the others."""
        distance = self.distance(found)
        if distance <= self.limit:
            return None
        what = " and ".join(in_words(name) for name in self.unusual(found))
        return QCFlag(
            CODE,
            Severity.WARNING,
            f"this input is unlike what the model was trained on (distance {distance:.1f}, ordinary up to "
            f"{self.limit:.1f}); most unusual: {what}. Check that each file is the sequence it is given as; "
            "do not trust the result unseen",
        )

    def _standardised(self, found: Mapping[str, float]) -> tuple[list[int], npt.NDArray[np.float64]]:
        here = [number for number, name in enumerate(self.names) if name in found]
        values = np.array([found[self.names[number]] for number in here], dtype=np.float64)
        return here, (values - self.mean[here]) / self.deviation[here]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "format": FORMAT,
            "names": list(self.names),
            "mean": [round(float(v), 6) for v in self.mean],
            "deviation": [round(float(v), 6) for v in self.deviation],
            "correlation": [[round(float(v), 5) for v in row] for row in self.correlation],
            "limit": round(self.limit, 3),
            "cases": self.cases,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OutOfDistributionScore:
        """Back from ``to_json``.

        Raises:
            BundleError: if something is missing or does not fit together.
        """
        try:
            names = tuple(str(name) for name in values["names"])
            mean, deviation = (np.array(values[key], dtype=np.float64) for key in ("mean", "deviation"))
            correlation = np.array(values["correlation"], dtype=np.float64)
            limit, cases = float(values["limit"]), int(values["cases"])
            for name in names:
                in_words(name)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BundleError(
                f"the bundle's {OUT_OF_DISTRIBUTION} is not usable: {type(error).__name__}: {error}"
            ) from error
        n = len(names)
        sizes = mean.shape == deviation.shape == (n,) and correlation.shape == (n, n)
        finite = sizes and all(np.isfinite(part).all() for part in (mean, deviation, correlation))
        if values.get("format") != FORMAT or not n or not finite:
            raise BundleError(f"the bundle's {OUT_OF_DISTRIBUTION} does not fit together")
        if not (deviation > 0).all() or np.linalg.eigvalsh(correlation).min() <= 0 or not limit > 0:
            raise BundleError(f"the bundle's {OUT_OF_DISTRIBUTION} describes no spread")
        return cls(names, mean, deviation, correlation, limit, cases)

    @classmethod
    def read(cls, folder: Path) -> OutOfDistributionScore | None:
        """Of a bundle's folder; None if the bundle has none.

        Raises:
            BundleError: if the file is damaged.
        """
        path = stored_file(folder)
        if path is None:
            return None
        try:
            values = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise BundleError(f"the bundle's {path.name} cannot be read; add the bundle again") from error
        if not isinstance(values, dict):
            raise BundleError(f"the bundle's {OUT_OF_DISTRIBUTION} does not fit together")
        return cls.from_json(values)


def pooled(scores: Sequence[OutOfDistributionScore]) -> OutOfDistributionScore:
    """The spread of the training cases of several models together, each model counting by its cases.

    Args:
        scores: one or more, of the same measurements.

    Returns:
        their common mean and covariance; the limit is the mean of theirs.

    Raises:
        BundleError: if they hold other measurements.
    """
    first = scores[0]
    if any(score.names != first.names for score in scores):
        raise BundleError("the models compare different measurements with their training")
    cases = np.array([score.cases for score in scores], dtype=np.float64)
    share = cases / cases.sum()
    mean = np.einsum("k,kn->n", share, np.stack([score.mean for score in scores]))
    covariance = np.zeros_like(first.correlation)
    for part, score in zip(share, scores, strict=True):
        off = score.mean - mean
        covariance += part * (score.correlation * np.outer(score.deviation, score.deviation) + np.outer(off, off))
    # A model's own correlation has a diagonal a little off 1 (it is shrunk); that stays in the correlation.
    deviation = np.sqrt(np.einsum("k,kn->n", share, np.stack([s.deviation**2 + (s.mean - mean) ** 2 for s in scores])))
    limit = float(share @ np.array([score.limit for score in scores]))
    return OutOfDistributionScore(
        first.names, mean, deviation, covariance / np.outer(deviation, deviation), limit, int(cases.sum())
    )


def stored_file(folder: Path) -> Path | None:
    """The file in a bundle's or a run's folder, under its present name or the one of version 0.1; None without one."""
    return next((path for name in (OUT_OF_DISTRIBUTION, OLD_FILE) if (path := folder / name).is_file()), None)


def table(cases: Sequence[Mapping[str, float]]) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Measurements of several complete cases as names (n,) and values (case, n)."""
    names = tuple(cases[0])
    return names, np.array([[case[name] for name in names] for case in cases], dtype=np.float64)
