"""Identification of sequences: tags, then words, then images; doubt becomes a question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hope.contract.sequence_words import OTHER, OTHER_IN_TEXT
from hope.domain.case import MRSequence
from hope.domain.errors import AmbiguousInputError
from hope.formats.dicom import DicomSeries
from hope.formats.dicom_frames import Frame
from hope.formats.series import read_tags
from hope.formats.series_choice import choose_series, selection

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


# --- words about the exam -------------------------------------------------------------------------------------------


def _study(**text: str) -> list[DicomSeries]:
    return [
        _series(2, "Ax T1", **text, **T1),
        _series(3, "Ax T2", **text, **T2),
        _series(4, "Ax FLAIR", **text, **FLAIR),
        _series(6, "Ax T1 POST", contrast_agent=True, **text, **T1),
    ]


@pytest.mark.parametrize("maker", ["", "SIEMENS", "GE MEDICAL SYSTEMS", "PHILIPS"])
@pytest.mark.parametrize(
    "exam",
    [
        *("BRAIN AND SPINE W WO", "MRI BRAIN WITH CONTRAST", "T1 PERFUSION PROTOCOL", "Head/T2 STAR + SWI"),
        *("BRAIN WITHOUT CONTRAST", "Tumor t1 gd", "ORBITS AND SCOUT", "pediatric brain dwi"),
    ],
)
def test_a_protocol_on_series_of_different_contrast_is_the_exams(exam: str, maker: str) -> None:
    choices = choose_series(_study(protocol=exam, manufacturer=maker))
    assert {s: c.series.number for s, c in choices.items()} == {T1N: 2, T1C: 6, T2W: 3, T2F: 4}


@pytest.mark.parametrize("exam", ["BRAIN TUMOR PERFUSION", "MR BRAIN W CONTRAST", "SPINE SURVEY"])
def test_so_is_a_description(exam: str) -> None:
    study = [replace(s, description=exam) for s in _study()]
    choices = choose_series(study)
    assert {s: c.series.number for s, c in choices.items()} == {T1N: 2, T1C: 6, T2W: 3, T2F: 4}


@pytest.mark.parametrize("exam", ["BRAIN WITH CONTRAST", "T1 POST GAD", "spine t1 +c"])
def test_ges_protocol_name_is_the_exams_even_on_one_series(exam: str) -> None:
    reading = read_tags(_series(2, "Sag 3D T1 BRAVO", protocol=exam, manufacturer="GE MEDICAL SYSTEMS", **T1))
    assert (reading.weighting, reading.contrast) == ("t1", None)


@pytest.mark.parametrize(
    ("description", "protocol", "weighting", "contrast"),
    [
        ("", "t1_tse_tra_KM", "t1", True),
        ("ax", "T1W_SE post GD", "t1", True),
        ("ax", "BRAIN WITH CONTRAST", "t1", None),
        ("T1 pre", "t1_tse_gd", "t1", None),
        ("T1 post", "t1_tse_gd", "t1", True),
        ("T1 tra", "perfusion", "t1", None),
        ("", "ep2d_perf", "other", None),
    ],
)
def test_a_protocol_of_its_own_speaks_after_the_description(
    description: str, protocol: str, weighting: str, contrast: bool | None
) -> None:
    reading = read_tags(_series(2, description, protocol=protocol, manufacturer="SIEMENS", **T1))
    assert (reading.weighting, reading.contrast) == (weighting, contrast)


def test_a_description_shared_by_t1_before_and_after_the_agent_says_nothing_of_contrast() -> None:
    study = [
        _series(2, "T1 GD STUDY", **T1),
        _series(6, "T1 GD STUDY", contrast_agent=True, **T1),
        _series(3, "T2", **T2),
    ]
    choices = choose_series(study)
    assert (choices[T1N].series.number, choices[T1C].series.number) == (2, 6)


@pytest.mark.parametrize("late", [7, 20])
def test_a_silent_t1_after_the_agent_is_not_called_native(late: int) -> None:
    study = [_series(6, "T1", contrast_agent=True, **T1), _series(late, "T1 sag", **T1), _series(3, "T2", **T2)]
    with pytest.raises(AmbiguousInputError, match=r"--t1n SERIES_DIRECTORY$"):
        choose_series(study)
    assert choose_series([*study, _series(2, "T1 tra", **T1)])[T1N].series.number == 2


# --- the choice between candidates ----------------------------------------------------------------------------------

AXIAL, CORONAL, SAGITTAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)


def _placed(number: int, slices: int, voxel: tuple[float, float, float], plane: Any, **changes: Any) -> DicomSeries:
    frame = Frame(
        path=Path("f"),
        index=0,
        enhanced=False,
        position=(0.0, 0.0, 0.0),
        cosines=tuple(map(float, plane)),
        size=(256, 256),
        spacing_mm=voxel[:2],
        thickness_mm=voxel[2],
        tr_ms=None,
        te_ms=None,
        ti_ms=None,
        b_value=None,
        part="M",
        stack="",
        time=None,
        echo="",
        agent=None,
    )
    return _series(number, slices=slices, voxel_mm=voxel, frames=(frame,), **changes)


def test_a_slab_with_thinner_slices_does_not_beat_the_whole_head() -> None:
    whole = _placed(6, 26, (0.9, 0.9, 5.5), AXIAL, description="T1 km", **T1)
    for slab in (
        _placed(7, 33, (0.5, 0.5, 2.0), AXIAL, description="T1 km fs", **T1),
        _placed(7, 22, (0.6, 0.6, 3.0), CORONAL, description="T1 km", **T1),
        _placed(7, 60, (0.7, 0.7, 1.0), SAGITTAL, description="T1 km", **T1),
    ):
        choice = choose_series([whole, slab, _placed(3, 26, (0.9, 0.9, 5.5), AXIAL, **T2)])[T1C]
        assert choice.series.number == 6 and "covers a part of the head only" in choice.reason


def test_reach_is_judged_by_the_head_that_is_there() -> None:
    # An infant's head of 100 mm: the thinner series covers all of it.
    infant = [
        _placed(6, 20, (0.6, 0.6, 5.0), AXIAL, description="T1 km", **T1),
        _placed(7, 100, (1.0, 1.0, 1.0), SAGITTAL, description="T1 km", **T1),
    ]
    assert choose_series(infant)[T1C].series.number == 7


def test_a_close_call_is_asked() -> None:
    for other in (
        _placed(7, 30, (0.9, 0.9, 4.5), AXIAL, **T2),
        _placed(7, 36, (0.9, 0.9, 5.0), CORONAL, **T2),
        _placed(7, 26, (0.5, 0.5, 5.0), AXIAL, **T2),
    ):
        with pytest.raises(AmbiguousInputError, match="2 series could be t2w"):
            choose_series([_placed(3, 26, (0.9, 0.9, 5.0), AXIAL, **T2), other])


def test_the_table_says_of_every_series_what_became_of_it() -> None:
    study = [*_study(), _series(9, "SWI", **T1), _series(10, "Ax T1", fault="tilted", **T1)]
    rows = {row["series"]: row for row in selection(study, choose_series(study))}
    assert [rows[n]["taken_as"] for n in (2, 3, 4, 6, 9, 10)] == ["t1n", "t2w", "t2f", "t1c", None, None]
    assert "another kind of image" in str(rows[9]["reason"])
    assert "tilted; series 2 (t1n)" in str(rows[10]["reason"])
    assert "mark" not in repr(rows)


def test_maps_that_share_a_description_and_differ_in_timing_are_still_maps() -> None:
    alone = {s: c.series.uid for s, c in choose_series(_study()).items()}
    maps = [replace(_series(20, "ax adc t1", **timing), uid=uid) for uid, timing in (("a", T1), ("b", T2))]
    assert {s: c.series.uid for s, c in choose_series([*_study(), *maps]).items()} == alone


# --- series that are none of the four -------------------------------------------------------------------------------

_OTHERS = st.one_of(
    st.builds(
        lambda word, timing, agent: {"description": f"ax {word} t1", "contrast_agent": agent, **timing},
        st.sampled_from(sorted(OTHER | OTHER_IN_TEXT)),
        st.sampled_from([T1, T2, FLAIR, {}]),
        st.sampled_from([None, True, False]),
    ),
    st.builds(
        lambda timing, text: {"diffusion": True, "description": text, **timing}, st.sampled_from([T1, T2]), st.text()
    ),
    st.builds(lambda text: {"modality": "CT", "description": text, **T1}, st.text(max_size=10)),
    st.builds(lambda kind: {"image_type": ("DERIVED", "SECONDARY", kind), **T1}, st.sampled_from(["MPR", "MIP", "X"])),
    st.builds(lambda n: {"slices": n, "description": "Ax T1 POST", **T1}, st.integers(1, 7)),
    st.builds(lambda kind: {"kind": kind, "description": "Ax T2", **T2}, st.sampled_from(["in colour", "a mosaic"])),
    st.builds(lambda text: {"tr_ms": 2500.0, "te_ms": 20.0, "description": text}, st.sampled_from(["", "ax", "head"])),
    st.builds(lambda: {"scanning_sequence": ("EP", "SE"), "description": "Ax T2", **T2}),
)


@given(
    others=st.lists(_OTHERS, max_size=5),
    numbers=st.lists(st.integers(1, 40), min_size=5, max_size=5),
    protocol=st.sampled_from(["", "BRAIN W WO", "BRAIN TUMOR PERFUSION", "t1 routine"]),
    data=st.data(),
)
def test_series_that_are_none_of_the_four_never_change_which_four_are_chosen(
    others: list[dict[str, Any]], numbers: list[int], protocol: str, data: st.DataObject
) -> None:
    study = _study(protocol=protocol)
    alone = {s: c.series.uid for s, c in choose_series(study).items()}
    added = [
        replace(_series(number, **{"protocol": protocol, **other}), uid=f"x{i}")
        for i, (number, other) in enumerate(zip(numbers, others, strict=False))
    ]
    mixed = data.draw(st.permutations([*study, *added]))
    assert {s: c.series.uid for s, c in choose_series(mixed).items()} == alone
