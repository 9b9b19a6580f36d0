"""No command takes the place of an earlier result or of a user's own file in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from tests.earlier_output import WORK, call, contents, holds_rule, refused

from hope.cli import main
from hope.domain.grid import Grid
from hope.domain.sequence import MRSequence
from hope.domain.volume import Volume
from hope.formats.nifti import write_labels, write_scan
from hope.testing.stored_results import labelled, write_stored_result

GRID = Grid((24, 20, 16), np.diag([1.0, 1.0, 2.0, 1.0]))

WRITES = {"-o", "--output", "--out", "--json", "--env-file", "--file", "--keep", "--output_path"}
NEVER_REPLACES = {
    "hope bids export": "a new directory",
    "hope dicom pull": "a new directory; one that is there is refused",
    "hope dicom receive": "run_case refuses other scans; images that come again have the names of their UIDs",
    "hope federate export evaluate": "a new directory",
    "hope federate export style": "a new directory",
    "hope federate export train": "a new directory",
    "hope models combine": "a new directory",
    "hope token": "adds a line",
    "hope train": "a run with a checkpoint or a bundle is refused, or gone on with",
    "hope train harmonizer": "as hope train",
    "hope train schedule": "a schedule of other cases is refused, or gone on with",
}


def commands(command: click.Command, name: str = "hope") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found is not None
            yield from commands(found, f"{name} {sub}")


def test_every_command_that_writes_where_the_user_says_can_be_told_to_replace() -> None:
    for name, command in commands(main):
        options = {option for parameter in command.params for option in parameter.opts}
        # `--json` of some commands is a switch and writes nothing.
        switches = {o for p in command.params if isinstance(p, click.Option) and p.is_flag for o in p.opts}
        if (options - switches) & WRITES and name not in NEVER_REPLACES:
            assert "--replace" in options, name
        if name in NEVER_REPLACES:
            assert "--replace" not in options, name


def mask(path: Path, place: int = 4) -> Path:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[place : place + 8, 4:12, 4:10] = 1
    labels[place + 2 : place + 4, 6:9, 5:9] = 2
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(Volume(labels, GRID), path)
    return path


def test_evaluate(tmp_path: Path) -> None:
    truth, first, second = (mask(tmp_path / name / "c.nii.gz", place) for place, name in enumerate("tab", 4))
    scores = tmp_path / "scores.json"
    call_of = ["evaluate", first.parent, truth.parent, "--json", scores]
    holds_rule(call_of, ["evaluate", second.parent, truth.parent, "--json", scores], [scores])


def test_evaluate_of_more_cases_holds_what_was_there(tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    words = ["evaluate", tmp_path / "p", tmp_path / "t", "--json", scores]
    for number in range(3):
        mask(tmp_path / "p" / f"c{number}.nii.gz", 4 + number)
        mask(tmp_path / "t" / f"c{number}.nii.gz")
        assert call(words)[0] == 0
    (tmp_path / "p" / "c1.nii.gz").unlink()
    (tmp_path / "t" / "c1.nii.gz").unlink()
    refused(words, [scores])
    assert set(json.loads(scores.read_text())["input"]["masks"]) == {"c0", "c1", "c2"}


def test_scores_of_failed_cases_alone_can_be_repeated(tmp_path: Path) -> None:
    mask(tmp_path / "t" / "c.nii.gz")
    mask(tmp_path / "p" / "other.nii.gz")
    words = ["evaluate", tmp_path / "p", tmp_path / "t", "--json", tmp_path / "scores.json"]
    assert call(words)[0] == call(words)[0] == 3


def test_a_mask_that_cannot_be_read_fails_its_case_alone(tmp_path: Path) -> None:
    words = ["evaluate", tmp_path / "p", tmp_path / "t", "--json", tmp_path / "scores.json"]
    for folder in ("p", "t"):
        mask(tmp_path / folder / "c1.nii.gz")
        mask(tmp_path / folder / "c2.nii.gz")
    (tmp_path / "p" / "c2.nii.gz").unlink()
    (tmp_path / "p" / "c2.nii.gz").mkdir()
    assert call(words)[0] == call(words)[0] == 3
    stated = json.loads((tmp_path / "scores.json").read_text())
    assert (list(stated["cases"]), list(stated["failures"]), list(stated["input"]["masks"])) == (["c1"], ["c2"], ["c1"])


def test_measure(tmp_path: Path) -> None:
    first, second = mask(tmp_path / "a.nii.gz"), mask(tmp_path / "b.nii.gz", 6)
    write_scan(
        Volume(np.random.default_rng(1).uniform(1, 9, GRID.shape).astype(np.float32), GRID), tmp_path / "t1c.nii"
    )
    out = tmp_path / "out"
    rest = ["--image", tmp_path / "t1c.nii", "-o", out]
    holds_rule(["measure", first, *rest], ["measure", second, *rest], [out])


def test_measure_leaves_what_lies_beside_its_files_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_bytes(WORK)
    words = ["measure", mask(tmp_path / "a.nii.gz"), "-o", out]
    assert call(words)[0] == call(words)[0] == 0
    (out / "measurements.png").write_bytes(WORK)  # that of the user: this call draws none
    refused(words, [out / "measurements.png"])
    assert call([*words, "--replace"])[0] == 0
    assert (out / "measurements.png").read_bytes() == (out / "notes.txt").read_bytes() == WORK


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_postprocess(tmp_path: Path, ending: str) -> None:
    first, second = mask(tmp_path / "a.nii.gz"), mask(tmp_path / "b.nii.gz", 6)
    target, facts = tmp_path / f"clean{ending}", tmp_path / "done.json"
    rest = [target, "--rules", "hope-peds-2024", "--cluster", 1, "--json", facts]
    holds_rule(["postprocess", first, *rest], ["postprocess", second, *rest], [target, facts])


def results(folder: Path, *cases: str, labels: tuple[int, ...] = (1, 2)) -> Path:
    for case in cases:
        write_stored_result(folder / case, labelled(GRID, labels), case_id=case, scan_sha256=f"{labels}"[:64])
    return folder


def test_cohort_table(tmp_path: Path) -> None:
    first = results(tmp_path / "1", "case-a", "case-b")
    second = results(tmp_path / "2", "case-a", "case-b", labels=(1, 3))
    table = tmp_path / "all.csv"
    made = [table, tmp_path / "all-dictionary.json"]
    holds_rule(["cohort", "table", first, "-o", table], ["cohort", "table", second, "-o", table], made)


def test_a_cohort_table_of_more_results_holds_what_was_there(tmp_path: Path) -> None:
    folder, table = results(tmp_path / "1", "case-a"), tmp_path / "all.csv"
    words = ["cohort", "table", folder, "-o", table]
    assert call(words)[0] == 0
    results(folder, "case-b")
    assert call(words)[0] == 0
    # What a person adds before a survival model is fitted: it must not be lost to a repeated call.
    lines = table.read_text().splitlines()
    table.write_text("\n".join([f"{lines[0]},days,event", *(f"{line},100,1" for line in lines[1:])]))
    refused(words, [table])


@pytest.mark.parametrize("viewer", ["--slicer", "--itksnap"])
def test_export(tmp_path: Path, viewer: str) -> None:
    first, second = results(tmp_path / "1", "case-a"), results(tmp_path / "2", "case-a", labels=(1, 3))
    out = tmp_path / "out"
    words, other = (["export", folder / "case-a", viewer, "-o", out] for folder in (first, second))
    if viewer == "--slicer":
        holds_rule(words, other, [out])
        return
    assert call(words) == call(other) == (0, ""), "label descriptions are the same for every case"
    (out / "case-a-labels.txt").write_bytes(WORK)
    refused(words, [out / "case-a-labels.txt"])


def test_federate_policy(tmp_path: Path) -> None:
    words = ["federate", "policy", "-o", tmp_path]
    assert call(words)[0] == call(words)[0] == 0
    (tmp_path / "resources.json").write_bytes(WORK)
    (tmp_path / "privacy.json").unlink()
    refused(words, [tmp_path / "resources.json"])
    assert call([*words, "--replace"])[0] == 0


def small_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Synthesis in no time: what is in a case depends on its seed and index."""

    def case(seed: int, index: int, kind: str | None) -> tuple[dict[MRSequence, Volume], Volume, tuple[str, ...]]:
        image = np.full(GRID.shape, 10 * seed + index + 1, np.float32)
        return {MRSequence.T1C: Volume(image, GRID)}, labelled(GRID), (str(kind),)

    monkeypatch.setattr("hope.synthesis.raw.preprocessed_case", case)


@pytest.mark.parametrize("changed", [["--seed", 2], ["--kind", "tiny"]])
def test_synth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: list[object]) -> None:
    small_cases(monkeypatch)
    words = ["synth", 2, "--preprocessed", "-o", tmp_path]
    case = tmp_path / "synth-0002"
    assert call(words)[0] == call(words)[0] == 0
    assert call(["synth", 3, *words[2:]])[0] == 0, "the same cases and one more"
    made = sorted(path for folder in tmp_path.iterdir() for path in folder.iterdir())
    refused([*words, *changed], made)
    (case / "synth-0002-t1c.nii.gz").write_bytes(WORK)
    refused(words, made)
    (case / "truth.json").unlink()
    refused([*words, "--replace"], made)  # what is no case of ours is never replaced
    assert call(["synth", 1, *words[2:], *changed, "--replace"])[0] == 0


def test_synth_makes_nothing_if_a_later_case_is_of_other_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_cases(monkeypatch)
    words = ["--preprocessed", "-o", tmp_path]
    assert call(["synth", 2, *words])[0] == 0
    made = {path: path.read_bytes() for path in (tmp_path / "synth-0002").iterdir()}
    for path in (tmp_path / "synth-0001").iterdir():
        path.unlink()
    (tmp_path / "synth-0001").rmdir()
    assert call(["synth", 2, *words, "--seed", 9])[0] == 2
    assert contents(list(made)) == made and [path.name for path in tmp_path.iterdir()] == ["synth-0002"]


def test_cases_of_an_earlier_version_do_not_say_their_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_cases(monkeypatch)
    words = ["synth", 1, "--preprocessed", "-o", tmp_path]
    assert call(words)[0] == 0
    facts = tmp_path / "synth-0001" / "truth.json"
    truth = json.loads(facts.read_text())
    del truth["input"]
    facts.write_text(json.dumps(truth))
    status, said = call(words)
    assert status == 2 and "does not say which" in said
    assert call([*words, "--replace"])[0] == 0


def test_a_directory_in_the_way_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "scores.json").mkdir()
    status, said = call(["evaluate", mask(tmp_path / "a.nii"), tmp_path / "a.nii", "--json", tmp_path / "scores.json"])
    assert status == 2 and "scores.json" in said


def test_a_call_that_was_killed_between_its_files_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = mask(tmp_path / "a.nii.gz"), mask(tmp_path / "b.nii.gz", 18)
    out, real = tmp_path / "out", Path.replace
    words = ["measure", first, "-o", out]
    with monkeypatch.context() as killed:
        killed.setattr(
            Path, "replace", lambda path, target: real(path, target) if target.suffix == ".csv" else killing()
        )
        with pytest.raises(KilledError):
            call(words)
    assert [path.name for path in out.iterdir()] == ["measurements.csv"]
    refused(["measure", second, "-o", out], [out / "measurements.csv"])
    assert call(words) == (0, "")


class KilledError(BaseException):
    """Ends a call between two renames."""


def killing() -> Path:
    raise KilledError


@pytest.mark.parametrize("name", ["scores.json", "clean.nii.gz", "all.csv", "all-dictionary.json", "resources.json"])
def test_an_empty_file_can_be_replaced(tmp_path: Path, name: str) -> None:
    """Scripts make their output's name by `mktemp`."""
    one = mask(tmp_path / "in" / "a.nii.gz")
    target = tmp_path / name
    target.touch()
    calls: dict[str, list[object]] = {
        "scores.json": ["evaluate", one, one, "--json", target],
        "clean.nii.gz": ["postprocess", one, target, "--rules", "hope-peds-2024", "--cluster", 1],
        "resources.json": ["federate", "policy", "-o", tmp_path],
    }
    table = ["cohort", "table", results(tmp_path / "results", "case-a"), "-o", tmp_path / "all.csv"]
    assert call(calls.get(name, table)) == (0, "")
    assert target.stat().st_size


def test_a_table_with_a_field_longer_than_a_reader_takes(tmp_path: Path) -> None:
    folder, table = results(tmp_path / "1", "case-a"), tmp_path / "all.csv"
    table.write_text("case_id," + "x" * 200_000)
    refused(["cohort", "table", folder, "-o", table], [table])
