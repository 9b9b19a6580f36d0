"""How often each warning of intake is given on sound scans, and on scans made with the fault that it names.

    python benchmarks/intake_warnings.py POOL --cases DIRECTORY... --heads DIRECTORY...

POOL holds stripped volumes (npz, as benchmarks/pool.py), --cases are case directories as they are, --heads are raw
cases with the skull on (`hope synth`), which are also made smaller, tilted and thicker. Printed is a table: warning,
class, share of sound cases that get it, share of faulty ones that do.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from machine import machine
from pool import load
from scipy import ndimage

from hope.domain.case import MRSequence
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti import NiftiFacts, read_scan
from hope.stages.intake.case_finding import find_cases
from hope.stages.intake.intake import cautions
from hope.stages.intake.scan_reading import read_found, resolve

Scans = dict[MRSequence, Volume]
SOUND = NiftiFacts(0, 0, "float32", False, None)
T1N, T1C, T2W, T2F = MRSequence


def codes(scans: Scans, facts: Mapping[MRSequence, NiftiFacts] | None = None) -> dict[str, str]:
    """Code -> class of every doubt that is more than information."""
    known = facts or dict.fromkeys(scans, SOUND)
    return {f.code: str(f.severity) for f in cautions(scans, known) if str(f.severity) != "info"}


def case_scans(directory: Path) -> Scans:
    """All scans of a case directory; a single file is taken as a T1."""
    if directory.is_file():
        return {T1N: read_scan(directory, "t1n")[0]}
    (source,) = find_cases([directory], {})
    with tempfile.TemporaryDirectory() as scratch:
        return {s: read_found(f, Path(scratch), s)[0] for s, f in resolve(source, Path(scratch)).items()}


def varied(scan: Volume, size: float, tilt: float, thickness: int) -> Volume:
    """A head of another size, turned about its left-right axis, in slices of another thickness (2 mm voxels)."""
    canonical = scan.reoriented("RAS")
    zoom = [s / 2.0 for s in canonical.grid.spacing_mm]
    data = ndimage.zoom(canonical.data, zoom, order=1)
    if tilt:
        data = ndimage.rotate(data, tilt, axes=(1, 2), order=1, reshape=True)
    slices = data.shape[2] // thickness * thickness
    data = data[:, :, :slices].reshape(*data.shape[:2], -1, thickness).mean(axis=3)
    return Volume(data.astype(np.float32), Grid(data.shape, np.diag([2 * size, 2 * size, 2 * size * thickness, 1.0])))


def coarser(scan: Volume) -> Volume:
    """Every n-th voxel of an isotropic scan, so that none is finer than about 2.5 mm: to save time."""
    if max(scan.grid.spacing_mm) > 2:
        return scan
    step = [max(1, round(2.7 / s)) for s in scan.grid.spacing_mm]
    affine = np.array(scan.grid.affine_ras_mm)
    affine[:3, :3] *= step
    data = np.ascontiguousarray(scan.data[:: step[0], :: step[1], :: step[2]])
    return Volume(data, Grid(data.shape, affine))


def sound_cases(chosen: argparse.Namespace) -> Iterator[tuple[str, Scans]]:
    """Every sound input with its name."""
    for path in sorted(chosen.pool.glob("*.npz")):
        yield f"pool {path.stem}", dict(load(path, None)[0].images)
    for path in chosen.cases:
        yield f"case {path.name}", case_scans(path)
    for path in chosen.heads:
        scans = case_scans(path)
        yield f"head {path.name}", scans
        for size, tilt, thickness in ((0.66, 0, 1), (0.85, 12, 2), (1.0, -18, 1), (1.1, 8, 2)):
            name = f"head {path.name}, {size:g} times as large, {tilt} degrees, {2 * size * thickness:.1f} mm"
            yield name, {s: varied(v, size, tilt, thickness) for s, v in scans.items()}


def _on(scans: Scans, sequence: MRSequence, change: Callable[[Volume], Volume]) -> Scans:
    return {**scans, sequence: change(scans[sequence])}


def _cropped(scan: Volume, axis: int, low: float, high: float) -> Volume:
    canonical = scan.reoriented("RAS")
    shown = np.flatnonzero(
        (canonical.data > 0.1 * canonical.data.max()).any(axis=tuple(a for a in range(3) if a != axis))
    )
    first, last = int(shown[0]), int(shown[-1]) + 1
    start, stop = first + round(low * (last - first)), first + round(high * (last - first))
    begin, end = [0, 0, 0], list(canonical.data.shape)
    begin[axis], end[axis] = (start if low > 0 else 0), (stop if high < 1 else end[axis])
    box = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
    return Volume(canonical.data[box], canonical.grid.cropped((begin[0], begin[1], begin[2]), (end[0], end[1], end[2])))


def _clipped(scan: Volume) -> Volume:
    return scan.with_data(np.minimum(scan.data, np.percentile(scan.data[scan.data > 0], 97)))


def _coarse(scan: Volume) -> Volume:
    return scan.with_data(np.rint(scan.data / (scan.data.max() / 24)))


def _moved(scan: Volume) -> Volume:
    affine = np.array(scan.grid.affine_ras_mm)
    extent = np.ptp(scan.grid.corners_ras_mm(), axis=0)
    affine[0, 3] += 0.5 * extent[0]
    return Volume(scan.data, Grid(scan.grid.shape, affine))


def _like_native(scans: Scans) -> Scans:
    rng = np.random.default_rng(1)
    native = scans[T1N].data
    noise = rng.normal(0, 0.004 * float(native.max()), native.shape) * (native > 0)
    return {**scans, T1C: scans[T1N].with_data((native * 1.3 + noise).astype(np.float32))}


def _stripped(scan: Volume) -> Volume:
    data = scan.data
    centre = [n / 2 for n in data.shape]
    grid = np.meshgrid(
        *[(np.arange(n) - c) / (0.3 * n) for n, c in zip(data.shape, centre, strict=True)], indexing="ij"
    )
    return scan.with_data(np.where(sum(g**2 for g in grid) <= 1, np.maximum(data, 1), 0).astype(np.float32))


FAULTS: dict[str, tuple[str, str, Callable[[Scans], Scans]]] = {
    "saturated": ("all", "bright tissue cut off at its 97th percentile", lambda s: _on(s, T1C, _clipped)),
    "low_dynamic_range": ("all", "24 grey levels", lambda s: _on(s, T2W, _coarse)),
    "head_outside_field_of_view": (
        "all",
        "a fifth of the head cut off",
        lambda s: _on(s, T2W, lambda v: _cropped(v, 0, 0.2, 1)),
    ),
    "head_outside_field_of_view: forehead": (
        "all",
        "an eighth cut off in front",
        lambda s: _on(s, T1C, lambda v: _cropped(v, 1, 0, 0.875)),
    ),
    "head_outside_field_of_view: top": (
        "all",
        "the upper third cut off",
        lambda s: _on(s, T2F, lambda v: _cropped(v, 2, 0, 0.67)),
    ),
    "head_outside_field_of_view: slab": (
        "all",
        "a slab of a third",
        lambda s: _on(s, T1C, lambda v: _cropped(v, 2, 0.4, 0.73)),
    ),
    "t1_contrast_odd: same": ("all", "t1c is t1n, brighter and noisier", _like_native),
    "t1_contrast_odd or sequence_odd: swapped": (
        "pool",
        "t1n and t1c swapped",
        lambda s: {**s, T1N: s[T1C], T1C: s[T1N]},
    ),
    "small_overlap": ("heads", "one scan half a head aside", lambda s: _on(s, T2F, _moved)),
    "mixed_head_state": ("heads", "one scan stripped", lambda s: _on(s, T2W, _stripped)),
    "sequence_odd: t1c, t2f": ("pool", "t1c and t2f swapped", lambda s: {**s, T1C: s[T2F], T2F: s[T1C]}),
    "sequence_odd: t2w, t2f": ("pool", "t2w and t2f swapped", lambda s: {**s, T2W: s[T2F], T2F: s[T2W]}),
    "sequence_odd: t1n, t2w": ("pool", "t1n and t2w swapped", lambda s: {**s, T1N: s[T2W], T2W: s[T1N]}),
}


def codes_of(fault: str) -> set[str]:
    """The codes that name a fault: any of them is enough."""
    return set(fault.partition(":")[0].split(" or "))


def main() -> None:
    """Print both rates of every warning."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pool", type=Path)
    parser.add_argument("--cases", type=Path, nargs="*", default=[])
    parser.add_argument("--heads", type=Path, nargs="*", default=[])
    parser.add_argument("--faulty", type=int, default=24, help="faulty inputs of each kind")
    chosen = parser.parse_args()
    print(machine())
    given: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    found: Counter[str] = Counter()
    sound = 0
    for name, full in sound_cases(chosen):
        scans = {sequence: coarser(scan) for sequence, scan in full.items()}
        here = codes(scans)
        sound += 1
        given.update(list(here))
        if here:
            print(f"  sound, but {name}: {', '.join(here)}", flush=True)
        for fault, (kind, _, make) in FAULTS.items():
            if tried[fault] >= chosen.faulty or len(scans) < 4 or (kind == "heads") > name.startswith("head"):
                continue
            if kind == "pool" and not name.startswith("pool"):
                continue
            tried[fault] += 1
            found[fault] += not codes_of(fault).isdisjoint(codes(make(dict(scans))))
    print(f"\n{sound} sound cases")
    for fault, (_, what, _) in FAULTS.items():
        rate = f"{sum(given[code] for code in codes_of(fault))} of {sound}"
        print(f"  {fault:<40} sound {rate:<10} {what}: {found[fault]} of {tried[fault]}")


if __name__ == "__main__":
    main()
