"""The ensemble as a whole: geometry, weights, votes, members that fail, memory that does not suffice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.models.ensemble.building import MONAI_GROUP, ZSCORE, blob_images, case_of, group, soft, write_bundle
from torch import Tensor, nn

from hope.domain.errors import BundleError, InputError, StageError
from hope.domain.progress import silent
from hope.models.bundle import Bundle
from hope.models.ensemble import engine, members
from hope.models.ensemble.engine import EnsembleRunner
from hope.models.ensemble.spec import Average, Outside, Tiling
from hope.models.execution import CompiledNetwork, Precision

SHAPE = (14, 12, 13)
IMAGES = blob_images(SHAPE)
PLAIN = Tiling((8, 8, 8))


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks run by torch: quick to load, and the same on every machine."""

    def compiled(
        network: nn.Module, channels: int, patch: Sequence[int], device: torch.device, precision: Precision, *more: Any
    ) -> CompiledNetwork:
        return CompiledNetwork(network.eval(), device, precision, "torch")

    monkeypatch.setattr(members, "compile_network", compiled)


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Three groups as published: nnU-Net, MedNeXt (0 outside of its crop), SwinUNETR."""
    groups = [
        group("nnunet", tiling=PLAIN, weight=0.330839468),
        group("mednext", tiling=replace(PLAIN, mean=Average.PROBABILITIES), weight=0.338249355, outside=Outside.ZERO),
        group("swinunetr", weight=0.330911177, **MONAI_GROUP),
    ]
    return write_bundle(tmp_path_factory.mktemp("trio"), groups)


def test_orientation_of_the_input_does_not_matter(trio: Bundle) -> None:
    runner = EnsembleRunner(trio, "cpu", "fp32")
    upright = runner.predict(case_of(IMAGES), silent)
    assert len(np.unique(upright.labels.data)) > 2, "a constant answer would prove nothing"
    for orientation in ("RAS", "AIL"):
        turned = runner.predict(case_of(IMAGES, orientation=orientation), silent)
        assert turned.labels.grid.orientation == orientation
        assert np.array_equal(turned.labels.reoriented("LPS").data, upright.labels.data)
        for reported, expected in (
            (turned.region_probability, upright.region_probability),
            (turned.agreement, upright.agreement),
        ):
            back = turned.labels.with_data(reported["TC"]).reoriented("LPS").data
            assert np.array_equal(back, expected["TC"])


def test_the_answer_is_the_weighted_mean_over_groups_and_their_folds(trio: Bundle, tmp_path: Path) -> None:
    whole = soft(EnsembleRunner(trio, "cpu", "fp32").predict(case_of(IMAGES), silent))
    expected = np.zeros_like(whole)
    for number, one in enumerate(trio.groups):
        for fold, member in enumerate(one.members):
            folder = tmp_path / f"{number}{fold}"
            single = replace(one, members=(member,), member_names=("alone",), weight=1.0)
            bundle = write_bundle(folder, [single], {member: _weights(trio, member)})
            alone = soft(EnsembleRunner(bundle, "cpu", "fp32").predict(case_of(IMAGES), silent))
            expected += one.weight / 2 * alone
    assert np.allclose(whole, expected / sum(one.weight for one in trio.groups), atol=2e-3)


def _weights(bundle: Bundle, member: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(bundle.folder / member)


def test_everything_about_the_answer(trio: Bundle) -> None:
    reported: list[tuple[str, float]] = []
    runner = EnsembleRunner(trio, "cpu", "fp32")
    prediction = runner.predict(case_of(IMAGES), lambda message, share: reported.append((message, share)))
    again = runner.predict(case_of(IMAGES), silent)
    assert prediction.labels.data.dtype == np.uint8 and np.array_equal(prediction.labels.data, again.labels.data)
    assert set(prediction.region_probability) == set(prediction.agreement) == {"ET", "NET", "CC", "ED", "TC", "WT"}
    shares = prediction.agreement["WT"]
    assert shares.dtype == np.float16 and shares.max() == 1 and len(np.unique(shares)) <= 64
    assert prediction.flags == () and prediction.missing == () and prediction.postprocess is None
    assert ("segment: nnunet fold 0, tile 3 of 8") in [message for message, _ in reported]
    assert sum(message.startswith("segment: prepare") for message, _ in reported) == 2, "two distinct preprocessings"
    assert [share for _, share in reported] == sorted(share for _, share in reported) and reported[-1][
        1
    ] == pytest.approx(1)
    assert runner.describe() == {
        "precision": "fp32",
        "backend": "torch",
        "remark": "",
        "device": "cpu",
        "mirroring": True,
        "members": 6,
    }


def test_monai_group_equals_monai(tmp_path: Path) -> None:
    from monai.inferers import sliding_window_inference
    from monai.transforms import NormalizeIntensity

    from hope.models.networks import build_network, load_state

    one = group(folds=1, **MONAI_GROUP)
    bundle = write_bundle(tmp_path, [one])
    got = soft(EnsembleRunner(bundle, "cpu", "fp32").predict(case_of(IMAGES), silent))
    network = build_network(one.architecture, one.arguments).eval()
    load_state(network, one.architecture, _weights(bundle, one.members[0]))
    x = NormalizeIntensity(nonzero=True, channel_wise=True)(torch.from_numpy(IMAGES.copy()))
    with torch.inference_mode():
        logits = sliding_window_inference(torch.as_tensor(x)[None], (8, 8, 8), 2, network, overlap=0.625)
    assert np.abs(got - logits[0].softmax(dim=0)[1:].numpy()).max() < 1e-3  # half precision of the answer


def test_a_missing_sequence_is_asked_for(trio: Bundle) -> None:
    full = case_of(IMAGES)
    images = {s: v for s, v in full.images.items() if s != "t2f"}
    with pytest.raises(InputError, match="t2f"):
        EnsembleRunner(trio, "cpu", "fp32").predict(replace(full, images=images), silent)


def test_a_damaged_or_foreign_member_is_named(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "a", [group()])
    (bundle.folder / "unet-1.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"unet-1\.safetensors is damaged"):
        EnsembleRunner(bundle, "cpu")
    other = write_bundle(tmp_path / "b", [group()])
    wider = {**group().arguments, "widths": [6, 8]}
    with pytest.raises(BundleError, match="unet fold 0 of model tiny cannot be loaded"):
        EnsembleRunner(replace(other, groups=(group(arguments=wider),)), "cpu")


class Scripted:
    """Stands for `compile_network`: networks that fail as they are told to, on a device that plays the GPU."""

    def __init__(self, fail: Any) -> None:
        self.fail, self.batches, self.released = fail, list[tuple[str, int]](), 0

    def __call__(
        self,
        network: nn.Module,
        channels: int,
        patch: Sequence[int],
        device: torch.device,
        precision: Precision,
        *more: Any,
    ) -> CompiledNetwork:
        def run(batch: Tensor) -> Tensor:
            self.batches.append((str(device), len(batch)))
            self.fail(str(device), len(batch))
            answer: Tensor = network.eval()(batch)
            return answer

        return CompiledNetwork(run, torch.device("cpu"), precision, "torch")


@pytest.fixture
def one_group(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path, [group()])


def run_on_gpu(bundle: Bundle, fail: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Scripted, list[str], Any]:
    """Predict with cpu:0 in the part of the GPU, which differs from cpu in name alone."""
    scripted, reported = Scripted(fail), list[str]()
    monkeypatch.setattr(members, "compile_network", scripted)
    monkeypatch.setattr(engine, "choose_device", lambda wanted: torch.device(wanted))
    runner = EnsembleRunner(bundle, "cpu:0", "fp32", batch=8)
    return runner.predict(case_of(IMAGES), lambda message, share: reported.append(message)), scripted, reported, runner


def out_of_memory(device: str, batch: int, most: int = 2) -> None:
    if device == "cpu:0" and batch > most:
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_too_large_batches_are_halved_and_it_is_said(one_group: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = EnsembleRunner(one_group, "cpu", "fp32").predict(case_of(IMAGES), silent)
    got, scripted, reported, _ = run_on_gpu(one_group, out_of_memory, monkeypatch)
    assert [n for _, n in scripted.batches[:3]] == [8, 4, 2]
    assert max(n for _, n in scripted.batches[3:]) == 2, "the smaller batch is kept for the next member"
    assert {device for device, _ in scripted.batches} == {"cpu:0"}
    assert [flag.code for flag in got.flags] == ["less_memory"] * 2
    assert "4 tiles at once instead of 8" in got.flags[0].reason
    assert any("2 tiles at once" in message for message in reported)
    assert np.mean(got.labels.data == expected.labels.data) > 0.999
    assert np.allclose(soft(got), soft(expected), atol=2e-3)


def test_at_one_tile_it_goes_to_the_cpu_and_comes_back_for_the_next_case(
    one_group: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = EnsembleRunner(one_group, "cpu", "fp32").predict(case_of(IMAGES), silent)
    tight = {"most": 0}
    got, scripted, reported, runner = run_on_gpu(
        one_group, lambda device, n: out_of_memory(device, n, tight["most"]), monkeypatch
    )
    assert runner.device == "cpu"
    assert [n for device, n in scripted.batches if device == "cpu:0"] == [8, 4, 2, 1, 1]
    assert "on the CPU" in got.flags[-1].reason and any("on the CPU" in message for message in reported)
    assert np.array_equal(got.labels.data, expected.labels.data)
    tight["most"] = 8
    calm = runner.predict(case_of(IMAGES), silent)
    assert runner.device == "cpu:0" and calm.flags == ()


def test_a_gpu_that_cannot_hold_the_networks_is_left_at_once(
    one_group: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(
        network: nn.Module, channels: int, patch: Any, device: torch.device, precision: Precision, *more: Any
    ) -> CompiledNetwork:
        if str(device) == "cpu:0":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return CompiledNetwork(network.eval(), device, precision, "torch")

    monkeypatch.setattr(members, "compile_network", compiled)
    monkeypatch.setattr(engine, "choose_device", lambda wanted: torch.device(wanted))
    runner = EnsembleRunner(one_group, "cpu:0", "fp32")
    assert runner.device == "cpu"
    assert "does not hold this model" in runner.predict(case_of(IMAGES), silent).flags[0].reason


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "host's memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] not enough memory"), "host's memory"),
        (MemoryError(), "host's memory"),
        (torch.OutOfMemoryError("out of memory"), "host's memory"),
        (RuntimeError("convolution went wrong"), "unet fold 0 failed: convolution went wrong"),
    ],
)
def test_failures_on_the_cpu_are_clear(
    one_group: Bundle, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(device: str, batch: int) -> None:
        raise error

    monkeypatch.setattr(members, "compile_network", Scripted(fail))
    with pytest.raises(StageError, match=sentence):
        EnsembleRunner(one_group, "cpu", "fp32").predict(case_of(IMAGES), silent)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            lambda x: torch.full((len(x), 5, 8, 8, 8), float("nan")),
            "unet fold 0 answers with values that are not finite",
        ),
        (lambda x: torch.zeros(len(x), 4, 8, 8, 8), "unet fold 0 answers a batch in the shape"),
    ],
)
def test_answers_that_cannot_be_used_fail_the_case(
    one_group: Bundle, monkeypatch: pytest.MonkeyPatch, answer: Any, sentence: str
) -> None:
    def compiled(
        network: nn.Module, channels: int, patch: Any, device: torch.device, precision: Precision, *more: Any
    ) -> CompiledNetwork:
        return CompiledNetwork(answer, device, precision, "torch")

    monkeypatch.setattr(members, "compile_network", compiled)
    with pytest.raises(StageError, match=sentence):
        EnsembleRunner(one_group, "cpu", "fp32").predict(case_of(IMAGES), silent)


def test_networks_that_do_not_fit_into_memory_together_take_turns(
    trio: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = EnsembleRunner(trio, "cpu", "fp32").predict(case_of(IMAGES), silent)
    monkeypatch.setattr(members, "RESIDENT_ON_CPU_BYTES", 0)
    runner = EnsembleRunner(trio, "cpu", "fp32")
    assert np.array_equal(runner.predict(case_of(IMAGES), silent).labels.data, expected.labels.data)
    assert not runner._members._ready


def test_voxels_outside_of_every_crop_are_background(tmp_path: Path) -> None:
    images = np.zeros((4, 20, 20, 20), np.float32)
    images[:, 5:15, 6:14, 4:16] = blob_images((10, 8, 12)) + 50
    bundle = write_bundle(tmp_path, [group(folds=1, outside=Outside.ZERO, preprocessing=ZSCORE)])
    prediction = EnsembleRunner(bundle, "cpu", "fp32").predict(case_of(images), silent)
    beyond = np.ones((20, 20, 20), bool)
    beyond[5:15, 6:14, 4:16] = False
    assert not prediction.labels.data[beyond].any() and prediction.labels.data.any()
    assert not prediction.region_probability["WT"][beyond].any()
    assert not prediction.agreement["WT"][beyond].any()
