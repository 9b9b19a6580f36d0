"""The published harmonizer's layout: every key and shape of the released checkpoint, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hope.models.hail.released import ETA, THETA, PublishedHail
from hope.models.importers.hail import STATES

LAYOUT = Path(__file__).resolve().parents[3] / "shared" / "golden" / "hail_state_dict.json"

pytestmark = pytest.mark.skipif(not LAYOUT.is_file(), reason="../shared/golden/hail_state_dict.json is not here")


def test_every_tensor_of_the_released_checkpoint_has_its_place_and_shape() -> None:
    released = json.loads(LAYOUT.read_text(encoding="utf-8"))
    assert tuple(released["state_dicts"]) == STATES
    expected = {
        f"{part}.{name}": tuple(shape)
        for part, state in released["state_dicts"].items()
        for name, shape in state.items()
    }
    with torch.device("meta"):
        network = PublishedHail()
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == expected
    network.load_state_dict({n: torch.empty(s, device="meta") for n, s in expected.items()}, strict=True, assign=True)
    assert sum(p.numel() for p in network.parameters()) == 13_171_868
    dims = released["dims"]
    assert (dims["theta_dim"], dims["eta_dim"], dims["attention_dim"]) == (THETA, ETA, THETA + ETA)
