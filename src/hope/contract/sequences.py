"""Which of the four sequences a file name or a text speaks of, by the tables of `hope.contract.sequence_words`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from hope.contract.sequence_words import (
    AFTER,
    AFTER_AGENT,
    ALIASES,
    AND,
    BEFORE,
    CONTRAST,
    EXACT,
    FILLERS,
    LABELS,
    LAST_AFTER_AGENT,
    LETTER_NEGATION,
    LINKS,
    LONE_NEGATIONS,
    NATIVE,
    NEGATIONS,
    NEGATIONS_AT_END,
    NEUTRAL,
    NOT_CONTRAST,
    OTHER,
    OTHER_IN_TEXT,
    OTHER_PATTERN,
    REPLACEMENTS,
)
from hope.domain.case import MRSequence

# oKM ("ohne KM") stays one word.
_CASE_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])(?!(?<=(?<![A-Za-z])o)(?:KM|G[Dd]))")
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
    plain = _split(text).replace("_", " ")
    for pattern, replacement in REPLACEMENTS:
        plain = re.sub(pattern, replacement, plain)
    return _LETTERS.findall(plain)


def _split(text: str) -> str:
    # File systems of macOS keep a letter and its accent apart.
    return _CASE_CHANGE.sub(" ", unicodedata.normalize("NFC", text)).lower()


def is_other(word: str, in_text: bool = False) -> bool:
    """Whether a word names an image that is none of the four sequences."""
    return word in OTHER or re.fullmatch(OTHER_PATTERN, word) is not None or (in_text and word in OTHER_IN_TEXT)


def read_text(text: str) -> WordReading:
    """Read a DICOM description, or another free text about one image."""
    words = words_of(text)
    return _read(words, next((word for word in words if is_other(word, in_text=True)), ""), 0)


def read_stem(stem: str) -> StemReading:
    """Read a file name without its extension: BraTS, BIDS, or words such as ``case1_t1_gd``."""
    bids = _BIDS_LEAD.match(stem)
    lead, rest = (bids.group(0), stem[bids.end() :]) if bids else ("", stem)
    words = words_of(rest)
    places = [i for i, word in enumerate(words) if word in ALIASES] or [i for i, w in enumerate(words) if is_other(w)]
    first = min(places, default=len(words))
    first = first if bids else _begin(words, first)
    counted = words[0 if bids else first :]
    named = 0 if bids else next((i for i, word in enumerate(counted) if word in ALIASES), len(counted))
    other = _other_word(counted, named)
    reading = _read(counted, other, named)
    if bids is None:
        lead = _lead(rest, words[:first])
    exact = bool(words) and words[-1] in EXACT and (bids is not None or words[first:] == words[-1:])
    return StemReading(reading, lead, bids is not None, exact, other)


def _begin(words: Sequence[str], first: int) -> int:
    """Where the words on the sequence at ``first`` begin; further left they may be a person or a project."""
    while first > 0:
        before = words[first - 1]
        predicted = before in LABELS and before in NEGATIONS and not names_agent(words, first - 1)
        if _known(before) or is_other(before) or predicted:
            first -= 1
            continue
        # Other negations, and what joins them to an agent, count only as a whole: vor der KM-Gabe.
        start = first - 1
        while start >= 0 and (words[start] in FILLERS or words[start] in CONTRAST):
            start -= 1
        negation = words[start] if start >= 0 else ""
        if negation not in NEGATIONS or not names_agent(words, start):
            break
        if negation == LETTER_NEGATION and words[start + 1] not in CONTRAST:
            break
        first = start
    return first


def _other_word(words: Sequence[str], text_from: int) -> str:
    """The first word that names another image; from ``text_from`` on those of a description count too."""
    for place, word in enumerate(words):
        numbered = word == "sub" and any(letter.isdigit() for letter in "".join(words[place + 1 : place + 2]))
        if is_other(word, in_text=place >= text_from and not numbered):
            return word
    return ""


def names_label(words: Sequence[str]) -> bool:
    """Whether words name a mask; ``pred`` before an agent is Slavic for "before" and no prediction."""
    return any(
        word in LABELS and not (word in NEGATIONS and names_agent(words, place)) for place, word in enumerate(words)
    )


def names_agent(words: Sequence[str], place: int) -> bool:
    """Whether a contrast agent follows the word at ``place``, fillers aside."""
    after = _past_fillers(words, place + 1)
    return after < len(words) and (words[after] in CONTRAST or words[after] == "c")


def _past_fillers(words: Sequence[str], place: int) -> int:
    return next((i for i in range(place, len(words)) if words[i] not in FILLERS), len(words))


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
    return word in NEUTRAL or word in CONTRAST or word in NATIVE or word in LONE_NEGATIONS or word in (AFTER, BEFORE)


def _lead(rest: str, words: Sequence[str]) -> str:
    """The part of a name that its first words make up, as written."""
    end, plain = 0, _split(rest)
    for word in words:
        found = plain.find(word, end)
        if found >= 0:  # otherwise a replacement made the word up
            end = found + len(word)
    composed = unicodedata.normalize("NFC", rest)
    added = _CASE_CHANGE.sub(" ", composed)[:end].count(" ") - composed[:end].count(" ")
    end -= max(0, added)
    if composed != rest:  # the same length of it in the letters of the name
        end = max(n for n in range(len(rest) + 1) if len(unicodedata.normalize("NFC", rest[:n])) <= end)
    return rest[:end].rstrip("-_. ")


def _read(words: Sequence[str], other: str, text_from: int) -> WordReading:
    if other:
        return WordReading("other")
    named = [ALIASES[word] for word in words if word in ALIASES]
    weightings = {weighting for weighting, _ in named}
    if weightings == {"t2", "t2f"}:
        weightings = {"t2f"}
    said = {contrast for _, contrast in named if contrast is not None} | _contrast(words, text_from)
    if len(weightings) > 1:
        return WordReading("", None, contradiction=True)
    weighting = next(iter(weightings), "")
    if weighting not in ("", "t1"):
        return WordReading(weighting)
    return WordReading(weighting, next(iter(said)) if len(said) == 1 else None, contradiction=len(said) > 1)


def _contrast(words: Sequence[str], text_from: int) -> set[bool]:
    """What the words say of contrast: True, False, both or nothing."""
    said: set[bool] = set()
    skip = 0
    for place, word in enumerate(words):
        if place < skip:
            continue
        after = _past_fillers(words, place + 1)
        following = words[after] if after < len(words) else ""
        letter = word == LETTER_NEGATION and place < text_from
        both = place + 1 < len(words) and words[place + 1] in AND and names_agent(words, place + 2)
        if word in NEGATIONS and (both or (letter and names_agent(words, place))):
            said |= {True, False}
            skip = place + 3 if both else _past_agents(words, after)
        elif word in (AFTER, BEFORE) and following in NOT_CONTRAST:
            skip = after + 1
        elif word in NEGATIONS and not letter and names_agent(words, place):
            said.add(False)
            skip = _past_agents(words, after)
        elif word in NATIVE or word == BEFORE or (word in NEGATIONS_AT_END and not following):
            said.add(False)
        elif word in CONTRAST and (
            following in AFTER_AGENT or (following in LAST_AFTER_AGENT and after == len(words) - 1)
        ):
            said.add(False)
            skip = after + 1
        elif word in CONTRAST or word == AFTER:
            said.add(True)
    return said


def _past_agents(words: Sequence[str], agent: int) -> int:
    """The place behind an agent and those that are joined to it: injection de gadolinium, mezzo di contrasto."""
    end = agent + 1
    while end < len(words) and words[end] in LINKS and names_agent(words, end):
        end = _past_fillers(words, end) + 1
    return end
