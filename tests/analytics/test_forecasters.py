from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.packages import Packages
from warren.analytics.forecasts import Panel, check, find, names
from warren.core.errors import DataError, PluginError


@pytest.mark.parametrize("name", names())
def test_every_forecaster_keeps_the_contract(name: str) -> None:
    check(find(name))


def test_one_of_a_package_is_found(packages: Packages) -> None:
    text = "from warren.analytics.forecasts.seasonal import Profile\nclass Mine(Profile): pass\n"
    packages.add("tides", {"forecaster tidal": "tides_model:Mine"}, tides_model=text)
    assert "tidal" in names()
    check(find("tidal"))


def test_one_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(PluginError, match=r"no forecaster 'oracle'; known are boosted, profile, seasonal_naive"):
        find("oracle")


class Flawed:
    flaw = ""

    def needs(self, panel: Panel, horizon: int) -> int:
        return 10**6 if self.flaw == "needs" else 1

    def fit(self, panel: Panel, horizon: int) -> None:
        if self.flaw == "changes":
            panel.values[:] = 7.0

    def predict(self, panel: Panel, horizon: int) -> np.ndarray:
        told = np.repeat(np.nan_to_num(panel.values[:, -1:]), horizon, 1)
        if self.flaw == "shape":
            return told[:, 1:]
        if self.flaw == "nan":
            return np.where(told > 0, np.nan, told)
        if self.flaw == "draws":
            return told + np.random.default_rng().normal(size=told.shape)
        if self.flaw == "constant":
            return told + 1
        return np.where(told == 7.0, told, -told)


@pytest.mark.parametrize(
    ("flaw", "sentence"),
    [
        ("needs", "needs more than four weeks"),
        ("shape", "has the shape"),
        ("nan", "holds NaN"),
        ("draws", "fix the seed"),
        ("constant", "always was 7"),
        ("changes", "has changed the panel"),
        ("", "worse than their mean"),
    ],
)
def test_a_broken_promise_is_told(flaw: str, sentence: str) -> None:
    made = type("Made", (Flawed,), {"flaw": flaw})
    with pytest.raises(DataError, match=sentence):
        check(made)


def test_boosting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(DataError, match=r"pip install 'warren\[ml\]'"):
        check(find("boosted"))
