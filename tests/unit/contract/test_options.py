"""The options of a run: every option has its words, and rows of other versions can be read."""

from __future__ import annotations

import pytest

from hope.contract.options import RunOptions, options
from hope.domain.errors import InputError


def test_every_option_says_how_it_is_asked_for() -> None:
    found = {option.name: option for option in options()}
    assert list(found) == list(RunOptions.model_fields)
    for option in found.values():
        assert option.ask.flag.startswith("--")
        assert option.ask.title
        assert option.ask.help
        assert len(option.ask.choices) == (1 if option.is_text else 3 if option.default is None else 0)


def test_rows_of_other_versions_are_read() -> None:
    old = {"model": "m", "harmonize": False, "preprocessed": True, "postprocess": False, "priority": 3}
    assert RunOptions.stored(old) == RunOptions(model="m", harmonize=False, preprocessed=True, postprocess=False)
    assert RunOptions.stored({}) == RunOptions()
    assert RunOptions.stored(RunOptions(uncertainty_map=True).to_json()).uncertainty_map


def test_only_what_differs_from_the_default_is_chosen() -> None:
    assert RunOptions().chosen() == {}
    assert RunOptions(postprocess=False, harmonize=False).chosen() == {"postprocess": False, "harmonize": False}


def test_a_null_counts_as_left_out() -> None:
    assert RunOptions.checked({"postprocess": None, "harmonize": None}) == RunOptions()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"harmonise": True}, "there is no such option"),
        ({"harmonize": "yes"}, r"harmonize is not usable \(expected true, false or nothing"),
        ({"postprocess": 1}, "postprocess is not usable"),
        ({"model": 7}, "model is not usable"),
        ({"model": "m" * 65}, "model is not usable"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RunOptions.checked(values)
