"""What is said of sequences that were not given: their effect, and what the model is known to score without them."""

from __future__ import annotations

from typing import Any

import pytest

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import BundleError
from hope.models.missing import EXPECTED, MeasuredDice, missing_flags

MEASURED: dict[str, Any] = {
    "cases": "16 real cases",
    "dice": {
        "t1n+t1c+t2w+t2f": {"WT": 0.78, "TC": 0.57, "ET": 0.63},
        "t1n+t1c+t2w": {"WT": 0.62, "TC": 0.56, "ET": 0.61},
        "t2w+t1n+t2f": {"WT": 0.79, "TC": 0.38, "ET": 0.12},
    },
}


def known() -> MeasuredDice:
    found = MeasuredDice.from_manifest({"measured": MEASURED})
    assert found is not None
    return found


def test_what_to_expect_follows_the_effect_of_each() -> None:
    effect, expected = missing_flags((MRSequence.T2F,), known())
    assert (effect.code, effect.sequence) == ("missing_sequence", "t2f")
    assert (expected.code, expected.sequence) == (EXPECTED, "")
    assert "from t1n, t1c and t2w alone" in expected.reason
    assert "WT 0.62 instead of 0.78, TC 0.56 instead of 0.57, ET 0.61 instead of 0.63" in expected.reason
    assert "16 real cases" in expected.reason


def test_the_order_of_names_does_not_matter_and_no_et_is_promised_without_t1c() -> None:
    _, expected = missing_flags((MRSequence.T1C,), known())
    assert "WT 0.79 instead of 0.78" in expected.reason
    assert "ET" not in expected.reason


def test_nothing_is_made_up() -> None:
    assert missing_flags((), known()) == ()
    assert [f.code for f in missing_flags((MRSequence.T1N,), known())] == ["missing_sequence"], "it was not measured"
    assert [f.code for f in missing_flags(tuple(SEQUENCES[:2]), None)] == ["missing_sequence"] * 2
    assert MeasuredDice.from_manifest({}) is None
    assert MeasuredDice.from_manifest({"measured": {"psnr_db": 30}}) is None


@pytest.mark.parametrize(
    "measured",
    [{"dice": {}}, {"cases": "x", "dice": 3}, {"cases": "x", "dice": {"t9": {}}}, {"cases": "x", "dice": {"t1n": {}}}],
)
def test_figures_that_cannot_be_read_are_refused(measured: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="measured Dice"):
        MeasuredDice.from_manifest({"measured": measured})
