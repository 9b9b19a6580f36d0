"""The published way to run an ensemble, one step per process, for `ensemble.py` to measure ours against.

What it does and in what order is public (a process per fold, each of which reads and prepares the case again and
leaves a compressed file of probabilities; a process that averages the files; one that looks at every component of the
labels on the whole volume). The code is ours; the work itself is done by the original libraries: nnU-Net's predictor
for nnU-Net and, with its network put in, for MedNeXt; MONAI's sliding window for SwinUNETR.

python benchmarks/published_flow.py STEP FOLDER [ARCHITECTURE FOLD] [--device cpu] [--no-mirroring]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

SEQUENCES = ("t1n", "t1c", "t2w", "t2f")


def main() -> None:
    """Do one step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=["fold", "ensemble", "components"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("architecture", nargs="?", default="")
    parser.add_argument("fold", nargs="?", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-mirroring", action="store_true")
    chosen = parser.parse_args()
    if chosen.step == "ensemble":
        ensemble(chosen.folder)
    elif chosen.step == "components":
        components(chosen.folder)
    elif chosen.architecture == "swinunetr":
        swinunetr(chosen.folder, chosen.fold, torch.device(chosen.device))
    else:
        nnunet(chosen.folder, chosen.architecture, chosen.fold, torch.device(chosen.device), not chosen.no_mirroring)


def nnunet(folder: Path, architecture: str, fold: int, device: torch.device, mirroring: bool) -> None:
    """One fold through nnU-Net's own predictor, files in and files out."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    on_gpu = device.type == "cuda"
    predictor = nnUNetPredictor(
        use_mirroring=mirroring, device=device, perform_everything_on_device=on_gpu, allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder / "nnunet"), (fold,), "checkpoint_final.pth")
    if architecture == "mednext":
        put_mednext(predictor, folder, fold)
    (folder / "out").mkdir(exist_ok=True)
    case = [str(folder / f"{s}.nii.gz") for s in SEQUENCES]
    predictor.predict_from_files_sequential([case], [str(folder / "out" / f"{architecture}-{fold}")], True)


def put_mednext(predictor: Any, folder: Path, fold: int) -> None:
    """MedNeXt in the place of the network that the predictor has loaded."""
    network, weights = network_of(
        folder, "mednext", folder / "mednext" / f"fold_{fold}" / "model_final_checkpoint.model"
    )
    network.load_state_dict(weights)
    predictor.network = network
    predictor.list_of_parameters = [weights]


def network_of(folder: Path, architecture: str, file: Path) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """A network that no installed library has as it was when it was published, and its weights from a checkpoint."""
    from hope.models.networks import arguments_of, build_network, convert_state

    checkpoint = torch.load(file, map_location="cpu", weights_only=False)
    published = checkpoint["model" if architecture == "swinunetr" else "state_dict"]
    arguments = arguments_of(architecture, published)
    network = build_network(architecture, arguments).eval()
    own = network.state_dict()
    return network, own | convert_state(architecture, arguments, published)


def swinunetr(folder: Path, fold: int, device: torch.device) -> None:
    """One fold through MONAI's sliding window over the whole volume."""
    from monai.inferers import sliding_window_inference
    from monai.transforms import NormalizeIntensity

    images = np.stack([np.asarray(nib.load(folder / f"{s}.nii.gz").dataobj, dtype=np.float32) for s in SEQUENCES])
    ready = torch.as_tensor(NormalizeIntensity(nonzero=True, channel_wise=True)(images))[None].to(device)
    file = folder / "swinunetr" / f"fold_{fold}" / "model.pt"
    network, weights = network_of(folder, "swinunetr", file)
    network.load_state_dict(weights)
    args = torch.load(file, map_location="cpu", weights_only=False)["args"]
    with torch.no_grad():
        logits = sliding_window_inference(
            ready, (args.roi_x, args.roi_y, args.roi_z), 1, network.to(device), args.infer_overlap
        )
        probabilities = logits.softmax(dim=1)[0].cpu().numpy()
    (folder / "out").mkdir(exist_ok=True)
    np.savez_compressed(folder / "out" / f"swinunetr-{fold}.npz", probabilities=probabilities)


def ensemble(folder: Path) -> None:
    """Average every file of probabilities, first over folds, then over architectures with equal weights."""
    facts = json.loads((folder / "problem.json").read_text())
    total = None
    for architecture in facts["architectures"]:
        files = [
            np.load(folder / "out" / f"{architecture}-{fold}.npz")["probabilities"] for fold in range(facts["folds"])
        ]
        mean = np.mean(files, axis=0)
        if architecture != "swinunetr":
            mean = mean.transpose(0, 3, 2, 1)
        total = mean if total is None else total + mean
    assert total is not None
    image = nib.load(folder / "t1n.nii.gz")
    labels = nib.Nifti1Image((total / len(facts["architectures"])).argmax(axis=0).astype(np.uint8), image.affine)
    nib.save(labels, folder / "out" / "labels.nii.gz")


def components(folder: Path) -> None:
    """Remove small components and rename rare labels, looking at the whole volume once for every component."""
    import cc3d

    facts = json.loads((folder / "rules.json").read_text())
    image = nib.load(folder / "drawn.nii.gz")
    labels = np.asarray(image.get_fdata())
    for label in (1, 2, 3, 4):
        found = cc3d.connected_components((labels == label).astype(np.uint8), connectivity=26)
        for number in range(1, int(found.max()) + 1):
            if (found == number).sum() < facts["minimum_voxels"].get(str(label), 0):
                labels[found == number] = 0
    nib.save(nib.Nifti1Image(labels, image.affine), folder / "out" / "components.nii.gz")
    labels = np.asarray(nib.load(folder / "out" / "components.nii.gz").get_fdata())
    for label, share in facts["redefine_below_share"].items():
        whole = (labels > 0).sum()
        if whole and (labels == int(label)).sum() / whole < share:
            labels[labels == int(label)] = 2
    nib.save(nib.Nifti1Image(labels, image.affine), folder / "out" / "final.nii.gz")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
