"""Write viewer/src/app/sequences.generated.ts from `hope.contract.sequence_words`; a test fails while they differ."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hope.contract import sequence_words

TARGET = Path(__file__).resolve().parents[1] / "viewer" / "src" / "app" / "sequences.generated.ts"


def content() -> str:
    """The TypeScript module, as text."""
    sets = (
        "CONTRAST",
        "NOT_CONTRAST",
        "NATIVE",
        "LONE_NEGATIONS",
        "NEGATIONS",
        "NEGATIONS_AT_END",
        "AFTER_AGENT",
        "LAST_AFTER_AGENT",
        "AND",
        "LINKS",
        "FILLERS",
        "OTHER",
        "OTHER_IN_TEXT",
        "NEUTRAL",
        "LABELS",
    )
    table: dict[str, object] = {
        "replacements": [list(pair) for pair in sequence_words.REPLACEMENTS],
        "aliases": {word: list(meaning) for word, meaning in sorted(sequence_words.ALIASES.items())},
        "otherPattern": sequence_words.OTHER_PATTERN,
        "letterNegation": sequence_words.LETTER_NEGATION,
    }
    for name in sets:
        words = name.lower().split("_")
        table[words[0] + "".join(word.title() for word in words[1:])] = sorted(getattr(sequence_words, name))
    lines = [
        "// Made by tools/make_sequence_table.py from src/hope/contract/sequence_words.py. Do not edit.",
        "// biome-ignore-all format: generated",
        "export const TABLE = {",
    ]
    lines += [f"  {name}: {json.dumps(value, ensure_ascii=False)}," for name, value in table.items()]
    return "\n".join([*lines, "} as const", ""])


if __name__ == "__main__":
    TARGET.write_text(content(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name} written\n")
