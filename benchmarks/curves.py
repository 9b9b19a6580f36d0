"""How time and memory of `hope segment` grow with voxels and with the number of cases in one command.

    python benchmarks/curves.py voxels [--models starter,mixed] [--millions 0.5,1,2,4,8] [--made FOLDER]
    python benchmarks/curves.py cases [--models starter] [--counts 1,2,5,10,20,50] [--made FOLDER]

Each call runs in a process of its own. One synthetic head without its skull is laid on grids of finer and finer voxels.
`hope segment` calls a case preprocessed only on the atlas grid of 8.9 million voxels, so those grids are registered to
it; the preprocessed case itself, the same head, is measured beside them, and is the case that the second curve repeats.
An exponent is the slope of a straight line through the logarithms (`scaling.Curve`); the last two figures are those of
the straight line through the figures themselves: what a run costs whatever its size, and what each n adds. On a busy
machine wall time says nothing; CPU seconds say most, and memory all. FOLDER keeps the cases for the next call.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import machine
from scaling import Curve

SERIES, KIND = 880_021, "rim_enhancing"
ATLAS_MILLIONS = 240 * 240 * 155 / 1e6


@dataclass(frozen=True)
class Point:
    """One run of the command.

    Attributes:
        size: millions of voxels of a scan, or cases.
        wall, cpu: seconds.
        peak: GiB.
        stages: seconds of each stage, added over the cases.
    """

    size: float
    wall: float
    cpu: float
    peak: float
    stages: Mapping[str, float]


def make_cases(folder: Path, millions: Sequence[float]) -> None:
    """Write the head on each grid, and on the atlas's, as `head-<millions>/head-<millions>-t1n.nii.gz` and so on."""
    from hope.domain.grid import ATLAS_GRID, Grid
    from hope.domain.transform import Transform
    from hope.formats.nifti import write_scan
    from hope.stages.resample import resample
    from hope.synthesis.raw import preprocessed_case

    lacking = [size for size in (*millions, ATLAS_MILLIONS) if not (folder / _name(size)).is_dir()]
    images = preprocessed_case(SERIES, 0, KIND)[0] if lacking else {}
    for size in lacking:
        name = _name(size)
        (folder / name).mkdir(parents=True)
        grid = ATLAS_GRID
        if size != ATLAS_MILLIONS:
            edge = (ATLAS_MILLIONS / size) ** (1 / 3)
            shape = tuple(round(n / edge) for n in ATLAS_GRID.shape)
            affine = np.array(ATLAS_GRID.affine_ras_mm)
            affine[:3, :3] *= edge
            affine[:3, 3] = ATLAS_GRID.to_world(np.full(3, (edge - 1) / 2))
            grid = Grid((shape[0], shape[1], shape[2]), affine)
        for sequence, image in images.items():
            scan = resample(image, grid, Transform.identity(), "linear")
            write_scan(scan.with_data(np.rint(scan.data)), folder / name / f"{name}-{sequence}.nii.gz")


def _name(size: float) -> str:
    return f"head-{size:g}".replace(".", "p")


def repeat(case: Path, count: int, folder: Path) -> list[Path]:
    """The same case under ``count`` names."""
    cases = []
    for number in range(count):
        name = f"case-{number + 1:03d}"
        (folder / name).mkdir()
        for scan in case.iterdir():
            os.link(scan, folder / name / scan.name.replace(case.name, name))
        cases.append(folder / name)
    return cases


def run(size: float, cases: Sequence[Path], model: str) -> Point:
    """Run the command on these cases in a process of its own, and print what it took."""
    with tempfile.TemporaryDirectory(prefix="hope-curves-out-") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "hope.cli", "segment", *map(str, cases), "-o", out, "--model", model],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        assert os.waitstatus_to_exitcode(status) == 0, "hope segment failed"
        stages: dict[str, float] = {}
        results = list(Path(out).glob("*/result.json"))
        assert len(results) == len(cases), f"{len(results)} results of {len(cases)} cases"
        for result in results:
            for stage in json.loads(result.read_text())["stages"]:
                stages[stage["name"]] = stages.get(stage["name"], 0) + stage["seconds"]
    # ru_maxrss is at least what this process held when it started the other, so nothing large is ever loaded here.
    point = Point(size, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20, stages)
    print(f"{size:10g} {_row(point)}", flush=True)
    return point


def count_cases(folder: Path, counts: Sequence[int], model: str) -> list[Point]:
    """The preprocessed case, so often in one command."""
    points = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="cases-", dir=folder) as cases:
            points.append(run(count, repeat(folder / _name(ATLAS_MILLIONS), count, Path(cases)), model))
    return points


def head(title: str, unit: str) -> None:
    """What the rows below are."""
    print(f"{title}\n{unit:>10}   wall s    CPU s  peak GiB  stages, s", flush=True)


def show(points: Sequence[Point]) -> None:
    """The exponents."""
    curve = [p for p in points if p.size != ATLAS_MILLIONS]
    if len(curve) < 3:
        return
    sizes = [p.size for p in curve]
    series = {
        "wall": [p.wall for p in curve],
        "CPU": [p.cpu for p in curve],
        "peak": [p.peak for p in curve],
        **{name: [p.stages[name] for p in curve] for name in curve[0].stages},
    }
    for name, values in series.items():
        if min(values) > 0:
            one = Curve(name, tuple(sizes), tuple(values))
            print(f"  {one.line()}; {one.rate[0]:.2f} + {one.rate[1]:.3f} n", flush=True)


def _row(p: Point) -> str:
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in p.stages.items())
    return f"{p.wall:8.1f} {p.cpu:8.1f} {p.peak:9.2f}  {stages}"


def main() -> None:
    """Measure one curve for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("curve", choices=["voxels", "cases"])
    parser.add_argument("--models", default="")
    parser.add_argument("--millions", default="0.5,1,2,4,8")
    parser.add_argument("--counts", default="1,2,5,10,20,50")
    parser.add_argument("--made", type=Path, help="keeps the cases")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    millions = [float(n) for n in chosen.millions.split(",")] if chosen.curve == "voxels" else []
    if chosen.make:
        make_cases(chosen.make, millions)
        return
    print(machine(), f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}", flush=True)
    models = (chosen.models or ("starter,mixed" if millions else "starter")).split(",")
    with tempfile.TemporaryDirectory(prefix="hope-curves-") as scratch:
        folder = chosen.made or Path(scratch)
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--make", folder], check=True)
        for model in models:
            if millions:
                head(f"{model}: registered to the atlas; last, preprocessed on it", "million")
                show([run(n, [folder / _name(n)], model) for n in (*millions, ATLAS_MILLIONS)])
            else:
                head(f"{model}: preprocessed cases in one command", "cases")
                show(count_cases(folder, [int(n) for n in chosen.counts.split(",")], model))


if __name__ == "__main__":
    main()
