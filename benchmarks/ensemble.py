"""An ensemble's case: our engine in one process against the published flow, with the same weights on the same volume.

python benchmarks/ensemble.py [--networks nnunet,swinunetr] [--precision fp32,bf16] [--full] [--device cuda]

Without `--full` two small architectures of three folds label 128x128x96 voxels; with it all three of the published
sizes, five folds each, label 240x240x155. Weights are random, which does not matter for time, but makes near ties
common. `--only ours` leaves the published flow out; `--sparse` then puts tiles side by side, for those who want to
know our peak memory and not to wait. The components' step stands apart, and works on a drawn tumour: labels of random
weights are noise, on which the published flow would look far slower than it is.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from machine import machine
from problem import SEQUENCES, SMALL, draw_tumour, full_size, make_problem

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

GFLOP = {"nnunet": 966.0, "mednext": 488.0, "swinunetr": 1544.0}
"""Of one look at a tile of 128^3, for the published sizes."""


@dataclass
class Cost:
    """What processes took: seconds, and the largest of them in GiB."""

    wall: float = 0.0
    cpu: float = 0.0
    peak: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak))

    def __str__(self) -> str:
        return f"wall {self.wall:7.1f} s, CPU {self.cpu:7.1f} s, peak memory {self.peak:.2f} GiB"


def measured(*arguments: object) -> Cost:
    """Run a script of this folder as a process of its own.

    Linux says of a process that it held at least what its parent held when it began, so this one stays small.
    """
    start = time.perf_counter()
    command = [sys.executable, *(str(a) for a in arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "nnUNet_compile": "f"})
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"{command} failed"
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def import_networks(folder: Path, sparse: bool) -> None:
    """Turn the checkpoints into a bundle, as `hope models add` does, once and for all cases."""
    from hope.domain.case import HeadState
    from hope.models.bundle import write_manifest
    from hope.models.importers.assemble import import_bundle
    from hope.models.importers.choices import ImportChoices

    networks = json.loads((folder / "problem.json").read_text())["architectures"]
    choices = ImportChoices(SEQUENCES, HeadState.BRAIN, "none", dict.fromkeys(networks, 1.0))
    (folder / "bundle").mkdir()
    sources = [folder / name for name in networks]
    bundle = import_bundle(sources, "benchmark", choices, folder / "bundle", lambda *_: None)
    if sparse:
        groups = [{**g.to_json(), "tiling": {**g.to_json()["tiling"], "step": 1.0}} for g in bundle.groups]
        write_manifest(bundle.folder, {**bundle.manifest, "groups": groups})


def label_case(folder: Path, precision: str, device: str, mirroring: bool, full: bool) -> None:
    """Our flow in this process: read, predict, write. Leaves what it took beside the labels.

    Large pages and the collector's rest while loading are those of `hope segment`.
    """
    start = time.perf_counter()
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    gc.disable()
    atexit.register(gc.freeze)
    from hope.domain.case import SEQUENCES as ORDER
    from hope.domain.case import AlignedCase, HarmonizedCase, HeadState
    from hope.domain.progress import silent
    from hope.domain.transform import Transform
    from hope.domain.volume import Volume
    from hope.formats.nifti import read_scan, write_labels
    from hope.models.bundle import read_bundle
    from hope.models.ensemble.engine import EnsembleRunner

    runner = EnsembleRunner(read_bundle(folder / "bundle"), device, precision, mirroring)
    gc.enable()
    ready = time.perf_counter()
    images = {s: read_scan(folder / f"{s}.nii.gz", str(s))[0] for s in ORDER}
    grid = images[ORDER[0]].grid
    mask = Volume(images[ORDER[0]].data != 0, grid)
    aligned = AlignedCase(
        "benchmark", images, mask, HeadState.BRAIN, grid, ORDER[0], {s: Transform.identity() for s in ORDER}
    )
    prediction = runner.predict(HarmonizedCase(aligned, images), silent)
    write_labels(prediction.labels, folder / f"ours-{precision}.nii.gz")
    facts = {"loading": ready - start, "case": time.perf_counter() - ready, **runner.describe()}
    if full:
        facts["gflop"] = work_gflop(runner, HarmonizedCase(aligned, images), mirroring)
    if device == "cuda":
        import torch

        facts["gpu_gib"] = torch.cuda.max_memory_allocated() / 2**30
        facts["peak_tflops"] = matrix_peak_tflops()
    (folder / f"ours-{precision}.json").write_text(json.dumps(facts))


def work_gflop(runner: Any, case: Any, mirroring: bool) -> float:
    """Arithmetic of the case's networks, right for the published sizes only."""
    from hope.models.ensemble.preprocess import CaseImages, lay_out
    from hope.models.ensemble.window import plan_tiles

    images = CaseImages(case)
    return sum(
        GFLOP[group.architecture] * len(group.members)
        * plan_tiles(lay_out(images, group).shape, group.tiling, mirroring).evaluations
        for group in runner.bundle.groups
    )  # fmt: skip


def matrix_peak_tflops() -> float:
    """What the card's matrix units do in bf16 when nothing hinders them."""
    import torch

    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(20):
            a @ b
        torch.cuda.synchronize()
        best = max(best, 20 * 2 * 8192**3 / (time.perf_counter() - start) / 1e12)
    return best


def clean_case(folder: Path) -> None:
    """Our clean-up of the drawn tumour."""
    from hope.formats.nifti import read_labels, write_labels
    from hope.stages.postprocess.postprocess import apply_rules
    from hope.stages.postprocess.postprocess_rules import PostprocessRules

    outcome = apply_rules(read_labels(folder / "drawn.nii.gz"), PostprocessRules.by_name("hope-peds-2024"), 0)
    write_labels(outcome.labels, folder / "ours-final.nii.gz")


def voxels(path: Path) -> Any:
    """Labels as integers."""
    return np.asarray(nib.load(path).dataobj).astype(np.uint8)


def compare(folder: Path, chosen: argparse.Namespace) -> None:
    """Both flows, and what they took."""
    here, networks = Path(__file__), chosen.networks.split(",")
    flags = ["--device", chosen.device, *(["--no-mirroring"] if chosen.no_mirroring else [])]
    own = [*flags, *(["--sparse"] if chosen.sparse else [])]
    size = ["--full"] if chosen.full else []
    measured(here, "--part", "make", "--folder", folder, "--networks", chosen.networks, *size)
    facts = json.loads((folder / "problem.json").read_text())
    published = Cost()
    if chosen.only != "ours":
        for name in networks:
            cost = Cost()
            for fold in range(facts["folds"]):
                cost += measured(here.with_name("published_flow.py"), "fold", folder, name, fold, *flags)
            print(f"published, {name:<10} {cost}", flush=True)
            published += cost
        cost = measured(here.with_name("published_flow.py"), "ensemble", folder)
        print(f"published, from disk  {cost}")
        published += cost
        print(f"published flow        {published}", flush=True)
    print(f"import, once          {measured(here, '--part', 'import', '--folder', folder, *own)}", flush=True)
    for precision in chosen.precision.split(","):
        ours = measured(here, "--part", "ours", "--folder", folder, "--precision", precision, *flags, *size)
        reported = json.loads((folder / f"ours-{precision}.json").read_text())
        print(f"ours, {precision:<10}      {ours}; loading {reported['loading']:.1f} s, case {reported['case']:.1f} s;"
              f" {reported['backend']} {reported['precision']} {reported.get('remark', '')}")  # fmt: skip
        if published.wall:
            same = (voxels(folder / "out" / "labels.nii.gz") == voxels(folder / f"ours-{precision}.nii.gz")).mean()
            print(f"  {published.wall / ours.wall:.1f} times as fast, {published.cpu / ours.cpu:.1f} times less CPU;"
                  f" {100 * same:.3f} % of voxels have the same label", flush=True)  # fmt: skip
        if chosen.full:
            rate = reported["gflop"] / reported["case"] / 1000
            share = f", {100 * rate / reported['peak_tflops']:.0f} % of the card's" if "peak_tflops" in reported else ""
            print(f"  {rate:.2f} TFLOP/s{share}; GPU memory {reported.get('gpu_gib', 0):.1f} GiB", flush=True)
    ours = measured(here, "--part", "clean", "--folder", folder)
    print(f"components, ours      {ours}")
    if chosen.only != "ours":
        cost = measured(here.with_name("published_flow.py"), "components", folder)
        same = bool((voxels(folder / "out" / "final.nii.gz") == voxels(folder / "ours-final.nii.gz")).all())
        print(f"components, published {cost}; the same labels: {same}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", default="")
    parser.add_argument("--precision", default="fp32,bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--no-mirroring", action="store_true")
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--only", choices=["both", "ours"], default="both")
    parser.add_argument("--part", choices=["make", "import", "ours", "clean"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    chosen.networks = chosen.networks or ("nnunet,mednext,swinunetr" if chosen.full else "nnunet,swinunetr")
    if chosen.part == "make":
        size = full_size() if chosen.full else SMALL
        make_problem(chosen.folder, chosen.networks.split(","), size)
        draw_tumour(chosen.folder, size)
    elif chosen.part == "import":
        import_networks(chosen.folder, chosen.sparse)
    elif chosen.part == "ours":
        label_case(chosen.folder, chosen.precision, chosen.device, not chosen.no_mirroring, chosen.full)
    elif chosen.part == "clean":
        clean_case(chosen.folder)
    else:
        print(machine(), flush=True)
        with tempfile.TemporaryDirectory(prefix="hope-ensemble-") as folder:
            compare(Path(folder), chosen)


if __name__ == "__main__":
    main()
