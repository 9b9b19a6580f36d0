"""The schedule: phases in order, each from the weights of the first, no case judged by weights that saw it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import hope.training.schedule as schedule
from hope.cli import main
from hope.domain.errors import InputError
from hope.domain.labels import label_set
from hope.domain.progress import silent
from hope.training.checkpoints import Checkpoint
from hope.training.config import TrainingConfig, hash_of_ids
from hope.training.export import export_bundle
from hope.training.loop import load_checkpoint, save_checkpoint, start, unet_weights
from hope.training.run_log import draw_curves, table_of
from hope.training.schedule import Folds, Phase, check_schedule, phases, run_schedule
from hope.training.stored import NON_ENHANCING, RING, TUMOUR_FREE, write_sample

TINY = TrainingConfig(
    steps=2,
    batch=1,
    patch=(16, 16, 16),
    tile=(16, 16, 16),
    widths=(4, 8),
    blocks=(1, 1),
    decoder_blocks=(1,),
    real_share=1.0,
    first_cases=1,
    new_cases_per_step=0.0,
    held_out=0,
    calibration_cases=0,
    look_every=1,
)
FOLDS = Folds((("a", "b"), ("c", "free")))


@pytest.fixture
def stored(tmp_path: Path) -> dict[str, tuple[str, list[Path]]]:
    kinds = {"a": RING, "b": NON_ENHANCING, "c": RING, "free": TUMOUR_FREE}
    found = {}
    for number, (case, kind) in enumerate(kinds.items()):
        rng = np.random.default_rng(number)
        images = rng.normal(0, 1, (4, 18, 20, 17)).astype(np.float16)
        sets = np.full(images.shape[1:], label_set(0), np.uint8)
        if kind != TUMOUR_FREE:
            sets[4:12, 4:12, 4:12] = label_set(2, 3)
        if kind == RING:
            sets[4:12, 4:12, 4:9] = label_set(1)
        paths = [tmp_path / f"{number:012d}-{copy:02d}-{kind}.npz" for copy in range(2)]
        for path in paths:
            write_sample(path, (images, sets))
        found[case] = (kind, paths)
    return found


def test_the_plan_has_the_steps_and_draws_that_were_decided() -> None:
    plan = phases(FOLDS, None)
    assert [phase.name for phase in plan] == ["phase-1", "phase-2-fold-0", "phase-2-fold-1", "phase-3"]
    first, *folds, last = plan
    assert (first.config.steps, first.real, first.config.variety is not None) == (12_000, False, True)
    assert [phase.fold for phase in folds] == [0, 1]
    assert all(phase.config.steps >= 4_000 for phase in folds)
    assert (last.config.steps, last.fold) == (8_000, None)
    for phase in (*folds, last):
        assert 1 / 3 - 0.01 <= phase.config.real_share <= 0.5
        assert phase.config.tumour_free_share > 0
        assert phase.config.variety is not None
        assert phase.config.variety.tumour_free > 0
        assert phase.config.augmentation.fewer_sequences > 0
    assert [phase.name for phase in phases(Folds(), None)] == ["phase-1"]


def test_without_steps_the_last_phase_is_left_out() -> None:
    plan = phases(FOLDS, None, (30, 20, 0))
    assert [(phase.name, phase.config.steps) for phase in plan] == [
        ("phase-1", 30),
        ("phase-2-fold-0", 20),
        ("phase-2-fold-1", 20),
    ]


def test_the_folds_may_start_from_a_bundle_without_a_first_phase(
    stored: dict[str, tuple[str, list[Path]]], tmp_path: Path
) -> None:
    base = export_bundle(start(TINY), TINY, tmp_path / "base", "base")
    plan = phases(FOLDS, base, (0, 20, 0))
    assert [(phase.name, phase.config.base) for phase in plan] == [
        ("phase-2-fold-0", f"base {base.sha256}"),
        ("phase-2-fold-1", f"base {base.sha256}"),
    ]
    still = replace(TINY, learning_rate=0.0, blend=0.5)
    folds = [replace(phase, config=still) for phase in plan]
    run_schedule(tmp_path / "run", folds, lambda: stored, FOLDS, base, silent, ["phase-2-fold-1"])
    later = Checkpoint(tmp_path / "run" / "phase-2-fold-1", "segmenter").average()
    assert not (tmp_path / "run" / "phase-2-fold-0").exists()
    assert all(torch.allclose(kept, later[name], atol=1e-3) for name, kept in unet_weights(base).items())


def test_one_process_may_train_one_fold_once_the_first_phase_has_ended(
    stored: dict[str, tuple[str, list[Path]]], tmp_path: Path
) -> None:
    plan = [
        Phase("phase-1", replace(TINY, steps=1), real=False),
        Phase("phase-2-fold-0", TINY, fold=0),
        Phase("phase-2-fold-1", TINY, fold=1),
    ]
    with pytest.raises(InputError, match="phase-1 has not ended"):
        run_schedule(tmp_path, plan, lambda: stored, FOLDS, None, silent, ["phase-2-fold-1"])
    with pytest.raises(InputError, match=r"no such phase.*phase-2-fold-1.*phase-9"):
        run_schedule(tmp_path, plan, lambda: stored, FOLDS, None, silent, ["phase-9"])
    run_schedule(tmp_path, plan[:1], lambda: stored, FOLDS, None, silent)
    bundle = run_schedule(tmp_path, plan, lambda: stored, FOLDS, None, silent, ["phase-2-fold-1"])
    assert bundle.id == "phase-2-fold-1"
    assert not (tmp_path / "phase-2-fold-0").exists()


def test_no_phase_sees_what_it_is_judged_on(
    stored: dict[str, tuple[str, list[Path]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[str]] = {}
    unseen: dict[str, int] = {}
    true_train = schedule.train

    def spy(
        state: object, config: TrainingConfig, folder: Path, progress: object, real: dict, **more: object
    ) -> object:
        files = {path.name for paths in real.values() for path in paths}
        seen[folder.name] = {case for case, (_, paths) in stored.items() if files & {path.name for path in paths}}
        unseen[folder.name] = len(more["unseen"])  # type: ignore[arg-type]
        used = real or {RING: stored["a"][1]}  # the tiny first phase has no synthesis to draw from
        return true_train(state, config, folder, progress, used, **more)

    monkeypatch.setattr(schedule, "train", spy)
    plan = [
        Phase("phase-1", TINY, real=False),
        Phase("phase-2-fold-0", replace(TINY, blend=0.3), fold=0),
        Phase("phase-2-fold-1", replace(TINY, blend=0.3), fold=1),
        Phase("phase-3", TINY),
    ]
    bundle = run_schedule(tmp_path / "run", plan, lambda: stored, FOLDS, None, silent)
    assert seen == {
        "phase-1": set(),
        "phase-2-fold-0": {"c", "free"},
        "phase-2-fold-1": {"a", "b"},
        "phase-3": set(stored),
    }
    assert unseen == {"phase-1": 0, "phase-2-fold-0": 2, "phase-2-fold-1": 2, "phase-3": 0}
    assert bundle.id == "phase-3"
    assert bundle.manifest["training"]["real_cases"] == 4
    assert bundle.manifest["training"]["only_synthetic"] is False
    kept = Checkpoint(tmp_path / "run" / "phase-2-fold-0", "segmenter")
    assert kept.config["real_sha256"] == hash_of_ids(["c", "free"])
    rows = {row["phase"]: row for row in table_of(tmp_path / "run")}
    assert rows["phase-2-fold-0"]["step"] == 2
    assert rows["phase-2-fold-0"]["unseen WT"] is not None
    assert rows["phase-2-fold-1"]["unseen ml without tumour"] is not None
    draw_curves(tmp_path / "run", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    again = run_schedule(tmp_path / "run", plan, lambda: stored, FOLDS, None, silent)
    assert again.sha256 == bundle.sha256, "what is done is not done again"


def test_later_phases_start_from_the_first_and_are_averaged_with_it(
    stored: dict[str, tuple[str, list[Path]]], tmp_path: Path
) -> None:
    """With a learning rate of zero and half of the first weights mixed in, the first weights are what comes out."""
    still = replace(TINY, learning_rate=0.0, blend=0.5)
    first = Phase("phase-1", TINY)  # real cases stand in for its synthesis here
    plan = [Phase("phase-1", TINY, real=False), Phase("phase-2-fold-0", still, fold=0)]
    from hope.training.loop import train

    (tmp_path / "run" / "phase-1").mkdir(parents=True)
    train(start(first.config), first.config, tmp_path / "run" / "phase-1", silent, {RING: stored["a"][1]})
    run_schedule(tmp_path / "run", plan, lambda: stored, FOLDS, None, silent)
    base = Checkpoint(tmp_path / "run" / "phase-1", "segmenter").average()
    later = Checkpoint(tmp_path / "run" / "phase-2-fold-0", "segmenter").average()
    assert all(torch.allclose(base[name], later[name], atol=1e-6) for name in base)


def test_more_steps_for_a_fold_that_had_ended_take_the_recipe_of_today(
    stored: dict[str, tuple[str, list[Path]]], tmp_path: Path
) -> None:
    """One that was stopped goes on with its own; the bundle says what the last steps were made with."""
    base = export_bundle(start(TINY), TINY, tmp_path / "base", "base")

    def shares(steps: int, real_share: float) -> tuple[int, float]:
        plan = [Phase("phase-2-fold-0", replace(TINY, steps=steps, real_share=real_share), fold=0)]
        run_schedule(tmp_path / "run", plan, lambda: stored, FOLDS, base, silent)
        kept = Checkpoint(tmp_path / "run" / "phase-2-fold-0", "segmenter")
        return kept.config["steps"], kept.config["real_share"]

    assert shares(2, 1.0) == (2, 1.0)
    assert shares(3, 0.9) == (3, 0.9)
    folder = tmp_path / "run" / "phase-2-fold-0"
    state, config = load_checkpoint(folder)
    save_checkpoint(state, replace(config, steps=9), folder)  # as if it had been stopped on its way to 9
    assert shares(4, 0.5) == (4, 0.9)
    other = Phase("phase-2-fold-0", replace(TINY, steps=5, widths=(4, 12)), fold=0)
    with pytest.raises(InputError, match="another network than today's recipe"):
        run_schedule(tmp_path / "run", [other], lambda: stored, FOLDS, base, silent)


def test_a_schedule_goes_on_with_what_it_was_begun_with(tmp_path: Path) -> None:
    check_schedule(tmp_path, Folds(), "peds", None)
    check_schedule(tmp_path, FOLDS, "brats2023", None)  # cases may come after phase 1 has begun
    check_schedule(tmp_path, FOLDS, "brats2023", None)
    for folds, scheme in ((Folds(), "peds"), (FOLDS, "peds"), (Folds((("a",),)), "brats2023")):
        with pytest.raises(InputError, match="other cases, folds"):
            check_schedule(tmp_path, folds, scheme, None)


@pytest.mark.parametrize(
    ("content", "match"),
    [("[]", "no list of folds"), ("{", "no list of folds"), ('{"folds": [["a"], ["a"]]}', "two folds.*a")],
)
def test_folds_that_leak_or_are_none_are_refused(content: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "folds.json").write_text(content)
    with pytest.raises(InputError, match=match):
        Folds.read(tmp_path / "folds.json")


def test_the_folds_of_the_model_that_ships() -> None:
    """Drawn once: 38 adults and two tumour-free volumes, each kind in each fold, none of those that only judge."""
    folds = Folds.read(Path(__file__).parents[3] / "benchmarks" / "folds.json")
    assert sorted(len(fold) for fold in folds.folds) == [13, 13, 14]
    assert sum(case.startswith("open-ms") for case in folds.cases) == 2
    judges = {"BraTS-GLI-00002-000", "BraTS2024_SSA-00230-000", "BraTS20_Training_001", "Brats18_2013_21_1"}
    assert not judges & set(folds.cases)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--cases", "x"], "belong together"),
        (["--folds", "missing.json"], "belong together"),
        (["--cases", ".", "--folds", "missing.json"], "no list of folds"),
        (["--steps", "0", "3", "3"], "at least one step"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], match: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["train", "schedule", "-o", str(tmp_path / "run"), *arguments])
    assert result.exit_code == 2
    assert match in result.output
    assert not (tmp_path / "run").exists()


def test_progress_of_no_run_is_a_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["train", "progress", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no training run" in result.output


def test_progress_prints_a_row_a_phase(tmp_path: Path) -> None:
    for name, steps in (("phase-1", 3), ("phase-2-fold-0", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "losses.txt").write_text("".join(f"{0.5 + n}\n" for n in range(steps)))
        entry = {"step": 2, "loss": 1.0, "hold_out_dice": {"WT": 0.8, "TC": 0.7, "ET": 0.6}, "seconds": 7200}
        (tmp_path / name / "log.jsonl").write_text(json.dumps(entry) + "\n")
    result = CliRunner().invoke(main, ["train", "progress", str(tmp_path)])
    assert result.exit_code == 0, result.output
    header, first, second, *_ = result.output.splitlines()
    assert header.split()[:4] == ["phase", "step", "hours", "loss"]
    assert first.split()[:4] == ["phase-1", "3", "3.0", "1.5"]
    assert second.split()[0] == "phase-2-fold-0"
    assert (tmp_path / "curves.png").is_file()
    as_json = CliRunner().invoke(main, ["train", "progress", str(tmp_path), "--json"])
    assert json.loads(as_json.output)[0]["synthetic WT"] == 0.8
