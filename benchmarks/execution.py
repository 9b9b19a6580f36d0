"""How fast one tile is in every way that a network can be run here, and what a coarser precision does to labels.

    python benchmarks/execution.py [--edge 64] [--device cpu] [--networks nnunet,mednext,swinunetr]
    python benchmarks/execution.py --trained POOL      (labels of the starter model on the pool's steering half)

Speed is taken on random weights of the published sizes, each way in a process of its own; labels on trained weights,
because random ones are full of near ties. POOL is a directory as for `pool.py`.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine

from hope.domain.labels import REGIONS
from hope.models import execution
from hope.models.devices import choose_device
from hope.models.execution import CompiledNetwork, Precision, compile_network
from hope.models.networks import build_network

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PUBLISHED: dict[str, dict[str, Any]] = {
    "mednext": {
        "channels": 4,
        "classes": 5,
        "width": 32,
        "expansion": [2, 3, 4, 4, 4, 4, 4, 3, 2],
        "blocks": [3, 4, 4, 4, 4, 4, 4, 4, 3],
        "kernel": 3,
    },
    "swinunetr": {
        "channels": 4,
        "classes": 5,
        "feature_size": 48,
        "depths": [2, 2, 2, 2],
        "heads": [3, 6, 12, 24],
        "window": 7,
    },
}


def published(architecture: str, seed: int) -> torch.nn.Module:
    """A network of the published size with random weights."""
    from tests.checkpoints import nnunet_arguments, random_like

    arguments = PUBLISHED.get(architecture) or {
        "class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "kwargs": nnunet_arguments((32, 64, 128, 256, 320, 320)),
        "channels": 4,
        "classes": 5,
    }
    network = build_network(architecture, arguments).eval().requires_grad_(False)
    network.load_state_dict(random_like(network.state_dict(), seed))
    return network


def memory(key: str) -> float:
    """VmRSS (now) or VmHWM (peak) of this process in GiB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) / 2**20


def one_way(architecture: str, edge: int, device: str, backend: str, precision: Precision) -> None:
    """Two folds one after the other, and a tile of each."""
    where, graph = choose_device(device), None
    tile = torch.randn(1, 4, edge, edge, edge, generator=torch.Generator().manual_seed(1)).to(where)
    said = f"{architecture:<10}{edge}^3 {backend:<9}{precision}"
    for seed in (0, 1):
        network = published(architecture, seed)
        start, start_cpu = time.perf_counter(), time.process_time()
        if backend == "torch":
            forward = CompiledNetwork(execution._TorchRun(network, where, precision), where, precision)
        else:
            forward = compile_network(network, 4, (edge,) * 3, where, precision, graph)
            graph = forward.graph
        del network
        compiling, compiling_cpu = time.perf_counter() - start, time.process_time() - start_cpu
        times = [timed(forward, tile) for _ in range(3)]
        wall, cpu = min(t[0] for t in times), min(t[1] for t in times)
        print(f"{said}  fold {seed}: ready after {compiling:6.1f} s (CPU {compiling_cpu:.1f}), tile {wall:6.2f} s"
              f" (CPU {cpu:.2f}), memory {memory('VmRSS'):.2f}, peak {memory('VmHWM'):.2f} GiB {forward.note}",
              flush=True)  # fmt: skip
        forward.release()
        gc.collect()


def timed(forward: CompiledNetwork, tile: torch.Tensor) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    start, start_cpu = time.perf_counter(), time.process_time()
    forward(tile)
    if forward.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - start_cpu


def dice(one: np.ndarray, two: np.ndarray) -> float:
    """Overlap of two masks; two empty ones agree."""
    return float(2 * (one & two).sum() / (one.sum() + two.sum())) if one.any() or two.any() else 1.0


def on_trained_weights(pool: Path) -> None:
    """The starter model in fp32 and in coarser numbers: labels against each other and against the truth."""
    from pool import load

    from hope.domain.progress import silent
    from hope.models.bundle import read_bundle
    from hope.models.runtime import BundleRunner

    starter = Path(execution.__file__).parents[1] / "resources" / "models" / "starter"
    runner = BundleRunner(read_bundle(starter), "cpu")
    plain = runner._network
    patch, cpu = runner.bundle.patch, torch.device("cpu")
    ways: dict[str, Any] = {"torch fp32": plain}
    for precision in (Precision.FP32, Precision.BF16):
        again = BundleRunner(read_bundle(starter), "cpu")._network
        ways[f"openvino {precision}"] = compile_network(again, len(runner.bundle.sequences), patch, cpu, precision)
    ways["torch bf16"] = CompiledNetwork(execution._TorchRun(plain, cpu, Precision.BF16), cpu, Precision.BF16)
    found: dict[str, list[list[float]]] = {way: [] for way in ways}
    changed: dict[str, list[float]] = {way: [] for way in ways}
    for path in sorted(pool.glob("*.npz"))[::2]:
        case, truth = load(path, None)
        labels = {}
        for way, network in ways.items():
            runner._network = network
            labels[way] = np.asarray(runner.predict(case, silent).labels.data)
            against = [labels["torch fp32"]] + ([truth.data] if truth.data.any() else [])
            regions = [np.isin(labels[way], REGIONS[r]) for r in ("ET", "TC", "WT")]
            theirs = [np.isin(against[0], REGIONS[r]) for r in ("ET", "TC", "WT")]
            wt_truth = dice(regions[2], against[-1] > 0)
            found[way].append([*(dice(a, b) for a, b in zip(regions, theirs, strict=True)), wt_truth])
            changed[way].append(float((labels[way] != labels["torch fp32"])[labels["torch fp32"] > 0].mean()))
        print(path.stem, flush=True)
    print("way             ET / TC / WT Dice to fp32: mean (least)                    WT Dice to truth  labels changed")
    for way, values in found.items():
        table = np.array(values)
        spans = "  ".join(f"{m:.5f} ({low:.5f})" for m, low in zip(table.mean(0)[:3], table.min(0)[:3], strict=True))
        print(f"{way:<15} {spans}  {table[:, 3].mean():.5f}           {100 * np.mean(changed[way]):.3f} %")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edge", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", default="nnunet,mednext,swinunetr")
    parser.add_argument("--trained", type=Path)
    parser.add_argument("--way", nargs=3, metavar=("NETWORK", "BACKEND", "PRECISION"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.way:
        architecture, backend, precision = chosen.way
        one_way(architecture, chosen.edge, chosen.device, backend, Precision(precision))
        return
    print(machine(), f"{torch.get_num_threads()} threads", flush=True)
    if chosen.trained:
        on_trained_weights(chosen.trained)
        return
    backends = ("torch",) if chosen.device == "cuda" else ("torch", "openvino")
    for architecture in chosen.networks.split(","):
        for backend in backends:
            for precision in (Precision.FP32, Precision.BF16):
                way = ["--way", architecture, backend, precision, "--edge", str(chosen.edge), "--device", chosen.device]
                subprocess.run([sys.executable, __file__, *way], check=True)


if __name__ == "__main__":
    main()
