"""A case on a GPU: seconds, share of the matrix peak and memory, for the starter and for 15 full-size networks.

    python benchmarks/gpu.py                         (or: make gpu)
    python benchmarks/gpu.py --device cpu --small    the same in small: tiny networks, a tiny case

Weights are random, made where it runs from a seed, and the case is a head of noise; time depends on neither. Arithmetic
is counted by torch.utils.flop_counter: over a whole case of the starter, over one tile of each architecture and then
multiplied by how often it is asked. The peak is a product of two large matrices in the same run. Of the published flow
(`published_flow.py`) one fold of each architecture is run, by itself as it would be, and multiplied by the folds.

It takes this tree, torch, numpy, scipy and safetensors; which further libraries a part needs stands in `NEEDED`, and a
part that lacks one says so. What it would begin after `--limit` seconds it leaves out, and says so too.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
# The published flow runs in processes of its own.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])

ARCHITECTURES = ("nnunet", "mednext", "swinunetr")
NEEDED: Mapping[str, tuple[str, ...]] = {
    "starter": ("scipy", "safetensors", "cc3d"),
    "ensemble": ("scipy", "safetensors", "nibabel", "dynamic_network_architectures", "monai"),
    "nnunet": ("nnunetv2",),
    "mednext": ("nnunetv2",),
    "swinunetr": ("monai", "nibabel"),
}
"""Modules that a part imports beside this tree, torch and numpy; of an architecture those of its published flow."""


class Report:
    """Runs the parts in order, each if its libraries are there and time is left.

    Args:
        device: cuda or cpu.
        limit: seconds after which nothing is begun.
        times: how often a case is run; the first run of a process also chooses its algorithms.
    """

    def __init__(self, device: torch.device, limit: float, times: int = 1) -> None:
        self.device, self.times = device, times
        self._begun, self._limit = time.perf_counter(), limit

    def part(self, name: str, libraries: str, work: Callable[[], None]) -> None:
        """Do one part, or say why not."""
        lacking = [module for module in NEEDED[libraries] if importlib.util.find_spec(module) is None]
        taken = time.perf_counter() - self._begun
        if lacking:
            print(f"{name}: not measured, these libraries are missing: {', '.join(lacking)}", flush=True)
        elif taken > self._limit:
            print(f"{name}: not measured, {taken:.0f} s are gone (limit {self._limit:.0f} s)", flush=True)
        else:
            work()

    @contextmanager
    def watched(self) -> Iterator[dict[str, float]]:
        """Seconds of what is done inside, and GiB: the most that tensors took on the GPU, or the process on the CPU."""
        found: dict[str, float] = {}
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        yield found
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        found["seconds"] = time.perf_counter() - start
        found["gib"] = torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else _process_peak()

    def repeated(self, work: Callable[[], object]) -> list[dict[str, float]]:
        """What is `watched` of each of several runs."""
        runs = []
        for _ in range(self.times):
            with self.watched() as run:
                work()
            runs.append(run)
        return runs


def _process_peak() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def matrix_peak(device: torch.device, kind: torch.dtype, edge: int) -> float:
    """TFLOP/s of a product of two random square matrices: the best of five rounds."""
    a, b = (torch.randn(edge, edge, device=device).to(kind) for _ in range(2))
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    best, times = 0.0, 20 if device.type == "cuda" else 1
    for _ in range(5):
        wait()
        start = time.perf_counter()
        for _ in range(times):
            a @ b
        wait()
        best = max(best, times * 2 * edge**3 / (time.perf_counter() - start) / 1e12)
    return best


def tflop_of(work: Callable[[], Any]) -> float:
    """TFLOP of matrix products, convolutions and attention that torch does in ``work``."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e12


def say(name: str, loading: float, runs: list[dict[str, float]], tflop: float, peak: float, more: str = "") -> None:
    """One part's figures; the rate is that of its fastest run."""
    best = min(run["seconds"] for run in runs)
    each = ", ".join(f"{run['seconds']:.2f}" for run in runs)
    print(
        f"{name}: loading {loading:.1f} s, case {each} s; {tflop:.4g} TFLOP, {tflop / best:.3g} TFLOP/s, "
        f"{100 * tflop / best / peak:.0f} % of the matrix peak; memory {max(run['gib'] for run in runs):.2f} GiB{more}",
        flush=True,
    )


def case_of(images: Mapping[str, Any]) -> Any:
    """A case as the segment stage gets it, from arrays on one grid."""
    from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase
    from hope.domain.grid import Grid
    from hope.domain.volume import Volume

    shape = next(iter(images.values())).shape
    grid = Grid((shape[0], shape[1], shape[2]), np.diag([-1.0, -1.0, 1.0, 1.0]))
    volumes = {s: Volume(images[str(s)], grid) for s in SEQUENCES}
    mask = Volume(np.any([image != 0 for image in images.values()], axis=0), grid)
    return HarmonizedCase(AlignedCase.in_place("benchmark", volumes, mask), volumes)


def starter(report: Report, case: Any, peak: float) -> None:
    """The starter model, in fp32 as it always runs."""
    from hope.domain.progress import silent
    from hope.models.bundle import BUNDLED, read_bundle
    from hope.models.runtime import BundleRunner

    start = time.perf_counter()
    runner = BundleRunner(read_bundle(BUNDLED / "starter"), report.device.type)
    loading = time.perf_counter() - start
    runs = report.repeated(lambda: runner.predict(case, silent))
    say("starter, fp32", loading, runs, tflop_of(lambda: runner.predict(case, silent)), peak)


def ensemble(report: Report, folder: Path, case: Any, peak: float) -> None:
    """Every architecture with all its folds and with mirroring, imported from checkpoints as `hope models add` does."""
    from ensemble import import_networks

    from hope.domain.progress import silent
    from hope.models.bundle import read_bundle
    from hope.models.ensemble.engine import EnsembleRunner
    from hope.models.ensemble.preprocess import CaseImages, lay_out
    from hope.models.ensemble.window import plan_tiles
    from hope.models.networks import build_network

    start = time.perf_counter()
    import_networks(folder, sparse=False)
    print(f"import of the checkpoints, once: {time.perf_counter() - start:.1f} s", flush=True)
    bundle = read_bundle(folder / "bundle")
    images, tflop = CaseImages(case), 0.0
    for group in bundle.groups:
        network = build_network(group.architecture, group.arguments).eval().to(report.device)
        tile = torch.zeros(1, len(group.channels), *group.tiling.patch, device=report.device)
        with torch.inference_mode():
            one = tflop_of(lambda network=network, tile=tile: network(tile))  # type: ignore[misc]
        plan = plan_tiles(lay_out(images, group).shape, group.tiling, mirroring=True)
        tflop += one * plan.evaluations * len(group.members)
        print(f"  {group.name}: {1000 * one:.4g} GFLOP a tile, {len(plan.places)} tiles seen {len(plan.flips)} times, "
              f"{len(group.members)} networks", flush=True)  # fmt: skip
        del network, tile
    start = time.perf_counter()
    runner = EnsembleRunner(bundle, report.device.type)
    loading = time.perf_counter() - start
    runs = report.repeated(lambda: runner.predict(case, silent))
    facts = runner.describe()
    say(f"{facts['members']} networks, {facts['precision']}, mirrored", loading, runs, tflop, peak,
        f"; {facts['backend']} {facts['remark']}".rstrip())  # fmt: skip


def published(report: Report, folder: Path, architecture: str, folds: int) -> None:
    """One fold of the published flow, in a process of its own."""
    from ensemble import measured

    flow = Path(__file__).with_name("published_flow.py")
    wall = measured(flow, "fold", folder, architecture, 0, "--device", report.device.type).wall
    print(f"published flow, {architecture}: one fold {wall:.1f} s, so {folds} folds {folds * wall:.0f} s", flush=True)


def all_networks(report: Report, folder: Path, case: Any, peak: float, networks: list[str], size: Any) -> None:
    """Checkpoints, our engine, and the published flow on the same files."""
    from problem import make_problem

    start = time.perf_counter()
    make_problem(folder, networks, size)
    print(f"checkpoints made: {time.perf_counter() - start:.1f} s", flush=True)
    ensemble(report, folder, case, peak)
    for name in networks:
        report.part(f"published flow, {name}", name, partial(published, report, folder, name, size.folds))


def describe(device: torch.device) -> str:
    """The device and the versions in words."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{name}, torch {torch.__version__}, Python {platform.python_version()}"


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny networks and a tiny case")
    parser.add_argument("--networks", default=",".join(ARCHITECTURES))
    parser.add_argument("--limit", type=float, default=330, help="seconds after which no part is begun")
    chosen = parser.parse_args(arguments)
    device, networks = torch.device(chosen.device), chosen.networks.split(",")
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA GPU can be used here; --device cpu --small tries the command without one")
    report = Report(device, chosen.limit, 1 if chosen.small else 2)
    print(describe(device), flush=True)
    edge = 8192 if device.type == "cuda" else 512
    peak = {kind: matrix_peak(device, kind, edge) for kind in (torch.float32, torch.bfloat16)}
    print(", ".join(f"matrix peak {kind}: {rate:.2f} TFLOP/s" for kind, rate in peak.items()), flush=True)
    exact, fast = peak[torch.float32], peak[torch.bfloat16 if device.type == "cuda" else torch.float32]
    with tempfile.TemporaryDirectory(prefix="hope-gpu-") as name:
        folder = Path(name)
        from problem import TINY, full_size, make_images

        size = TINY if chosen.small else full_size()
        case = case_of(dict(make_images(size)))
        report.part("starter", "starter", lambda: starter(report, case, exact))
        report.part("ensemble", "ensemble", lambda: all_networks(report, folder, case, fast, networks, size))


if __name__ == "__main__":
    main()
