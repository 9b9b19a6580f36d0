"""The alias table: one test a row, the same names through command line and page, and the generated TypeScript."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hope.contract import sequence_words as tables
from hope.contract.sequence_words import ALIASES
from hope.contract.sequences import read_stem, read_text, sequence_of, words_of
from hope.formats.names import read_name

ROOT = Path(__file__).resolve().parents[3]
NAMES = json.loads(Path(__file__).with_name("sequence_names.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "slot"), [(case["name"], case["slot"]) for case in NAMES])
def test_the_names_that_the_page_is_tested_with(name: str, slot: str | None) -> None:
    found = read_name(Path(name))
    assert (found and str(found.sequence)) == slot


def test_the_page_has_this_table() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "make_sequence_table.py"))
    assert made["TARGET"].read_text(encoding="utf-8") == made["content"](), "run tools/make_sequence_table.py"


@pytest.mark.parametrize(("word", "meaning"), sorted(ALIASES.items()))
def test_every_alias_means_what_its_row_says(word: str, meaning: tuple[str, bool | None]) -> None:
    for stem in (word, f"case-0001_{word}", f"sub-01_acq-x_{word}", word.upper()):
        words = read_stem(stem).words
        assert (words.weighting, words.contrast, words.contradiction) == (*meaning, False)


@pytest.mark.parametrize("word", sorted(tables.CONTRAST | {tables.AFTER}))
def test_every_contrast_word_and_its_negation(word: str) -> None:
    assert read_text(f"T1 {word}").contrast is True
    if word != tables.AFTER:
        assert {read_text(f"T1 {no} {word}").contrast for no in tables.NEGATIONS} == {False}
    assert read_text(f"T1 x{word}x").contrast is None, "never inside another word"


@pytest.mark.parametrize("word", sorted(tables.NATIVE | {tables.BEFORE}))
def test_every_native_word(word: str) -> None:
    assert read_text(f"T1 {word}").contrast is False
    assert read_text(f"T1 {word} gd").contrast in (False, None)
    assert read_text(f"T1 x{word}").contrast is None


@pytest.mark.parametrize("word", sorted(tables.NOT_CONTRAST))
def test_words_of_surgery_and_computing_say_nothing_of_contrast(word: str) -> None:
    for lead in ("pre", "post"):
        assert read_text(f"T1 {lead}-{word}").contrast is None
        assert read_text(f"T1 {lead} {word} gd").contrast is True


@pytest.mark.parametrize("word", sorted(tables.OTHER))
def test_every_word_of_another_image(word: str) -> None:
    assert read_stem(f"x_t1_{word}").words.weighting == "other" == read_text(f"T2 {word}").weighting
    assert sequence_of(read_stem(f"sub-01_{word}").words) is None


@pytest.mark.parametrize("word", sorted(tables.OTHER_IN_TEXT - tables.OTHER))
def test_words_of_another_image_only_in_descriptions(word: str) -> None:
    assert read_text(f"T2 {word}").weighting == "other"
    assert read_stem(f"{word}1_t2").words.weighting == "t2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *(("T2*", ["t2star"]), ("t2_star", ["t2star"]), ("T2-STAR", ["t2star"]), ("T1 rho", ["t1rho"])),
        *(("T1 W/O", ["t1", "without"]), ("T1 s/c", ["t1", "without", "contrast"]), ("T1 c/c", ["t1", "contrast"])),
        *(("T1 +C", ["t1", "contrast"]), ("T1 C+", ["t1", "contrast"]), ("T1 -C", ["t1", "without", "contrast"])),
        *(("Dark-Fluid", ["flair"]), ("da_fl", ["flair"]), ("tirm_dark", ["flair"]), ("MP-RAGE", ["mprage"])),
        *(("b-FFE", ["bffe"]), ("3-plane", ["localizer"]), ("proton density", ["pd"])),
        ("W/WO contrast", ["contrast", "without", "contrast"]),
    ],
)
def test_every_replacement(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize("text", ["BRAIN W WO CONTRAST", "T1 with and without Gd", "T1 W & WO", "T1 pre and post KM"])
def test_with_and_without_is_a_contradiction(text: str) -> None:
    assert read_text(text).contradiction and read_text(text).contrast is None


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="/\0"), max_size=40))
def test_any_name_is_read_and_its_lead_stands_in_it(name: str) -> None:
    read = read_stem(name)
    assert name.startswith(read.lead)
    assert not (read.words.contradiction and sequence_of(read.words))


@given(st.from_regex(r"[a-z]{3,12}", fullmatch=True), st.sampled_from(["t1c", "t1n", "t2w", "t2f"]))
def test_a_word_that_no_table_holds_changes_nothing(word: str, role: str) -> None:
    if any(word in table for table in vars(tables).values() if isinstance(table, (frozenset, dict))) or re.match(
        tables.OTHER_PATTERN, word
    ):
        return
    assert str(sequence_of(read_stem(f"{word}_{role}").words)) == role
