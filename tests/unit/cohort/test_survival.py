"""The survival model: coefficients, refusals, what is published, and what a published one says."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests.earlier_output import holds_rule, refused

from hope.cli import main
from hope.cohort.apply import apply_model, read_values
from hope.cohort.cox import Outcomes, _likelihood, baseline_hazard, concordance, fit_cox, kaplan_meier
from hope.cohort.disclosure import shown_range
from hope.cohort.survival import check_cohort, fit_report, validate
from hope.cohort.table import Cohort, Joined, read_cohort
from hope.domain.errors import InputError


def simulated(seed: int, cases: int, effect: float, covariates: int = 4, day: float = 30.0) -> Cohort:
    """Exponential survival; times in whole steps of ``day``, so that there are ties; most have an event."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(cases, covariates))
    beta = effect * np.array([1.0, -0.7, *np.zeros(covariates - 2)])
    died = rng.exponential(400 * np.exp(-x @ beta))
    followed = rng.uniform(200, 1500, cases)
    days = np.ceil(np.minimum(died, followed) / day) * day
    names = tuple(f"x{number}" for number in range(covariates))
    return Cohort(names, x, Outcomes(days, died <= followed))


@pytest.mark.parametrize("seed", range(5))
def test_coefficients_maximise_efrons_likelihood_and_equal_lifelines(seed: int) -> None:
    cohort = simulated(seed, 200, 0.5)
    beta = fit_cox(cohort.covariates, cohort.outcomes, 0.02)
    order = np.argsort(-cohort.outcomes.days, kind="stable")
    sorted_by_time = (cohort.covariates[order], cohort.outcomes.days[order], cohort.outcomes.events[order])

    def value(at: np.ndarray) -> float:
        return _likelihood(at, *sorted_by_time, 0.02)[0]

    for column in range(4):
        step = np.zeros(4)
        step[column] = 1e-4
        assert abs(value(beta + step) - value(beta - step)) / 2e-4 < 1e-5
    lifelines = pytest.importorskip("lifelines", reason="the yardstick lifelines is not installed")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(cohort.covariates, columns=list(cohort.names))
    frame["days"], frame["event"] = cohort.outcomes.days, cohort.outcomes.events
    model = lifelines.CoxPHFitter(penalizer=0.02, l1_ratio=0.0)
    model.fit(frame, "days", "event", fit_options={"precision": 1e-10})
    scaled = (cohort.covariates - cohort.covariates.mean(axis=0)) / cohort.covariates.std(axis=0, ddof=1)
    ours = fit_cox(scaled, cohort.outcomes, 0.02) / cohort.covariates.std(axis=0, ddof=1)
    assert np.abs(model.params_.to_numpy() - ours).max() < 1e-4
    curve = lifelines.KaplanMeierFitter().fit(cohort.outcomes.days, cohort.outcomes.events)
    times, alive = kaplan_meier(cohort.outcomes)
    assert curve.survival_function_at_times(times).to_numpy() == pytest.approx(alive, abs=1e-12)


def test_efron_by_hand_with_two_tied_deaths() -> None:
    x = np.array([[1.0], [0.0], [2.0]])
    days, events = np.array([3.0, 2.0, 2.0]), np.array([False, True, True])
    value, gradient, _ = _likelihood(np.zeros(1), x, days, events, 0.0)
    # Both die at once among three: weights 3, then 3 less half of the two.
    assert value * 3 == pytest.approx(-np.log(3) - np.log(2))
    assert gradient[0] * 3 == pytest.approx(2 - 1 - (3 - 1) / 2)


def test_concordance_and_kaplan_meier_by_hand() -> None:
    outcomes = Outcomes(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, False]))
    assert concordance(np.array([4.0, 3.0, 2.0, 1.0]), outcomes) == 1
    assert concordance(np.array([1.0, 2.0, 3.0, 4.0]), outcomes) == 0
    assert concordance(np.zeros(4), outcomes) == 0.5
    times, alive = kaplan_meier(outcomes)
    assert times.tolist() == [1, 2] and alive.tolist() == pytest.approx([0.75, 0.5])


def test_what_cannot_carry_a_model_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match=r"too small .* 100 events or more"):
        check_cohort(simulated(1, 60, 1.0))
    with pytest.raises(InputError, match="110 events or more"):
        check_cohort(simulated(1, 140, 0.1, covariates=11))
    sound = simulated(1, 316, 0.5)
    check_cohort(sound)
    constant = np.column_stack([sound.covariates, np.ones(316)])
    with pytest.raises(InputError, match=r"same in all cases .*x4"):
        check_cohort(Cohort((*sound.names, "x4"), constant, sound.outcomes))
    double = np.column_stack([sound.covariates, 3 * sound.covariates[:, 0] + 1])
    with pytest.raises(InputError, match=r"repeat one another .*x4 and x0"):
        check_cohort(Cohort((*sound.names, "x4"), double, sound.outcomes))
    total = np.column_stack([sound.covariates, sound.covariates.sum(axis=1)])
    with pytest.raises(InputError, match="one is a sum of others"):
        check_cohort(Cohort((*sound.names, "x4"), total, sound.outcomes))


def test_a_true_effect_is_published_and_a_permuted_outcome_is_not() -> None:
    cohort = simulated(2, 316, 0.5)
    found = validate(cohort, 0.02, repeats=3)
    assert found.publishable and found.c_low > 0.6
    rng = np.random.default_rng(3)
    for _ in range(3):
        permuted = cohort.outcomes.part(rng.permutation(316))
        assert not validate(Cohort(cohort.names, cohort.covariates, permuted), 0.02, repeats=3).publishable


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    cohort = simulated(4, 316, 0.6, covariates=2)
    folder = tmp_path_factory.mktemp("cohort")
    sexes = ["female", "male"]
    lines = ["case_id,days,event,age_years,sex"]
    for number, (row, days, event) in enumerate(
        zip(cohort.covariates, cohort.outcomes.days, cohort.outcomes.events, strict=True)
    ):
        lines.append(f"c{number},{days},{int(event)},{8 + 2 * row[0]:.4f},{sexes[int(row[1] > 0)]}")
    (folder / "cohort.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "cohort.csv", folder


def test_a_report_of_another_fit_stays(
    table: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "survival.json"
    lines = table[0].read_text(encoding="utf-8").splitlines()
    # Patients have changed their ages: that the report is of others shows only once the fit is done.
    rows = [line.split(",") for line in lines[1:]]
    aged = [",".join([*row[:3], other[3], row[4]]) for row, other in zip(rows, [*rows[20:], *rows[:20]], strict=True)]
    (tmp_path / "later.csv").write_text("\n".join([lines[0], *aged]), encoding="utf-8")
    words = ["survival", "fit", table[0], "-o", out]
    holds_rule(words, ["survival", "fit", tmp_path / "later.csv", "-o", out], [out])
    before = out.read_bytes()
    late = CliRunner().invoke(main, list(map(str, words)))
    assert late.exit_code == 2 and "C-index" in late.stdout, "what the work found is not lost"
    with monkeypatch.context() as unfitted:
        unfitted.setattr("hope.cohort.survival.validate", lambda *_: pytest.fail("refused after the work"))
        for other in (["--penalty", 0.5], ["--seed", 2]):
            refused([*words, *other], [out])
    assert out.read_bytes() == before
    assert "sha256" not in out.read_text(), "a published report holds no hash of its patients"


def test_fit_and_apply_by_command(table: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "survival.json"
    run = CliRunner().invoke(main, ["survival", "fit", str(table[0]), "-o", str(out)])
    assert run.exit_code == 0 and "published: the model" in run.output, run.output
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["covariates"] == ["age_years", "sex=male"] and "c12" not in out.read_text(encoding="utf-8")
    high = CliRunner().invoke(main, ["survival", "apply", str(out), "age_years=12", "sex=male=0"])
    low = CliRunner().invoke(main, ["survival", "apply", str(out), "age_years=4", "sex=male=1"])
    assert "risk third: high" in high.output and "risk third: low" in low.output
    for arguments, words in (
        (["age_years=60", "sex=male=0"], "outside the cases of the fit"),
        (["age_years=6"], "not the model's"),
    ):
        run = CliRunner().invoke(main, ["survival", "apply", str(out), *arguments])
        assert run.exit_code == 2 and words in run.output
    out.write_text(json.dumps({**report, "published": False}))
    run = CliRunner().invoke(main, ["survival", "apply", str(out), "age_years=6", "sex=male=0"])
    assert run.exit_code == 2 and "was not published" in run.output


@pytest.fixture(scope="module")
def published() -> tuple[Cohort, dict[str, Any]]:
    """A cohort with a category of three levels and days and covariates to the last digit, and its report."""
    base = simulated(7, 316, 0.8, day=0.001)
    third = np.digitize(base.covariates[:, 1], [-0.4, 0.4])
    levels = np.column_stack([third == 1, third == 2]).astype(float)
    names = ("age_years", "ml_WT", "site=infratentorial", "site=midline")
    covariates = np.column_stack([8 + 2 * base.covariates[:, 0], np.exp(3 + base.covariates[:, 1]), levels])
    cohort = Cohort(names, covariates, base.outcomes)
    report = fit_report(cohort, 0.02, validate(cohort, 0.02, repeats=1))
    assert report["published"]
    return cohort, report


CASE = {"age_years": "8", "ml_WT": "20", "site=infratentorial": "0", "site=midline": "1"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"site=midline": "0.5"}, "0 or 1"),
        ({"site=midline": "2"}, "0 or 1"),
        ({"site=midline": "nan"}, "0 or 1"),
        ({"site=infratentorial": "1"}, "a case has one site"),
        ({"age_years": "nan"}, "outside the cases"),
    ],
)
def test_levels_that_no_case_has_get_no_answer(
    published: tuple[Cohort, dict[str, Any]], given: dict[str, str], words: str
) -> None:
    assert apply_model(published[1], CASE).curve
    with pytest.raises(InputError, match=words):
        apply_model(published[1], {**CASE, **given})


@pytest.mark.parametrize(
    ("given", "words"),
    [(["age_years=6", "age_years=7"], "given twice"), (["age_years"], "COLUMN=NUMBER"), (["=6"], "COLUMN=NUMBER")],
)
def test_a_covariate_is_given_once_and_with_its_number(given: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_values(given)


def test_no_day_and_no_extreme_of_a_single_case_is_in_the_report(published: tuple[Cohort, dict[str, Any]]) -> None:
    cohort, report = published
    shown: set[float] = set()

    def walk(value: Any) -> None:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)
        if isinstance(value, float):
            shown.add(value)

    walk(report)
    assert shown.isdisjoint(cohort.outcomes.days.tolist())
    assert shown.isdisjoint(cohort.covariates[:, :2].ravel().tolist())
    curves = [*report["kaplan_meier_of_cross_validated_thirds"].values(), report["model"]["baseline"]]
    for curve in curves:
        assert len(curve["days"]) > 3 and all(day % 30 == 0 for day in curve["days"])
    ends = np.array([0.0, *curves[-1]["days"]])
    events = cohort.outcomes.days[cohort.outcomes.events]
    assert min(((events > a) & (events <= b)).sum() for a, b in itertools.pairwise(ends)) >= 5
    for (low, high), values in zip(report["model"]["range"][:2], cohort.covariates[:, :2].T, strict=True):
        assert (values <= low).sum() >= 5 and (values >= high).sum() >= 5 and low < high
    assert report["model"]["range"][2:] == [[0, 1], [0, 1]]


def test_coarse_curves_are_exact_at_their_days(published: tuple[Cohort, dict[str, Any]]) -> None:
    cohort, report = published
    model = report["model"]
    scaled = (cohort.covariates - model["mean"]) / model["spread"]
    times, hazard = baseline_hazard(np.exp(scaled @ np.array(model["coefficients"])), cohort.outcomes)
    for day, value in zip(model["baseline"]["days"], model["baseline"]["cumulative_hazard"], strict=True):
        assert value == pytest.approx(hazard[times <= day][-1], rel=1e-3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([*range(101)], (10, 90)),
        ([0.0] * 300 + [1.0] * 3, (0, 0)),
        ([0.0] * 150 + [1.0] * 153, (0, 1)),
        ([0.52] * 10 + [0.61] * 10 + [1000.0], (0.52, 0.61)),
    ],
)
def test_a_range_is_rounded_inwards_and_stands_for_five_cases(
    values: list[float], expected: tuple[float, float]
) -> None:
    assert shown_range(np.array(values, dtype=float)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case_id,days,event,age_years\na,1,1,90\n", "row 2 of age_years"),
        ("case_id,days,event,sex\na,1,1,x\n", "row 2 of sex"),
        ("case_id,days,event,sex\na,0,1,male\n", "not above 0"),
        ("case_id,days,event,sex\na,3,0.5,male\n", "0 or 1"),
        ("case_id,days,event,sex\na,3,1,male\na,4,1,male\n", "twice"),
        ("case_id,days,event,shoe\na,3,1,9\n", "no data dictionary describes"),
        ("case_id,days,event,ml_a=b\na,3,1,9\n", "equals sign"),
        ("case_id,days,event,sex\na,3,1\n", "not rectangular"),
        ("days,event\n3,1\n", "not whole"),
    ],
)
def test_a_table_that_breaks_its_dictionary_is_refused_without_a_value(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text(text, encoding="utf-8")
    run = CliRunner().invoke(main, ["survival", "fit", f"{tmp_path}/cohort.csv", "-o", f"{tmp_path}/out.json"])
    assert run.exit_code == 2 and words in run.output, run.output
    assert not (tmp_path / "out.json").exists()


def test_columns_of_another_table_join_by_case(table: tuple[Path, Path], tmp_path: Path) -> None:
    text = table[0].read_text(encoding="utf-8").splitlines()
    ages = {line.split(",")[0]: line.split(",")[3] for line in text[1:]}
    (tmp_path / "cohort.csv").write_text("\n".join(",".join(line.split(",")[:3]) for line in text), encoding="utf-8")
    other = [f"{case},-{age},{len(case)}" for case, age in reversed(ages.items())]
    (tmp_path / "features.csv").write_text("\n".join(["case_id,wt_x,other", *other]), encoding="utf-8")
    cohort = read_cohort(tmp_path / "cohort.csv", joined=Joined(tmp_path / "features.csv", ["wt_x"]))
    assert cohort.names == ("wt_x",)
    assert cohort.covariates.ravel().tolist() == [-float(age) for age in ages.values()]
    for content, columns, words in (
        ("case_id,wt_x\nc0,1\n", ["wt_x"], "row 3 of the cohort table has no row in the table to join"),
        ("case_id,wt_x\nc0,\nc1,1\n", ["wt_x"], "row 2 of wt_x holds no such number"),
        ("case_id,wt_x\nc0,1\nc1,1\n", ["wt_y"], "the table to join is not whole"),
        ("case_id,wt_x\nc0,1\nc1,1\n", ["wt_x", "wt_x"], "would stand in the cohort table twice"),
        ("case_id,days\nc0,1\nc1,1\n", ["days"], "would stand in the cohort table twice"),
    ):
        (tmp_path / "two.csv").write_text("case_id,days,event\nc0,5,1\nc1,6,0\n", encoding="utf-8")
        (tmp_path / "other.csv").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=words):
            read_cohort(tmp_path / "two.csv", joined=Joined(tmp_path / "other.csv", columns))
    call = ["survival", "fit", str(tmp_path / "cohort.csv"), "-o", str(tmp_path / "out.json")]
    alone = CliRunner().invoke(main, [*call, "--use", "wt_x"])
    assert alone.exit_code == 2 and "--join and --use belong together" in alone.output
