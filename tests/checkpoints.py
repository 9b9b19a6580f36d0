"""Makers of random checkpoints in the file layouts of the published ensemble, for tests and benchmarks.

The layouts are those of nnU-Net v2 model folders, of MedNeXt (nnU-Net v1) folders, of SwinUNETR checkpoints, of a
pickled cluster model and of threshold files. Weights are random but seeded, and every normalisation has its own, so
that a swapped key changes the answer. Sizes are tiny unless a caller asks for those of ``NNUNET_SIZE``,
``MEDNEXT_SIZE`` and ``SWINUNETR_SIZE``; their keys and shapes are those listed in ../shared/golden.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Numbers = Sequence[int]

NNUNET_SIZE: dict[str, Any] = {"patch": (128, 128, 128), "features": (32, 64, 128, 256, 320, 320)}
"""Arguments of `make_nnunet_folder` for the published size: 31.2 million parameters."""
MEDNEXT_SIZE: dict[str, Any] = {
    "patch": (128, 128, 128),
    "width": 32,
    "expansion": (2, 3, 4, 4, 4, 4, 4, 3, 2),
    "blocks": (3, 4, 4, 4, 4, 4, 4, 4, 3),
}
"""Arguments of `make_mednext_folder` for MedNeXt-M with kernel 3: 17.55 million parameters."""
SWINUNETR_SIZE: dict[str, Any] = {"roi": (128, 128, 128), "feature_size": 48}
"""Arguments of `make_swinunetr_file` for the published size: 62.2 million parameters."""

CHANNELS = ("T1n", "T1c", "T2w", "T2f")
LABELS = ("background", "ET", "NET", "CC", "ED")


def random_like(state: Mapping[str, Tensor], seed: int) -> OrderedDict[str, Tensor]:
    """Fresh seeded values for every floating tensor; tensors that share memory go on sharing it."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[tuple[int, tuple[int, ...]], Tensor] = {}
    result: OrderedDict[str, Tensor] = OrderedDict()
    for key, tensor in state.items():
        if not tensor.is_floating_point():
            result[key] = tensor
            continue
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if place not in made:
            noise = torch.randn(tensor.shape, generator=generator)
            # Variance-preserving for matrices and kernels; near 1 for scales, near 0 for offsets.
            if tensor.ndim > 1:
                made[place] = noise * (1.4 / float(np.sqrt(max(1, tensor[0].numel()))))
            else:
                made[place] = 0.1 * noise + (1.0 if key.endswith("weight") else 0.0)
        result[key] = made[place]
    return result


# --- nnU-Net v2


def nnunet_arguments(
    features: Numbers, strides: Sequence[Numbers] | None = None, residual: bool = False
) -> dict[str, Any]:
    """``arch_kwargs`` as nnU-Net's planner writes them."""
    stages = len(features)
    blocks = "n_blocks_per_stage" if residual else "n_conv_per_stage"
    return {
        "n_stages": stages,
        "features_per_stage": list(features),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [list(s) for s in strides] if strides else [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
        blocks: [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def nnunet_network(arguments: Mapping[str, Any], channels: int, classes: int, residual: bool = False) -> nn.Module:
    """The original network, with the deep supervision heads that it is trained with."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

    named = {
        **arguments,
        "conv_op": nn.Conv3d,
        "norm_op": nn.InstanceNorm3d,
        "dropout_op": None,
        "nonlin": nn.LeakyReLU,
    }
    made: nn.Module = (ResidualEncoderUNet if residual else PlainConvUNet)(
        input_channels=channels, num_classes=classes, deep_supervision=True, **named
    )
    return made


def nnunet_plans(
    patch: Numbers,
    arguments: Mapping[str, Any],
    *,
    channels: int = 4,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    transpose: Numbers = (0, 1, 2),
    residual: bool = False,
    old: bool = False,
) -> dict[str, Any]:
    """plans.json; ``old`` gives the form of nnU-Net before 2.4 (UNet_class_name and its kin)."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration: dict[str, Any] = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [140.0, 171.0, 137.0],
        "spacing": list(spacing),
        "normalization_schemes": ["ZScoreNormalization"] * channels,
        "use_mask_for_norm": [True] * channels,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "batch_dice": False,
    }
    name = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    if old:
        configuration |= {
            "UNet_class_name": name,
            "UNet_base_num_features": arguments["features_per_stage"][0],
            "unet_max_num_features": max(arguments["features_per_stage"]),
            "n_conv_per_stage_encoder": arguments["n_blocks_per_stage" if residual else "n_conv_per_stage"],
            "n_conv_per_stage_decoder": arguments["n_conv_per_stage_decoder"],
            "num_pool_per_axis": [len(arguments["features_per_stage"]) - 1] * 3,
            "pool_op_kernel_sizes": arguments["strides"],
            "conv_kernel_sizes": arguments["kernel_sizes"],
        }
    else:
        configuration["architecture"] = {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
            "arch_kwargs": dict(arguments),
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }
    intensity = {"max": 900.0, "mean": 300.0, "median": 290.0, "min": 1.0, "percentile_00_5": 20.0}
    return {
        "dataset_name": "Dataset001_PEDS",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(spacing),
        "original_median_shape_after_transp": [140, 171, 137],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose),
        "transpose_backward": np.argsort(transpose).tolist(),
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(n): {**intensity, "percentile_99_5": 850.0, "std": 120.0} for n in range(channels)
        },
    }


def dataset_json(channels: Sequence[str] = CHANNELS, labels: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """dataset.json of nnU-Net v2."""
    return {
        "channel_names": {str(n): name for n, name in enumerate(channels)},
        "labels": dict(labels) if labels is not None else {name: n for n, name in enumerate(LABELS)},
        "numTraining": 261,
        "file_ending": ".nii.gz",
    }


def make_nnunet_folder(
    folder: Path,
    folds: Sequence[int | str] = (0, 1),
    *,
    patch: Numbers = (16, 16, 16),
    features: Numbers = (4, 8),
    strides: Sequence[Numbers] | None = None,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    transpose: Numbers = (0, 1, 2),
    channels: Sequence[str] = CHANNELS,
    labels: Mapping[str, Any] | None = None,
    mirror_axes: Numbers | None = (0, 1, 2),
    residual: bool = False,
    old: bool = False,
    seed: int = 0,
) -> Path:
    """Write a trained nnU-Net v2 model folder: plans.json, dataset.json, fold_N/checkpoint_final.pth.

    Args:
        folder: where; call it ``nnUNetTrainer__nnUNetPlans__3d_fullres`` to look like the original.
        folds: numbers, or "all".
        patch, spacing: in the order of the network's axes (z, y, x before ``transpose``).
        features: channels of each stage; their number is the number of stages.
        strides: of each stage; 2 everywhere but the first if not given.
        labels: of dataset.json; the four peds labels if not given.

    Returns:
        ``folder``.
    """
    arguments = nnunet_arguments(features, strides, residual)
    plans = nnunet_plans(
        patch, arguments, channels=len(channels), spacing=spacing, transpose=transpose, residual=residual, old=old
    )
    dataset = dataset_json(channels, labels)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans, indent=4))
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=4))
    classes = sum(name != "ignore" for name in dataset["labels"])
    state = nnunet_network(arguments, len(channels), classes, residual).state_dict()
    for number, fold in enumerate(folds):
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        checkpoint = {
            "network_weights": random_like(state, seed + number),
            "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.01}]},
            "grad_scaler_state": {"scale": 65536.0, "growth_factor": 2.0},
            "logging": {"ema_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(-0.1)], "lrs": [0.01]},
            "_best_ema": np.float64(0.5),
            "current_epoch": 1000,
            "init_args": {
                "plans": plans,
                "configuration": "3d_fullres",
                "fold": fold,
                "dataset_json": dataset,
                "device": torch.device("cpu"),
            },
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": None if mirror_axes is None else tuple(mirror_axes),
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


# --- MedNeXt (nnU-Net v1)


def mednext_shapes(
    channels: int, classes: int, width: int, expansion: Numbers, blocks: Numbers, kernel: int = 3
) -> dict[str, tuple[int, ...]]:
    """Every key of a published MedNeXt checkpoint, with its shape, in the order of the file."""
    shapes: dict[str, tuple[int, ...]] = {"dummy_tensor": (1,)}
    cube, point = (kernel,) * 3, (1,) * 3

    def conv(name: str, weight: tuple[int, ...], out: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = weight, (out,)

    def block(name: str, inside: int, out: int, ratio: int, shortcut: str = "") -> None:
        conv(f"{name}.conv1", (inside, 1, *cube), inside)
        conv(f"{name}.norm", (inside,), inside)
        conv(f"{name}.conv2", (ratio * inside, inside, *point), ratio * inside)
        conv(f"{name}.conv3", (out, ratio * inside, *point), out)
        if shortcut:
            # Upward shortcuts are transposed convolutions: input channels first.
            conv(f"{name}.res_conv", (inside, out, *point) if shortcut == "up" else (out, inside, *point), out)

    conv("stem", (width, channels, *point), width)
    for stage in range(4):
        size = width * 2**stage
        for n in range(blocks[stage]):
            block(f"enc_block_{stage}.{n}", size, size, expansion[stage])
        block(f"down_{stage}", size, 2 * size, expansion[stage + 1], "down")
    for n in range(blocks[4]):
        block(f"bottleneck.{n}", 16 * width, 16 * width, expansion[4])
    for stage in reversed(range(4)):
        size = width * 2**stage
        block(f"up_{stage}", 2 * size, size, expansion[8 - stage], "up")
        for n in range(blocks[8 - stage]):
            block(f"dec_block_{stage}.{n}", size, size, expansion[8 - stage])
    for stage in range(5):
        conv(f"out_{stage}.conv_out", (width * 2**stage, classes, *point), classes)
    return shapes


def mednext_plans(
    patch: Numbers, channels: int, classes: int, spacing: Sequence[float], transpose: Numbers = (0, 1, 2)
) -> dict[str, Any]:
    """The plans that nnU-Net v1 pickles, with numpy arrays where it has them."""
    return {
        "num_stages": 1,
        "num_modalities": channels,
        "modalities": dict(enumerate(("T1", "T1ce", "T2", "FLAIR")[:channels])),
        "normalization_schemes": OrderedDict((n, "nonCT") for n in range(channels)),
        "dataset_properties": {"intensityproperties": None, "all_classes": list(range(1, classes))},
        "original_spacings": [np.array([1.0, 1.0, 1.0])],
        "num_classes": classes - 1,
        "all_classes": list(range(1, classes)),
        "base_num_features": 32,
        "use_mask_for_norm": OrderedDict((n, True) for n in range(channels)),
        "transpose_forward": list(transpose),
        "transpose_backward": np.argsort(transpose).tolist(),
        "data_identifier": "nnUNetData_plans_v2.1_trgSp_1x1x1",
        "plans_per_stage": {
            0: {
                "batch_size": 2,
                "num_pool_per_axis": [5, 5, 5],
                "patch_size": np.array(patch),
                "median_patient_size_in_voxels": np.array([140, 171, 137]),
                "current_spacing": np.array(spacing, dtype=float),
                "original_spacing": np.array([1.0, 1.0, 1.0]),
                "do_dummy_2D_data_aug": False,
                "pool_op_kernel_sizes": [[2, 2, 2]] * 5,
                "conv_kernel_sizes": [[3, 3, 3]] * 6,
            }
        },
        "preprocessor_name": "GenericPreprocessor",
        "conv_per_stage": 2,
    }


def make_mednext_folder(
    folder: Path,
    folds: Sequence[int] = (0, 1),
    *,
    patch: Numbers = (16, 16, 16),
    width: int = 4,
    expansion: Numbers = (2,) * 9,
    blocks: Numbers = (1,) * 9,
    kernel: int = 3,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    transpose: Numbers = (0, 1, 2),
    channels: int = 4,
    classes: int = 5,
    plans: bool = True,
    seed: int = 100,
) -> Path:
    """Write a MedNeXt folder as nnU-Net v1 does: fold_N/model_final_checkpoint.model and .model.pkl.

    Args:
        plans: whether the .pkl holds them (older files of the published kind hold init and name alone).

    Returns:
        ``folder``.
    """
    shapes = mednext_shapes(channels, classes, width, expansion, blocks, kernel)
    for number, fold in enumerate(folds):
        place = folder / f"fold_{fold}"
        place.mkdir(parents=True, exist_ok=True)
        empty = {key: torch.empty(shape) for key, shape in shapes.items()}
        checkpoint = {
            "epoch": 1000,
            "state_dict": random_like(empty, seed + number),
            "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 0.001, "betas": (0.9, 0.999)}]},
            "lr_scheduler_state_dict": None,
            "plot_stuff": ([0.1], [0.2], [], [np.float64(0.5)]),
            "best_stuff": (np.float64(0.5), None, np.float64(0.4)),
            "amp_grad_scaler": {"scale": 65536.0},
        }
        torch.save(checkpoint, place / "model_final_checkpoint.model")
        about: OrderedDict[str, Any] = OrderedDict()
        about["init"] = ("plans_3D.pkl", fold, "out", "data", True, 0, True, False, True)
        about["name"] = "nnUNetTrainerV2_MedNeXt_M_kernel3"
        about["class"] = "<class 'nnUNetTrainerV2_MedNeXt_M_kernel3'>"
        if plans:
            about["plans"] = mednext_plans(patch, channels, classes, spacing, transpose)
        (place / "model_final_checkpoint.model.pkl").write_bytes(pickle.dumps(about))
    return folder


# --- SwinUNETR


def make_swinunetr_file(
    path: Path,
    *,
    roi: Numbers = (32, 32, 32),
    feature_size: int = 12,
    depths: Numbers = (2, 2, 2, 2),
    channels: int = 4,
    classes: int = 5,
    overlap: float = 0.625,
    wrapped: bool = True,
    seed: int = 200,
) -> Path:
    """Write one fold of SwinUNETR as {'model', 'args'} (``wrapped``) or as {'state_dict'}.

    Returns:
        ``path``.
    """
    from monai.networks.nets import SwinUNETR

    network = SwinUNETR(in_channels=channels, out_channels=classes, feature_size=feature_size, depths=tuple(depths))
    state = random_like(network.state_dict(), seed)
    args = argparse.Namespace(
        roi_x=roi[0], roi_y=roi[1], roi_z=roi[2], in_channels=channels, out_channels=classes, infer_overlap=overlap
    )
    args.feature_size, args.spatial_dims, args.use_checkpoint, args.logdir = feature_size, 3, True, Path("runs/swin")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state, "args": args} if wrapped else {"state_dict": state, "epoch": 1}, path)
    return path


def make_swinunetr_folder(folder: Path, folds: Sequence[int] = (0, 1), *, seed: int = 200, **sizes: Any) -> Path:
    """Write ``fold_N/model.pt`` for every fold; ``sizes`` as for `make_swinunetr_file`."""
    for number, fold in enumerate(folds):
        make_swinunetr_file(folder / f"fold_{fold}" / "model.pt", seed=seed + number, **sizes)
    return folder


# --- clusters and thresholds

CLUSTER_SIZES = (
    {4: 175},
    {1: 125, 3: 25, 4: 275},
    {2: 275, 3: 75, 4: 25},
    {1: 50, 3: 125, 4: 100},
    {4: 450},
    {2: 400, 3: 200, 4: 250},
    {1: 50, 4: 425},
    {2: 425, 3: 475, 4: 375},
    {1: 25, 2: 350, 3: 25},
)
"""Smallest component in voxels, by label, of each published cluster; 0 for the others."""
CLUSTER_SHARES = (
    {3: 0.15, 4: 0.45},
    {3: 0.95, 4: 0.2},
    {3: 0.85, 4: 0.25},
    {3: 0.25, 4: 0.15},
    {3: 0.05, 4: 0.8},
    {1: 0.05, 3: 0.95, 4: 0.5},
    {4: 0.4},
    {1: 0.05, 3: 0.05, 4: 0.75},
    {4: 0.05},
)
"""Share of the whole tumour below which a label becomes NET, by label, of each published cluster; 0 for the others."""


def make_threshold_files(folder: Path, clusters: int = 9) -> tuple[Path, Path]:
    """Write the two threshold files of the published form; component sizes first, then redefinitions."""
    numbers = range(clusters)
    sizes = {
        f"cluster_{c}": {f"label_{n}": {"th": CLUSTER_SIZES[c % 9].get(n, 0)} for n in (1, 2, 3, 4)} for c in numbers
    }
    shares = {
        f"cluster_{c}": {f"label_{n}": {"th": CLUSTER_SHARES[c % 9].get(n, 0.0), "redefine_to": 2} for n in (1, 3, 4)}
        for c in numbers
    }
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "thresholds_cc.json", folder / "thresholds_lblredef.json"
    for path, entries in zip(made, (sizes, shares), strict=True):
        path.write_text(json.dumps({"BraTS-PED": entries}))
    return made


def cluster_parts(features: int = 386, components: int = 9, clusters: int = 9, seed: int = 300) -> dict[str, Any]:
    """Fitted scikit-learn objects (normaliser, PCA, k-means) of random features."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import Normalizer

    values = np.random.default_rng(seed).normal(size=(max(40, 3 * components, 3 * clusters), features))
    normaliser = Normalizer("l2").fit(values)
    pca = PCA(components).fit(normaliser.transform(values))
    kmeans = KMeans(clusters, n_init=1, random_state=0).fit(pca.transform(normaliser.transform(values)))
    return {"normaliser": normaliser, "pca": pca, "kmeans": kmeans, "values": values}


def make_cluster_pickle(
    path: Path,
    names: Sequence[str],
    components: int = 9,
    clusters: int = 9,
    seed: int = 300,
    protocol: int | None = None,
) -> dict[str, Any]:
    """Pickle a cluster model of scikit-learn objects; return `cluster_parts` for comparison."""
    parts = cluster_parts(len(names), components, clusters, seed)
    artifact = {
        "normalizer": parts["normaliser"],
        "pca": parts["pca"],
        "kmeans": parts["kmeans"],
        "feature_names": list(names),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(artifact, protocol=protocol))
    return parts
