"""Grey level co-occurrence (GLCM): how often two levels lie side by side, described per direction, then averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hope.stages.postprocess.radiomics.intensity import TINY, GreyLevels
from hope.stages.postprocess.radiomics.lines import Direction
from hope.stages.postprocess.radiomics.region import FloatArray


def cooccurrence(levels: GreyLevels, along: Sequence[Direction]) -> FloatArray:
    """(m, m, directions) shares of neighbouring pairs, counted both ways; directions without any pair are left out."""
    size = levels.numbers.size
    shares = []
    for direction in along:
        first, second = direction.pairs
        if first.size:
            counts = np.bincount(levels.index[first] * size + levels.index[second], minlength=size * size)
            table = counts.reshape(size, size)
            shares.append((table + table.T) / (2.0 * first.size))
    return np.ascontiguousarray(np.stack(shares, axis=-1))


def glcm_features(levels: GreyLevels, along: Sequence[Direction]) -> dict[str, float]:
    """The 24 features, each the mean over the directions along which it is defined."""
    p = cooccurrence(levels, along)
    per_direction = _moments(p, levels.numbers) | _sums_and_differences(p, levels.numbers) | _information(p)
    return {name: _mean(values) for name, values in per_direction.items()}


def _mean(per_direction: FloatArray) -> float:
    """Mean of what is defined; the real part, because eigenvalues may come with an imaginary part of rounding size."""
    defined = per_direction[~np.isnan(per_direction)]
    return float(np.real(defined.mean())) if defined.size else float("nan")


def _over_cells(table: FloatArray) -> FloatArray:
    """Sum over both level axes, one value per direction."""
    return np.asarray(table.sum(axis=(0, 1)))


def _moments(p: FloatArray, numbers: FloatArray) -> dict[str, FloatArray]:
    """Features that weigh each cell with its two levels; ``p`` is symmetric, so both margins are equal."""
    i, j = numbers[:, None, None], numbers[None, :, None]
    mean = _over_cells(i * p)
    from_means = i + j - 2 * mean
    variance = _over_cells(p * (i - mean) ** 2)
    covariance = _over_cells(p * (i - mean) * (j - mean))
    spread = np.sqrt(variance) * np.sqrt(variance)
    flat = spread == 0
    return {
        "Autocorrelation": _over_cells(p * (i * j)),
        "ClusterProminence": _over_cells(p * from_means**4),
        "ClusterShade": _over_cells(p * from_means**3),
        "ClusterTendency": _over_cells(p * from_means**2),
        "Contrast": _over_cells(p * (i - j) ** 2),
        "Correlation": np.where(flat, 1.0, covariance / (spread + TINY)),
        "JointAverage": mean,
        "JointEnergy": _over_cells(p**2),
        "MaximumProbability": p.max(axis=(0, 1)),
        "SumSquares": variance,
    }


def _sums_and_differences(p: FloatArray, numbers: FloatArray) -> dict[str, FloatArray]:
    """Features of the distributions of i + j and |i - j|."""
    n = numbers[-1]
    total, sums = _distribution(p, numbers[:, None] + numbers[None, :])
    apart, differences = _distribution(p, np.abs(numbers[:, None] - numbers[None, :]))
    average = (apart * differences).sum(axis=0)
    unequal = apart[:, 0] > 0
    return {
        "DifferenceAverage": average,
        "DifferenceEntropy": _entropy(differences),
        "DifferenceVariance": (differences * (apart - average) ** 2).sum(axis=0),
        "Id": (differences / (1 + apart)).sum(axis=0),
        "Idm": (differences / (1 + apart**2)).sum(axis=0),
        "Idmn": (differences / (1 + apart**2 / n**2)).sum(axis=0),
        "Idn": (differences / (1 + apart / n)).sum(axis=0),
        "InverseVariance": (differences[unequal] / apart[unequal] ** 2).sum(axis=0),
        "SumAverage": (total * sums).sum(axis=0),
        "SumEntropy": _entropy(sums),
    }


def _distribution(p: FloatArray, value_of_cell: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The values (v, 1) that a whole-numbered function of the two levels takes, and their shares (v, directions)."""
    values, cell = np.unique(value_of_cell, return_inverse=True)
    flat = p.reshape(-1, p.shape[-1])
    columns = [np.bincount(cell.ravel(), weights=flat[:, number]) for number in range(flat.shape[1])]
    return values[:, None], np.stack(columns, axis=1)


def _entropy(shares: FloatArray) -> FloatArray:
    """Entropy in bits over the first axis."""
    return np.asarray(-(shares * np.log2(shares + TINY)).sum(axis=0))


def _information(p: FloatArray) -> dict[str, FloatArray]:
    """How much one level of a pair tells about the other."""
    px, py = p.sum(axis=1, keepdims=True), p.sum(axis=0, keepdims=True)
    joint = -_over_cells(p * np.log2(p + TINY))
    of_margin = np.fmax(-_over_cells(px * np.log2(px + TINY)), -_over_cells(py * np.log2(py + TINY)))
    crossed = -_over_cells(p * np.log2(px * py + TINY))
    independent = -_over_cells(px * py * np.log2(px * py + TINY))
    some = of_margin != 0
    # Rounding can make the independent entropy the smaller one: the root is then undefined along that direction.
    with np.errstate(invalid="ignore"):
        second = np.sqrt(1 - np.exp(-2 * (independent - joint)))
    return {
        "Imc1": np.divide(joint - crossed, of_margin, out=np.zeros_like(joint), where=some),
        "Imc2": second,
        "JointEntropy": joint,
        "MCC": _maximal_correlation(p, px * py + TINY),
    }


def _maximal_correlation(p: FloatArray, expected: FloatArray) -> FloatArray:
    """Root of the second largest eigenvalue of the chance to meet the same level again over a neighbour; 1 if flat."""
    if p.shape[0] < 2:
        return np.ones(p.shape[-1])
    # Level by level and in this order of operations: an eigenvalue that is 0 in theory comes out a hair above or below,
    # and below it drops out of the mean, so the rounding has to be that of the reference.
    again = np.zeros_like(p)
    for met in range(p.shape[0]):
        again += p[:, None, met] * p[None, :, met] / expected[:, None, met]
    eigenvalues = np.linalg.eigvals(again.transpose(2, 0, 1))
    eigenvalues.sort(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(eigenvalues[:, -2]))
