"""Intervals of differences, and lesions of two dates matched."""

from __future__ import annotations

import numpy as np
import pytest

from hope.domain.change import Direction, MeasuredVolume, change_between
from hope.domain.lesion_matching import match_lesions


def test_squares_of_both_ends_add_up_and_the_sign_swaps_them() -> None:
    change = change_between(MeasuredVolume(10, 7, 14), MeasuredVolume(20, 16, 23))
    assert (change.ml, change.percent) == (10, 100)
    assert (change.low_ml, change.high_ml) == (10 - np.hypot(4, 4), 10 + np.hypot(3, 3))
    back = change_between(MeasuredVolume(20, 16, 23), MeasuredVolume(10, 7, 14))
    assert (back.low_ml, back.high_ml) == (-float(change.high_ml or 0), -float(change.low_ml or 0))
    assert (change.direction, back.direction) == (Direction.LARGER, Direction.SMALLER)


def test_what_lies_inside_the_interval_is_no_change_and_the_unknown_is_said() -> None:
    assert change_between(MeasuredVolume(10, 8, 12), MeasuredVolume(12, 10, 14)).direction is Direction.WITHIN
    wide = change_between(MeasuredVolume(10, 9, 11), MeasuredVolume(12, 11, 13), factor=3.0)
    assert wide.direction is Direction.WITHIN
    unknown = change_between(MeasuredVolume(10), MeasuredVolume(12, 11, 13))
    assert (unknown.direction, unknown.low_ml) == (Direction.UNKNOWN, None)
    new = change_between(MeasuredVolume(0, 0, 0.1), MeasuredVolume(3, 2, 4))
    assert (new.percent, new.direction) == (None, Direction.LARGER)


def test_each_fate_has_its_name() -> None:
    earlier, later = np.zeros((2, 60, 12), dtype=np.int32)
    earlier[0:5], later[0:6] = 1, 1  # same, grown
    earlier[10:14] = 2  # gone
    later[16:20] = 2  # new
    earlier[22:32], later[22:26], later[28:32] = 3, 3, 4  # split
    earlier[34:37], earlier[40:43], later[34:43] = 4, 5, 5  # merged
    earlier[46:50], earlier[52:56], later[46:48], later[49:53], later[55:56] = 6, 7, 6, 7, 8
    found = [(str(match.fate), match.earlier, match.later) for match in match_lesions(earlier, later)]
    assert found == [
        ("same", (1,), (1,)),
        ("gone", (2,), ()),
        ("split", (3,), (3, 4)),
        ("merged", (4, 5), (5,)),
        ("rearranged", (6, 7), (6, 7, 8)),
        ("new", (), (2,)),
    ]


def test_little_overlap_is_no_link_and_other_grids_are_refused() -> None:
    earlier, later = np.zeros((2, 40), dtype=np.int32)
    earlier[0:20], later[19:39] = 1, 1
    assert [str(match.fate) for match in match_lesions(earlier, later)] == ["gone", "new"]
    later[17:19] = 1
    assert [str(match.fate) for match in match_lesions(earlier, later)] == ["same"]
    with pytest.raises(ValueError, match="one grid"):
        match_lesions(earlier, later[:10])
