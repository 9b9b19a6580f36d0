"""Left and right, the order of axes and of channels: an imported network of known weights, with a known answer.

A flipped mask is the worst fault that a segmenter can have, and one that equal probabilities on symmetrical data would
not show. Here every weight is set by hand: each class answers to one channel, so the right label of every voxel is
known.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.checkpoints import make_nnunet_folder
from tests.unit.models.ensemble.building import case_of
from torch import Tensor

from hope.adapters.predict_local import LocalPredictor
from hope.domain.errors import StageError
from hope.domain.progress import silent
from hope.models.registry import ModelRegistry

SHAPE = (22, 18, 14)
BLOBS = {
    "t1n": (slice(2, 6), slice(3, 6), slice(2, 4)),
    "t1c": (slice(14, 19), slice(2, 5), slice(3, 6)),
    "t2w": (slice(3, 7), slice(11, 16), slice(9, 12)),
    "t2f": (slice(12, 17), slice(9, 13), slice(5, 11)),
}
"""Where each sequence is bright, in voxels x, y, z of an LPS grid: no two are mirror images of each other."""
FILE_CHANNELS = ("T2f", "T1n", "T2w", "T1c")
"""The order in which the network wants its channels; not ours."""
LABEL_OF = {"t2f": 1, "t1n": 2, "t2w": 3, "t1c": 4}


def images() -> npt.NDArray[np.float32]:
    """Four channels (4, x, y, z) in LPS order: 1 everywhere, 100 in the channel's own box."""
    made = np.ones((4, *SHAPE), dtype=np.float32)
    for image, box in zip(made, BLOBS.values(), strict=True):
        image[box] = 100
    return made


def known_answer(shift: tuple[int, int, int] = (0, 0, 0)) -> npt.NDArray[np.uint8]:
    """The labels in LPS order, moved by voxels of x, y, z."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for sequence, box in BLOBS.items():
        labels[tuple(slice(p.start + n, p.stop + n) for p, n in zip(box, shift, strict=True))] = LABEL_OF[sequence]
    return labels


def hand_made(weights: dict[str, Tensor], tap: tuple[int, int, int]) -> None:
    """Let class n + 1 be channel n (bright or not), seen at ``tap`` from the voxel along the network's own axes."""
    a, b, c = (n + 1 for n in tap)
    for name, tensor in weights.items():
        tensor.zero_()
        name = name.removeprefix("decoder.") if name.startswith("decoder.encoder.") else name  # a second name
        parts = name.split(".")
        if "norm" in name or parts[-2] == "1":
            tensor.fill_(1.0 if name.endswith("weight") else 0.0)
        elif name.startswith("encoder.stages.0") and name.endswith("weight"):
            first = ".convs.0." in name
            place = (a, b, c) if first else (1, 1, 1)
            for n in range(4):
                tensor[(n, n, *place)] = 1.0
        elif name.startswith("decoder.stages.0") and name.endswith("weight"):
            # The first convolution sees what came up (zeros) and then the skip.
            start = 4 if ".convs.0." in name else 0
            for n in range(4):
                tensor[n, start + n, 1, 1, 1] = 1.0
        elif name.startswith("decoder.seg_layers.0"):
            if name.endswith("weight"):
                for n in range(4):
                    tensor[n + 1, n, 0, 0, 0] = 1.0
            else:
                tensor[0] = 0.5


def imported(folder: Path, tap: tuple[int, int, int], transpose: tuple[int, int, int]) -> LocalPredictor:
    source = make_nnunet_folder(
        folder / "source", (0,), patch=(8, 12, 16), channels=FILE_CHANNELS, transpose=transpose,
        mirror_axes=None if any(tap) else (0, 1, 2),
    )  # fmt: skip
    path = source / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    hand_made(checkpoint["network_weights"], tap)
    torch.save(checkpoint, path)
    return LocalPredictor(ModelRegistry(folder / "models").add_published([source], "known"), "cpu")


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR"])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (1, 2, 0)])
def test_every_label_lies_where_its_own_sequence_is_bright(
    transpose: tuple[int, int, int], orientation: str, tmp_path: Path
) -> None:
    """With all mirrorings and many tiles, in a case of any orientation."""
    answer = imported(tmp_path, (0, 0, 0), transpose).predict(case_of(images(), orientation=orientation), silent)
    assert answer.labels.grid.orientation == orientation
    assert np.array_equal(answer.labels.reoriented("LPS").data, known_answer())


@pytest.mark.parametrize(
    ("tap", "transpose", "moved"),
    [
        # A kernel that looks one voxel ahead finds what is bright one voxel before it is. Axes: (z, y, x) of LPS.
        ((1, 0, 0), (0, 1, 2), (0, 0, -1)),
        ((0, 1, 0), (0, 1, 2), (0, -1, 0)),
        ((0, 0, 1), (0, 1, 2), (-1, 0, 0)),
        # The plans' transpose_forward (1, 2, 0) makes that (y, x, z).
        ((1, 0, 0), (1, 2, 0), (0, -1, 0)),
        ((0, 1, 0), (1, 2, 0), (-1, 0, 0)),
        ((0, 0, 1), (1, 2, 0), (0, 0, -1)),
    ],
)
def test_the_network_sees_the_axes_as_in_the_files_it_was_trained_on(
    tap: tuple[int, int, int], transpose: tuple[int, int, int], moved: tuple[int, int, int], tmp_path: Path
) -> None:
    answer = imported(tmp_path, tap, transpose).predict(case_of(images(), orientation="RAS"), silent)
    inner = (slice(1, -1),) * 3  # at the border the kernel looks at nothing
    assert np.array_equal(answer.labels.reoriented("LPS").data[inner], known_answer(moved)[inner])


def test_threads_that_share_a_predictor_get_their_own_answers(tmp_path: Path) -> None:
    predictor = imported(tmp_path, (0, 0, 0), (0, 1, 2))
    predictor.prepare()
    cases = [case_of(images()), case_of(images()[[1, 0, 3, 2]])]
    expected = [predictor.predict(case, silent).labels.data for case in cases]
    assert not np.array_equal(*expected)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda case: predictor.predict(case, silent).labels.data, cases * 3))
    assert all(np.array_equal(answer, expected[n % 2]) for n, answer in enumerate(answers))


def test_voxels_that_are_no_number_are_named(tmp_path: Path) -> None:
    spoilt = images()
    spoilt[1, 5, 5, 5] = np.nan
    with pytest.raises(StageError, match="t1c image"):
        imported(tmp_path, (0, 0, 0), (0, 1, 2)).predict(case_of(spoilt), silent)
