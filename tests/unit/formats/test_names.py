from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from hope.domain.case import MRSequence
from hope.domain.errors import AmbiguousInputError, InputError
from hope.formats.names import (
    cases_by_name,
    is_label_name,
    is_nifti_name,
    public_case_name,
    read_name,
    sort_by_name,
)

T1N, T1C, T2W, T2F = MRSequence


@pytest.mark.parametrize(
    ("name", "sequence", "case"),
    [
        ("BraTS-PED-00001-000-t1n.nii.gz", T1N, "BraTS-PED-00001-000"),
        ("BraTS-PED-00001-000-t1c.nii.gz", T1C, "BraTS-PED-00001-000"),
        ("BraTS-PED-00001-000-t2w.nii", T2W, "BraTS-PED-00001-000"),
        ("BraTS-PED-00001-000-t2f.nii.gz", T2F, "BraTS-PED-00001-000"),
        ("BraTS2021_00000_t1.nii.gz", T1N, "BraTS2021_00000"),
        ("BraTS2021_00000_t1ce.nii.gz", T1C, "BraTS2021_00000"),
        ("Brats18_CBICA_AAM_1_t2.nii", T2W, "Brats18_CBICA_AAM_1"),
        ("BraTS20_Training_001_flair.nii", T2F, "BraTS20_Training_001"),
        ("sub-01_T1w.nii.gz", T1N, "sub-01"),
        ("sub-01_ses-02_ce-gadolinium_T1w.nii.gz", T1C, "sub-01_ses-02"),
        ("sub-01_acq-postgad_run-1_T1w.nii.gz", T1C, "sub-01"),
        ("sub-01_ses-02_acq-space_T2w.nii.gz", T2W, "sub-01_ses-02"),
        ("sub-01_ce-gad_FLAIR.nii.gz", T2F, "sub-01"),
        ("sub-01_acq-tse_ce-none_T1w.nii.gz", T1N, "sub-01"),
        ("t1n.nii.gz", T1N, ""),
        ("T1C.nii.gz", T1C, ""),
        ("FLAIR.NII.GZ", T2F, ""),
    ],
)
def test_known_names(name: str, sequence: MRSequence, case: str) -> None:
    read = read_name(Path(name))
    assert read is not None
    assert (read.sequence, read.case) == (sequence, case)
    assert is_nifti_name(Path(name))
    assert case == "" or case not in read.reason


@pytest.mark.parametrize(
    "name", ["scan.nii.gz", "t1posterior.nii.gz", "sub-01_bold.nii.gz", "xt1c.nii.gz", "case-seg.nii.gz"]
)
def test_names_that_say_nothing(name: str) -> None:
    assert read_name(Path(name)) is None


def test_segmentations_and_hidden_files_are_no_input() -> None:
    for name in (
        "x-seg.nii.gz",
        "x_seg.nii",
        "seg.nii.gz",
        "sub-1_dseg.nii.gz",
        "x_brain_mask.nii.gz",
        "x-seg-atlas.nii.gz",
        "x_flair_pred.nii.gz",
        "T1_pred_seg_KM.nii.gz",
    ):
        assert is_label_name(Path(name)), name
    for name in ("T1_pred_KM.nii.gz", "T1_pred_podanim_KM.nii.gz", "x_pred_kontrastem_T1.nii.gz"):
        assert is_label_name(Path(name)) == ("podanim" in name), f"{name}: pred is a negation before an agent only"
    assert not is_nifti_name(Path("._x-t1c.nii.gz"))
    assert not is_nifti_name(Path("x-t1c.json"))


def _paths(*names: str) -> list[Path]:
    return [Path("somewhere") / name for name in names]


def test_a_case_is_sorted_and_its_segmentation_ignored() -> None:
    case = sort_by_name(_paths(*(f"BraTS2021_00000_{r}.nii.gz" for r in ("t1", "t1ce", "t2", "flair", "seg"))))
    assert list(case.files) == [T1N, T1C, T2W, T2F]
    assert case.case == "BraTS2021_00000"
    assert case.unread == 0


def test_three_sequences_are_still_a_case() -> None:
    assert set(sort_by_name(_paths("a-t1n.nii.gz", "a-t1c.nii.gz", "a-t2w.nii.gz")).files) == {T1N, T1C, T2W}


def test_two_files_for_one_sequence_ask_for_the_flag() -> None:
    files = _paths("a-t1c.nii.gz", "b_t1ce.nii.gz", "a-t2w.nii.gz")
    with pytest.raises(AmbiguousInputError, match="--t1c FILE"):
        sort_by_name(files)
    assert set(sort_by_name(files, named=[T1C]).files) == {T2W}


def test_unknown_names_ask_for_the_missing_flags_only() -> None:
    with pytest.raises(InputError) as caught:
        sort_by_name(_paths("a-t1n.nii.gz", "Givenmark Surnamemark post.nii.gz", "a-t2w.nii.gz"))
    assert "--t1c FILE --t2f FILE" in str(caught.value)
    assert "--t1n" not in str(caught.value) and "Givenmark" not in str(caught.value)
    full = sort_by_name(_paths(*(f"a-{s}.nii.gz" for s in MRSequence), "other.nii.gz"))
    assert full.unread == 1


def test_a_lone_t1_is_not_taken_for_native() -> None:
    with pytest.raises(AmbiguousInputError, match="--t1n FILE or --t1c FILE"):
        sort_by_name(_paths("scan_t1.nii.gz", "scan_t2.nii.gz"))
    assert T1N in sort_by_name(_paths("scan_t1.nii.gz", "scan_t1ce.nii.gz")).files
    assert T1N in sort_by_name(_paths("BraTS2021_00001_t1.nii.gz")).files
    assert T1N in sort_by_name(_paths("scan_t1.nii.gz"), named=[T1C]).files


@pytest.mark.parametrize(
    "name",
    [
        *(
            "BraTS-PED-00001-000",
            "BraTS2021_00000",
            "BraTS-SSA-00007-000",
            "BraTS20_Training_001",
            "Brats18_CBICA_AAM_1",
        ),
        *(
            "Brats18_2013_21_1",
            "TCGA-FG-6692",
            "sub-01",
            "sub-0012",
            "sub-00123",
            "sub-PED0001",
            "sub-pat012_ses-01",
            "sub-07_ses-preop",
            "sub-07_ses-month12",
            "synth-0001",
            "case-12",
            "case-0a1b2c3d",
        ),
    ],
)
def test_research_names_are_kept(name: str) -> None:
    assert public_case_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "Givenmark_Surnamemark",
        "DOE^JANE",
        "BraTS-Surname-00001",
        "sub-GivenmarkDoe",
        "sub-01_ses-20200101",
        "sub-19700101",
        "sub-surname1",
        "sub-lee",
        "sub-jd",
        "sub-850312",
        "sub-31285",
        "sub-01_ses-surname1",
        "case-19850312",
        "case-givenmark",
        "4711",
        "",
    ],
)
def test_other_names_may_be_a_person(name: str) -> None:
    assert public_case_name(name) == ""


def test_the_names_of_our_own_masks_are_no_scans() -> None:
    for name in ("case-0a1b2c3d-brain-mask.nii.gz", "case-0a1b2c3d-seg.nii.gz", "case-0a1b2c3d-seg-atlas.nii.gz"):
        assert is_label_name(Path(name))


@pytest.mark.parametrize("name", ["pred_t1c", "anna_pred_flair", "pred-t2", "t1c_pred"])
def test_predictions_are_no_scans_wherever_the_name_says_so(name: str) -> None:
    assert is_label_name(Path(f"{name}.nii.gz"))


def test_an_initial_before_an_agent_is_asked_about() -> None:
    with pytest.raises(AmbiguousInputError):
        sort_by_name(_paths("Kim_O_GD_T1.nii.gz", "Kim_O_T2.nii.gz"))


@pytest.mark.parametrize(
    "names",
    [
        ("BraTS-PED-00001-000-t1n", "BraTS-PED-00001-000-t1c", "BraTS-PED-00002-000-t2w", "BraTS-PED-00002-000-t2f"),
        ("sub-01_ses-01_T1w", "sub-01_ses-01_FLAIR", "sub-01_ses-02_T2w"),
        ("Givenmark_t1", "Givenmark_t1ce", "Surnamemark_t2"),
        ("t1_20200101", "t1ce_20200101", "t2_20210505"),
        ("x_20200101093000_t1c", "x_20200102093000_t2"),
        # Words that link a negation to an agent, and negations, are names where no agent follows.
        ("anna_d_t1c", "anna_d_t2f", "anna_l_t1n", "anna_l_t2w"),
        ("anna_d_gd_t1", "anna_l_gd_t2"),
        ("Le_t1c", "Du_t2w"),
        ("before_t1c", "after_t2w"),
        ("prima_t1c", "prima_t2w", "dopo_t1c"),
        ("Kim_I_t1c", "Kim_V_t2"),
        ("No_t1c", "Bob_t2"),
        ("Sin_t1c", "Bob_t2"),
        ("field_map_annamark_t1c", "field_map_bobmark_t2w"),
        (unicodedata.normalize("NFD", "Jörgmark_t1c"), unicodedata.normalize("NFD", "Jürgmark_t2w")),
    ],
)
def test_two_patients_or_dates_are_never_joined(names: tuple[str, ...]) -> None:
    paths = _paths(*(f"{name}.nii.gz" for name in names))
    assert len(cases_by_name(paths)) == 2
    with pytest.raises(AmbiguousInputError, match="2 patients or dates") as caught:
        sort_by_name(paths)
    assert "mark" not in str(caught.value) and "2020" not in str(caught.value)
    if "BraTS" in names[0]:
        assert "BraTS-PED-00001-000 (t1n, t1c) and BraTS-PED-00002-000 (t2w, t2f)" in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        ("3_t1", "7_t1ce", "4_t2", "5_flair"),
        ("ax_t1", "sag_t1ce", "cor_t2"),
        ("t1", "anna_t1c", "anna_t2"),
        ("sub-01_T1w", "sub-01_ce-gad_T1w", "sub-01_acq-tse_T2w"),
        ("x_t1_20200101093000", "x_t1ce_20200101094500", "x_t2_20200101"),
        ("anna_vor_der_KM-Gabe_t1", "anna_t1_nach_KM", "anna_t2"),
        ("anna_sans_injection_de_gadolinium_t1", "anna_t1_gado", "anna_t2"),
        (unicodedata.normalize("NFD", "Jörg_t1c"), "Jörg_t2w"),
    ],
)
def test_series_numbers_planes_and_technique_are_no_patients(names: tuple[str, ...]) -> None:
    paths = _paths(*(f"{name}.nii.gz" for name in names))
    assert len(cases_by_name(paths)) == 1
    assert len(sort_by_name(paths).files) == len(names)


@pytest.mark.parametrize("others", [("ADC", "SWI"), ("T2starw", "PDw", "UNIT1"), ("b1000", "T1map", "MIP")])
def test_known_other_images_hold_nobody_up(others: tuple[str, ...]) -> None:
    case = sort_by_name(_paths(*(f"a_{w}.nii.gz" for w in ("T1c", "T2", "FLAIR", *others))))
    assert set(case.files) == {T1C, T2W, T2F} and case.unread == 0
    assert len(case.others) == len(others)


def test_a_freer_name_yields_to_an_exact_one() -> None:
    case = sort_by_name(_paths("a_t1.nii.gz", "a_t1c.nii.gz", "a_t1c_bias.nii.gz", "a_t2.nii.gz"))
    assert case.files[T1C].name == "a_t1c.nii.gz" and case.outweighed == 1
    with pytest.raises(AmbiguousInputError, match="2 files are named as t1c"):
        sort_by_name(_paths("a_t1_gd.nii.gz", "a_t1c_bias.nii.gz", "a_t2.nii.gz"))


@pytest.mark.parametrize("name", ["a_t1n_gd", "sub-01_ce-gad_acq-pre_T1w", "a_t1_with_and_without_contrast"])
def test_a_name_that_contradicts_itself_asks(name: str) -> None:
    with pytest.raises(AmbiguousInputError, match="cannot both be true"):
        sort_by_name(_paths(f"{name}.nii.gz", "a_t2.nii.gz", "a_flair.nii.gz"))
