"""Identification of sequences: tags, then words, then images; doubt becomes a question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hope.domain.case import MRSequence
from hope.domain.errors import AmbiguousInputError
from hope.formats.dicom import DicomSeries
from hope.formats.series import read_tags
from hope.formats.series_choice import choose_series

T1N, T1C, T2W, T2F = MRSequence
BASE = DicomSeries(
    uid="u",
    study_uid="s",
    number=1,
    description="",
    modality="MR",
    image_type=("ORIGINAL", "PRIMARY"),
    scanning_sequence=("SE",),
    three_d=False,
    tr_ms=None,
    te_ms=None,
    ti_ms=None,
    contrast_agent=None,
    diffusion=False,
    slices=24,
    voxel_mm=(0.5, 0.5, 5.0),
    fault="",
    files=(Path("f"),),
)
T1: dict[str, Any] = {"tr_ms": 500.0, "te_ms": 12.0}
T2: dict[str, Any] = {"tr_ms": 4500.0, "te_ms": 95.0}
FLAIR: dict[str, Any] = {"tr_ms": 9000.0, "te_ms": 110.0, "ti_ms": 2500.0}


def _series(number: int, text: str = "", **changes: Any) -> DicomSeries:
    return replace(BASE, **{"number": number, "uid": f"u{number}", "description": text, **changes})


@pytest.mark.parametrize(
    ("changes", "weighting"),
    [
        (T1, "t1"),
        (T2, "t2"),
        (FLAIR, "t2f"),
        ({"tr_ms": 9000.0, "te_ms": 110.0, "scanning_sequence": ("SE", "IR")}, "t2f"),
        ({"tr_ms": 5000.0, "te_ms": 387.0, "ti_ms": 1650.0, "three_d": True}, "t2f"),
        ({"tr_ms": 2000.0, "te_ms": 3.0, "ti_ms": 900.0, "scanning_sequence": ("GR", "IR")}, "t1"),
        ({"tr_ms": 2200.0, "te_ms": 12.0, "ti_ms": 860.0}, "t1"),
        ({"tr_ms": 8.0, "te_ms": 3.0, "scanning_sequence": ("GR",), "three_d": True}, "t1"),
        ({"tr_ms": 3200.0, "te_ms": 408.0, "three_d": True}, "t2"),
        ({"tr_ms": 2500.0, "te_ms": 20.0}, "other"),
        ({"tr_ms": 4000.0, "te_ms": 40.0, "ti_ms": 150.0}, "other"),
        ({}, "other"),
    ],
)
def test_timing_tells_the_weighting(changes: dict[str, Any], weighting: str) -> None:
    assert read_tags(_series(1, **changes)).weighting == weighting


@pytest.mark.parametrize(
    ("text", "weighting"),
    [
        ("t2_tirm_dark-fluid_tra", "t2f"),
        ("AX FLAIR", "t2f"),
        ("sT2/TSE", "t2"),
        ("T1_MPRAGE_sag", "t1"),
        ("head", "other"),
    ],
)
def test_words_tell_where_tags_are_lost(text: str, weighting: str) -> None:
    reading = read_tags(_series(1, text))
    assert reading.weighting == weighting
    assert weighting == "other" or 0.6 <= reading.confidence < 0.8


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        *(
            (t, True)
            for t in ("T1 post Gd", "T1 +C", "t1_tra_KM", "T1 C+", "T1GD", "T1 apres injection", "T1 con contraste")
        ),
        *(
            (t, False)
            for t in ("T1 pre", "T1 ohne KM", "T1 nativ", "T1 sans gado", "T1 w/o contrast", "T1 NON-CONTRAST")
        ),
        *(
            (t, None)
            for t in (
                "T1 SE",
                "T1 posterior fossa",
                "T1 pre-op",
                "T1 post-op",
                "T1 without fatsat",
                "T1 pre and post Gd",
            )
        ),
    ],
)
def test_words_tell_contrast(text: str, contrast: bool | None) -> None:
    assert read_tags(_series(1, text, protocol="brain", **T1)).contrast is contrast


def test_agent_tag_tells_contrast_and_contradiction_tells_nothing() -> None:
    assert read_tags(_series(1, "T1", contrast_agent=True, **T1)).contrast is True
    assert read_tags(_series(1, "T1", contrast_agent=False, **T1)).contrast is False
    assert read_tags(_series(1, "T1 nativ", contrast_agent=True, **T1)).contrast is None
    assert read_tags(_series(1, "T1 post Gd", contrast_agent=False, **T1)).contrast is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "localiser"),
        ({"image_type": ("DERIVED", "SECONDARY", "MPR")}, "derived"),
        ({"image_type": ("DERIVED", "PRIMARY", "DIFFUSION", "ADC")}, "derived"),
        ({"diffusion": True}, "diffusion"),
        ({"slices": 3}, "3 slices"),
        ({"modality": "CT"}, "no MR"),
        ({"description": "SWI tra"}, "another kind"),
        ({"description": "T2 spine"}, "another kind"),
    ],
)
def test_what_is_no_input_is_left_out_with_a_reason(changes: dict[str, Any], says: str) -> None:
    reading = read_tags(_series(1, **{**T2, **changes}))
    assert reading.weighting == "other"
    assert says in reading.reason


def test_a_complete_study_is_chosen_with_reasons() -> None:
    study = [
        _series(1, "localizer", slices=3, **T2),
        _series(2, "t1 tra", **T1),
        _series(3, "t2 tra", **T2),
        _series(4, "flair", **FLAIR),
        _series(5, "dwi", diffusion=True, **T2),
        _series(6, "t1 tra km", contrast_agent=True, **T1),
    ]
    choices = choose_series(study)
    assert {s: c.series.number for s, c in choices.items()} == {T1N: 2, T1C: 6, T2W: 3, T2F: 4}
    assert choices[T2F].confidence > choices[T1N].confidence >= 0.6
    assert "another T1 of the study names one" in choices[T1N].reason


def test_unstated_contrast_asks_and_names_the_flags() -> None:
    study = [_series(601, "T1 Givenmark", **T1), _series(301, "T2", **T2)]
    with pytest.raises(AmbiguousInputError) as caught:
        choose_series(study)
    sentence = str(caught.value)
    assert "series 601 (T1-weighted spin echo, 24 slices, 5.0 mm)" in sentence
    assert "--t1n SERIES_DIRECTORY or --t1c SERIES_DIRECTORY" in sentence
    assert "Givenmark" not in sentence
    stated = _series(602, "T1 km", **T1)
    with pytest.raises(AmbiguousInputError, match=r"--t1n SERIES_DIRECTORY$"):
        choose_series([*study, stated])
    # Once the user has named both T1 (or the open one is taken out), the rest is clear.
    assert set(choose_series(study, [T2W, T2F])) == {T2W}


def test_two_silent_t1_are_told_apart_only_by_clear_images() -> None:
    study = [_series(2, "T1", **T1), _series(3, "T1", **T1)]
    with pytest.raises(AmbiguousInputError, match=r"series 2 .* and series 3"):
        choose_series(study)
    with pytest.raises(AmbiguousInputError):
        choose_series(study, enhancement=lambda one, two: 0.2)
    assert {s: c.series.number for s, c in choose_series(study, enhancement=lambda one, two: 1.0).items()} == {
        T1N: 2,
        T1C: 3,
    }
    swapped = choose_series(study, enhancement=lambda one, two: -1.0)
    assert {s: c.series.number for s, c in swapped.items()} == {T1N: 3, T1C: 2}
    assert swapped[T1C].confidence < 0.7 and "2.7 times" in swapped[T1C].reason


def test_equal_candidates_ask_and_a_much_finer_one_wins() -> None:
    with pytest.raises(AmbiguousInputError, match=r"2 series could be t2w.*--t2w"):
        choose_series([_series(2, "t2 tra", **T2), _series(3, "t2 cor", **T2)])
    choices = choose_series(
        [_series(2, "t2 tra", **T2), _series(3, "t2 space", voxel_mm=(1.0, 1.0, 1.0), slices=160, **T2)]
    )
    assert choices[T2W].series.number == 3
    assert "thinnest slices of 2 candidates (1.0 mm)" in choices[T2W].reason


def test_a_faulty_series_yields_to_a_sound_one() -> None:
    choices = choose_series([_series(2, "t2", fault="tilted", **T2), _series(3, "t2", **T2)])
    assert choices[T2W].series.number == 3


def test_tags_against_words_ask() -> None:
    with pytest.raises(AmbiguousInputError, match="suggests t2, its description t1"):
        choose_series([_series(2, "t1 tra", **T2)])


def test_a_flair_that_lost_its_inversion_time() -> None:
    reading = read_tags(_series(2, "AX FLAIR", tr_ms=9000.0, te_ms=110.0))
    assert reading.weighting == "t2f" and reading.confidence == 0.75
