"""What people call the four sequences: one alias table for command line, BIDS names, the page and DICOM descriptions.

The tables are data. `viewer/src/app/sequences.generated.ts` is made from them by ``tools/make_sequence_table.py``, and
``tests/unit/contract/sequence_names.json`` holds the cases that both readers are tested with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hope.domain.case import MRSequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TECHNIQUES = _words(
    "w wi weighted se tse fse ffe tfe ir gre spgr fspgr mprage mpr vibe space cube vista fl2d fl3d fs blade "
    "propeller 3d 2d iso ax sag cor tra"
)
"""What may stand glued to a weighting without changing it: t1w, t2tse, t1mprage."""

_GRADIENT_ECHOES = _words("ffe tfe gre spgr fspgr mprage mpr vibe fl2d fl3d")
"""Techniques whose "T2" is T2*."""

REPLACEMENTS: tuple[tuple[str, str], ...] = (
    (r"t2[ _.-]?(?:\*|star)", " t2star "),
    (r"\bt2w?[ _.-]?(?:gre|ffe|fl2d|fl3d|flash|flash2d|hemo)\b", " t2star "),
    (r"t1[ _.-]?rho", " t1rho "),
    (r"\bw(?:ith)?(?: ?[/&+] ?| and | )(?:wo|without)\b", " contrast without "),
    (r"\bw/o\b", " without "),
    (r"\bs/c\b", " without contrast "),
    (r"\bc/c\b", " contrast "),
    (r"\+ ?c\b", " contrast "),
    (r"\bc ?\+", " contrast "),
    (r" -c\b(?! ?\+)", " without contrast "),
    (r" -(?=(?:km|ce|gd|gad|gado|kontrast|contrast)\b)", " without "),
    (r"\bc-(?= |$)", " without contrast "),
    (r"(?<=t1c)-(?= |$)", " without contrast "),
    (r"\bdark[ _.-]?fl(?:uid)?\b", " flair "),
    (r"\bda[ _.-]?fl\b", " flair "),
    (r"\btirm[ _.-]?(?:dark|da)\b", " flair "),
    (r"\bmp[ _.-]?rage", " mprage "),
    (r"\bb[ _.-]?ffe\b", " bffe "),
    (r"\b(?:3|three)[ _.-]?plane", " localizer "),
    (r"\bproton[ _.-]?density\b", " pd "),
    (r"\bfield[ _.-]?map", " fieldmap "),
)
"""Regular expression -> words: applied in this order to lower-case text in which spaces stand for underscores."""

ALIASES: dict[str, tuple[str, bool | None]] = {
    **{
        f"{lead}{stem}{end}": (stem, None)
        for stem, ends in (("t1", _TECHNIQUES), ("t2", _TECHNIQUES - _GRADIENT_ECHOES))
        for lead in ("", "3d")
        for end in ("", *ends)
    },
    **dict.fromkeys(("mprage", "bravo", "spgr", "fspgr", "vibe", "thrive", "tfl", "tfl3d"), ("t1", None)),
    **dict.fromkeys(
        ("t1n", "t1pre", "t1native", "t1nativ", "t1nogad", "t1nogd", "t1wo", "t1precontrast"), ("t1", False)
    ),
    **dict.fromkeys(
        (
            *("t1c", "t1ce", "t1gd", "t1gad", "t1post", "t1km", "t1contrast", "t1wce", "t1cw", "t1wc"),
            *("t1postgd", "t1postgad", "t1postcontrast", "t1wpost", "t1wgd", "t1enhanced"),
        ),
        ("t1", True),
    ),
    **dict.fromkeys(
        (
            *("flair", "t2f", "t2flair", "t2wflair", "t2tirm", "darkfluid", "flair3d", "flair2d", "3dflair"),
            *("2dflair", "axflair", "sagflair", "corflair", "flairw"),
        ),
        ("t2f", None),
    ),
}
"""Word -> weighting (t1, t2, t2f) and, for T1, whether contrast was given (None: the word does not say)."""

CONTRAST = _words(
    "ce gd gad gado gadolinium km contrast kontrast kontrastmittel contraste contrasto kontrastem mdc mezzo inj "
    "injected injection injektion enhanced gadovist gadavist dotarem magnevist prohance multihance omniscan "
    "clariscan gadoterate postcontrast postgad postgd postkm postce postinj apres après"
)
"""Words that say that contrast was given, unless a negation stands before them."""

AFTER = "post"
BEFORE = "pre"
"""``post`` says contrast and ``pre`` says none, unless the next word is one of `NOT_CONTRAST`."""

NOT_CONTRAST = _words(
    "op operative operativ operation surgery surgical resection biopsy treatment tx rt radiation radiotherapy "
    "chemo therapy processed processing proc hoc process"
)
"""After ``pre`` and ``post`` these words speak of surgery, therapy or computing."""

NATIVE = _words(
    "nonenhanced native nativ nativa nativo natif unenhanced noncontrast noncon nocontrast nogad nogd noce nokm "
    "nongad nongd precontrast pregad pregd prekm okm ohnekm"
)
"""Words that say that no contrast was given."""

NEGATIONS: frozenset[str] = _words(
    "no non not none without wo before minus pre ohne kein keine keinem vor o sans avant sin antes sem senza prima "
    "zonder geen voor utan före fore uden før uten ilman bez przed před pred fara fără"
)
"""Before a word of `CONTRAST` (or ``c``) these say that no contrast was given."""

NEGATIONS_AT_END: frozenset[str] = frozenset(("without", "wo", "ohne", "sans"))
"""At the end of a text these say the same by themselves: ``T1 w/o``."""

FILLERS: frozenset[str] = _words(
    "iv i v with any the of agent media medium de del d du l la le di dell der den dem des"
)
"""Words that may stand between a negation and the agent."""

OTHER = _words(
    "atlas template defacemask adc swi swan venbold t2star t2starw t2starmap qsm mip minip phase unit1 inv1 inv2 "
    "dwi dti "
    "diff diffusion trace tracew fa hardi epi ep2d asl cbf cbv rcbv mtt ttp perf perfusion dsc dce "
    "ktrans bold fmri sbref tof mra mrv angio angiography spectroscopy svs csi mrs pd pdw pdt2 t1map t2map r1map "
    "r2map r2starmap pdmap mtrmap mtsat b0 b0map b1 b1map tb1map fieldmap megre mese mp2rage ciss fiesta trufi "
    "bffe dess stir localizer localiser scout t1rho proton inplanet1 inplanet2"
)
"""Words that name an image which is none of the four sequences: it is known and left out."""

OTHER_IN_TEXT = _words(
    "survey loc sub subtraction subtr spine spinal cervical thoracic lumbar cspine tspine lspine map mapping b0map "
    "phasediff screenshot"
)
"""The same in a DICOM description, and in a file name behind the sequence, where they cannot be a person, a subject
or a folder."""

OTHER_PATTERN = r"b\d{2,4}|b0+"
"""Words of this form are b-values of diffusion imaging."""

NEUTRAL = (
    _words(
        "ax axial sag sagittal cor coronal tra trans transversal transverse obl se tse fse gre gr ir ffe tfe space "
        "cube vista blade propeller 3d 2d iso fs fatsat brain head mr mri anat acq desc rec run echo part mag w and "
        "with reg n4 stripped defaced orig raw scan image"
    )
    | FILLERS
)
"""Words without a say: they neither belong to a case's name nor change the sequence."""

LABELS: frozenset[str] = frozenset(
    (
        *("seg", "dseg", "segmentation", "label", "labels", "mask", "brainmask", "roi", "probseg", "lesion", "lesions"),
        *("prob", "probability", "probabilities", "pred", "prediction", "annotation", "contour"),
    )
)
"""Words that name a mask or a map of probabilities, which is no input."""

EXACT: frozenset[str] = frozenset(("t1n", "t1c", "t2w", "t2f", "t1ce", "t1gd", "t1", "t2", "flair", "t1w"))
"""Last words of the naming schemes BraTS, BIDS and the plain one: such a name outweighs a freer one beside it."""

_CASE_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_BIDS_LEAD = re.compile(r"^sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?(?=_)", re.IGNORECASE)
_LETTERS = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class WordReading:
    """What words say about one image.

    Attributes:
        weighting: ``t1``, ``t2``, ``t2f``, ``other`` for an image that is known and not wanted, or empty.
        contrast: for T1: True, False, or None where nothing is said or the words contradict each other.
        contradiction: the words speak both of contrast and of none, or name two weightings.
    """

    weighting: str = ""
    contrast: bool | None = None
    contradiction: bool = False


@dataclass(frozen=True)
class StemReading:
    """What a file name without its extension says.

    Attributes:
        words: the sequence.
        lead: what precedes the words that mean something, as written; may be a person's name.
        bids: it begins as BIDS names do.
        exact: it follows BraTS, BIDS or the plain scheme to the letter.
        other: the word that names an image which is none of the four sequences, empty if none does.
    """

    words: WordReading
    lead: str
    bids: bool
    exact: bool
    other: str


def words_of(text: str) -> list[str]:
    """Cut text into lower-case words: at what is no letter or digit, and where a small letter meets a capital."""
    plain = _CASE_CHANGE.sub(" ", text).lower().replace("_", " ")
    for pattern, replacement in REPLACEMENTS:
        plain = re.sub(pattern, replacement, plain)
    return _LETTERS.findall(plain)


def is_other(word: str, in_text: bool = False) -> bool:
    """Whether a word names an image that is none of the four sequences."""
    return word in OTHER or re.fullmatch(OTHER_PATTERN, word) is not None or (in_text and word in OTHER_IN_TEXT)


def read_text(text: str) -> WordReading:
    """Read a DICOM description, or another free text about one image."""
    words = words_of(text)
    return _read(words, next((word for word in words if is_other(word, in_text=True)), ""))


def read_stem(stem: str) -> StemReading:
    """Read a file name without its extension: BraTS, BIDS, or words such as ``case1_t1_gd``."""
    bids = _BIDS_LEAD.match(stem)
    lead, rest = (bids.group(0), stem[bids.end() :]) if bids else ("", stem)
    words = words_of(rest)
    places = [i for i, word in enumerate(words) if word in ALIASES] or [i for i, w in enumerate(words) if is_other(w)]
    first = min(places, default=len(words))
    # Words on contrast count where they stand beside the sequence; further left they may be a person or a project.
    while not bids and first > 0 and (_known(words[first - 1]) or is_other(words[first - 1])):
        first -= 1
    counted = words[0 if bids else first :]
    named = 0 if bids else next((i for i, word in enumerate(counted) if word in ALIASES), len(counted))
    other = _other_word(counted, named)
    reading = _read(counted, other)
    if bids is None:
        lead = _lead(rest, words[:first])
    exact = bool(words) and words[-1] in EXACT and (bids is not None or words[first:] == words[-1:])
    return StemReading(reading, lead, bids is not None, exact, other)


def _other_word(words: Sequence[str], text_from: int) -> str:
    """The first word that names another image; from ``text_from`` on those of a description count too."""
    for place, word in enumerate(words):
        numbered = word == "sub" and any(letter.isdigit() for letter in "".join(words[place + 1 : place + 2]))
        if is_other(word, in_text=place >= text_from and not numbered):
            return word
    return ""


def sequence_of(reading: WordReading) -> MRSequence | None:
    """The sequence that words name; a T1 without a word on contrast counts as native. None if they name none."""
    if reading.contradiction:
        return None
    names = {"t2": MRSequence.T2W, "t2f": MRSequence.T2F, "t1": MRSequence.T1C if reading.contrast else MRSequence.T1N}
    return names.get(reading.weighting)


def case_words(lead: str) -> tuple[str, ...]:
    """The words of a case's name that tell it from other cases: those without a say are left out."""
    return tuple(word for word in words_of(lead) if word not in NEUTRAL)


def _known(word: str) -> bool:
    return word in NEUTRAL or word in CONTRAST or word in NATIVE or word in NEGATIONS or word in (AFTER, BEFORE)


def _lead(rest: str, words: Sequence[str]) -> str:
    """The part of a name that its first words make up, as written."""
    if not words:
        return ""
    end, plain = 0, _CASE_CHANGE.sub(" ", rest).lower()
    for word in words:
        found = plain.find(word, end)
        if found < 0:
            break  # a replacement made the word up
        end = found + len(word)
    added = _CASE_CHANGE.sub(" ", rest)[:end].count(" ") - rest[:end].count(" ")
    return rest[: end - max(0, added)].rstrip("-_. ")


def _read(words: Sequence[str], other: str) -> WordReading:
    if other:
        return WordReading("other")
    named = [ALIASES[word] for word in words if word in ALIASES]
    weightings = {weighting for weighting, _ in named}
    if weightings == {"t2", "t2f"}:
        weightings = {"t2f"}
    said = {contrast for _, contrast in named if contrast is not None} | _contrast(words)
    if len(weightings) > 1:
        return WordReading("", None, contradiction=True)
    weighting = next(iter(weightings), "")
    if weighting not in ("", "t1"):
        return WordReading(weighting)
    return WordReading(weighting, next(iter(said)) if len(said) == 1 else None, contradiction=len(said) > 1)


def _contrast(words: Sequence[str]) -> set[bool]:
    """What the words say of contrast: True, False, both or nothing."""
    said: set[bool] = set()
    skip = 0
    for place, word in enumerate(words):
        if place < skip:
            continue
        after = next((i for i in range(place + 1, len(words)) if words[i] not in FILLERS), len(words))
        following = words[after] if after < len(words) else ""
        if word in (AFTER, BEFORE) and following in NOT_CONTRAST:
            skip = after + 1
        elif word in NEGATIONS and (following in CONTRAST or following == "c"):
            said.add(False)
            skip = after + 1
        elif word in NATIVE or word == BEFORE or (word in NEGATIONS_AT_END and not following):
            said.add(False)
        elif word in CONTRAST and following in ("none", "no", "free", "neg", "negative"):
            said.add(False)
            skip = after + 1
        elif word in CONTRAST or word == AFTER:
            said.add(True)
    return said
