"""Connected shapes in one slice of a mask: components, enclosed holes, convex hulls. numpy alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hope.domain.grid import FloatArray

BoolArray = npt.NDArray[np.bool_]


def components_2d(mask: BoolArray, diagonal: bool = True) -> list[BoolArray]:
    """The connected parts of a slice, each as a mask of the same shape, in the order of their first row.

    Args:
        mask: (rows, columns).
        diagonal: whether voxels that touch at a corner are connected (8 neighbours), or only those that share an edge.
    """
    rows, starts, stops = _runs(mask)
    parent = list(range(len(rows)))
    reach = 1 if diagonal else 0
    first_of_row = np.searchsorted(rows, np.arange(mask.shape[0] + 1))
    for row in range(1, mask.shape[0]):
        above, here = first_of_row[row - 1], first_of_row[row]
        for run in range(here, first_of_row[row + 1]):
            while above < here and stops[above] + reach <= starts[run]:
                above += 1
            other = above
            while other < here and starts[other] < stops[run] + reach:
                _join(parent, run, other)
                other += 1
    parts: dict[int, BoolArray] = {}
    for run, (row, start, stop) in enumerate(zip(rows, starts, stops, strict=True)):
        parts.setdefault(_root(parent, run), np.zeros(mask.shape, dtype=bool))[row, start:stop] = True
    return list(parts.values())


def filled_2d(mask: BoolArray) -> BoolArray:
    """A slice (rows, columns) with the holes that it encloses; a gap at a corner does not open a hole."""
    outside = np.pad(~mask, 1, constant_values=True)
    border = next(part for part in components_2d(outside, diagonal=False) if part[0, 0])
    filled: BoolArray = ~border[1:-1, 1:-1]
    return filled


def hull_mm(mask: BoolArray, spacing_mm: tuple[float, float], shear_mm: float = 0.0) -> FloatArray:
    """The convex hull of the voxels of a slice, corners included.

    Args:
        mask: (rows, columns), not empty.
        spacing_mm: of rows and columns.
        shear_mm: how far each row lies beside the one before it, in the direction in which columns are counted; 0 on
            a grid with right angles.

    Returns:
        (n, 2) vertices in order, millimetres across and along the rows from the centre of voxel (0, 0).
    """
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1) - 0.5
    last = mask.shape[1] - mask[rows, ::-1].argmax(axis=1) - 0.5
    points = {
        (float((row + half) * spacing_mm[0]), float(end * spacing_mm[1] + (row + half) * shear_mm))
        for row, ends in zip(rows, zip(first, last, strict=True), strict=True)
        for half in (-0.5, 0.5)
        for end in ends
    }
    ordered = sorted(points)
    hull = [*_half_hull(ordered), *_half_hull(ordered[::-1])]
    return np.array(hull, dtype=np.float64)


def polygon_area(vertices: FloatArray) -> float:
    """Area of a polygon (n, 2), in the square of its unit."""
    x, y = vertices[:, 0], vertices[:, 1]
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def _runs(mask: BoolArray) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Row, first column and the column past the last of each run along the columns, row by row."""
    change = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(change == 1)
    return rows, starts, np.nonzero(change == -1)[1]


def _root(parent: list[int], item: int) -> int:
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item


def _join(parent: list[int], first: int, second: int) -> None:
    a, b = _root(parent, first), _root(parent, second)
    parent[max(a, b)] = min(a, b)


def _half_hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """One half of the hull of sorted points, without its last vertex (Andrew's monotone chain)."""
    half: list[tuple[float, float]] = []
    for x, y in points:
        while len(half) > 1:
            (ax, ay), (bx, by) = half[-2], half[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            half.pop()
        half.append((x, y))
    return half[:-1]
