"""Names are the field's: none of the words that this project once had to itself, each found in the syntax tree.

The list is exact: a word is looked for as a whole part of a name (``doubt`` in ``doubt_map`` and ``DoubtMap``), and
some names only as they stand. Text that keeps such a word says why.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOTS = ("src/hope", "tools", "benchmarks")
PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

WORDS = {
    **dict.fromkeys(("told",), "progress"),
    **dict.fromkeys(
        ("question", "questions", "answer", "answers", "answered"), "request, response, result, prediction"
    ),
    **dict.fromkeys(("room", "rooms"), "directory, package, space"),
    **dict.fromkeys(("keeper", "house"), "maintenance"),
    **dict.fromkeys(("beat", "beats"), "heartbeat"),
    **dict.fromkeys(("mend", "mends", "mended"), "reconcile"),
    **dict.fromkeys(("stray", "strays"), "orphans"),
    **dict.fromkeys(("conclude", "concludes"), "finalize"),
    **dict.fromkeys(("hear", "hears", "heard"), "receive, run_member"),
    **dict.fromkeys(("aloud",), "add_note"),
    **dict.fromkeys(("sentence", "sentences"), "message"),
    **dict.fromkeys(("handover",), "stage_io"),
    **dict.fromkeys(("suspicion", "suspicious", "lump", "lumps"), "lesion prior, components"),
    **dict.fromkeys(("doubt", "doubts", "doubtful"), "uncertainty, cautions"),
    **dict.fromkeys(("familiarity", "strange"), "out of distribution"),
    **dict.fromkeys(("tally", "ballot", "ballots", "voice", "voices"), "accumulator, votes"),
    **dict.fromkeys(("blueprint", "blueprints"), "traced graph"),
    **dict.fromkeys(("looks",), "evaluations, polls"),
    **dict.fromkeys(("exercise", "exercises", "glance", "glances"), "training pair, voxel sample"),
    **dict.fromkeys(("ladder", "ladders", "bend", "bent"), "percentiles, apply_curve"),
    **dict.fromkeys(("standin", "standins"), "pickle stubs"),
    **dict.fromkeys(("steering",), "validation split"),
}
"""A word inside a name, and what is said instead."""

NAMES = {
    "Sessions": "CaseLifecycle",
    "kill_session": "delete_session",
    "turn_over": "unload",
    "deliver": "write_results",
    "CopyPlace": "StagingLocation",
    "Forward": "CompiledNetwork",
    "GatewayParts": "GatewayComponents",
}
"""A whole name, and what is said instead."""

MODULES = {
    "answers": "serializers",
    "words": "vocabulary",
    "parts": "checkpoint_parts",
    "making": "factories",
    "holding": "row_locks",
}
"""A module's name, and what is said instead; in other names these are plain words, such as the parts of a path."""

STORED = {
    "familiarity.json": ("models/out_of_distribution.py", "bundles of version 0.1 hash the file under this name"),
    "hope-familiarity/1": ("models/out_of_distribution.py", "the format that stands in the file"),
    "hope-handover/1": ("formats/stage_io.py", "the format of files between stages and at SageMaker"),
    "room-": ("jobs/scratch.py", "directories of an earlier version are swept by this prefix"),
    "session.kill": ("commands/serve.py", "the action in audit logs, whose entries are chained by hashes"),
    "answers": ("models/ensemble/spec.py", "the key in model.json of ensembles of version 0.1"),
    "glances": ("training/harmonizer_config.py", "a setting in checkpoints of version 0.1"),
    "registration_doubtful": ("domain/qc.py", "a QC code in results of version 0.1"),
    "--doubt-map": ("contract/options.py", "the flag of version 0.1"),
    "/api/words": ("web/routes/service.py", "the route of version 0.1"),
}
"""Text that keeps such a word because it is stored or called by others: where it stands, and why.

``heartbeat`` is one word, so that ``beat`` does not stand in it; parts of a path and copies of a file are plain words.
"""


def names_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of all that a module defines: classes, functions, arguments, fields, attributes, variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def instead_of(name: str) -> str | None:
    """What is said instead of a name; None if the name may stand."""
    if name in NAMES:
        return NAMES[name]
    return next((WORDS[piece.lower()] for piece in PIECE.findall(name) if piece.lower() in WORDS), None)


def found_in(path: str, text: str) -> list[str]:
    """What of a module's names is on the list."""
    stem = Path(path).stem
    names = [(1, stem), *names_of(ast.parse(text))]
    found = [f"{path}:1: the module {stem}: say {MODULES[stem]}"] if stem in MODULES else []
    for line, name in names:
        if said := instead_of(name):
            found.append(f"{path}:{line}: {name}: say {said}")
    return found


def test_no_name_is_on_the_list() -> None:
    paths = [path for root in ROOTS for path in sorted((REPOSITORY / root).rglob("*.py"))]
    assert len(paths) > 400
    found = [line for path in paths for line in found_in(str(path.relative_to(REPOSITORY)), path.read_text("utf-8"))]
    assert not found, "\n" + "\n".join(found)


def test_text_that_keeps_a_word_is_still_needed() -> None:
    for text, (path, _) in STORED.items():
        assert f'"{text}"' in (REPOSITORY / "src/hope" / path).read_text("utf-8"), f"{path} has no {text} any more"


@pytest.mark.parametrize(
    ("path", "text", "hits"),
    [
        ("a/answers.py", "", 2),
        ("a/heartbeat.py", "heartbeat = part = parts = 1", 0),
        ("a/b.py", "def f(told): pass", 1),
        ("a/b.py", "class DoubtMap:\n    familiarity: int = 0", 2),
        ("a/b.py", "x.room = 1\nprint(y.room)", 1),
        ("a/b.py", "class Sessions: pass\nsessions = []", 1),
        ("a/b.py", "for doubt_map in []: pass", 1),
        ("a/b.py", "from c import d as ballots", 1),
        ("a/b.py", "'a doubt in a sentence'", 0),
    ],
)
def test_the_check_itself_can_fail(path: str, text: str, hits: int) -> None:
    assert len(found_in(path, text)) == hits
