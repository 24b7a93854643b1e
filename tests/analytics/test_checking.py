from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from warren.analytics import Detector, check_detector, detector, detector_names
from warren.analytics.detectors import number
from warren.analytics.moments import hour_of
from warren.core.errors import DataError


@pytest.mark.parametrize("name", detector_names())
def test_every_detector_keeps_the_contract(name: str) -> None:
    check_detector(detector(name))


class Mean(Detector):
    """How many times the mean."""

    flaw = ""

    def __init__(self, *, threshold: float = 3.0) -> None:
        self.threshold = threshold
        self.total = 0.0
        self.asked = 0

    def score_one(self, value: Any, at: Any = None) -> float:
        if self.flaw == "infinite" and value == 1e300:
            return math.inf
        plain = value if self.flaw == "takes" and value == "12" else number(value)
        hour_of(at, None)
        if self.flaw == "changes":
            self.asked += 1
        if self.flaw == "missing" and plain is None:
            return 1.0
        if self.flaw == "early":
            return 1.0
        if plain is None or not self.learned or isinstance(plain, str):
            return 0.0
        if self.flaw == "draws":
            plain += random.random()
        return min(abs(plain) / (abs(self.total) / self.learned or 1.0), 1e9) * (self.flaw != "blind")

    def learn_one(self, value: Any, at: Any = None) -> None:
        plain = number(value) if value != "12" else 12.0
        if plain is not None:
            self.total = max(min(self.total + plain, 1e300), -1e300)
            self._learned(str(random.random() if self.flaw == "prints" else plain).encode())

    def watch_many(self, values: Any, at: Any = None) -> Any:
        scores = super().watch_many(values, at)
        return scores * 2 if self.flaw == "many" else scores

    def state(self) -> dict[str, Any]:
        return {"total": 1j if self.flaw == "complex" else self.total, "asked": self.asked}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.total = 0.0 if self.flaw == "forgets" else state["total"]


def flawed(flaw: str) -> Callable[[], Detector]:
    return type("Flawed", (Mean,), {"flaw": flaw})


@pytest.mark.parametrize(
    ("flaw", "sentence"),
    [
        ("early", "has learned nothing"),
        ("blind", "threshold, 3, is not between"),
        ("many", "otherwise than one after another"),
        ("draws", "otherwise than one"),
        ("prints", "other fingerprints"),
        ("changes", "changes when it scores"),
        ("missing", "scores a missing value"),
        ("takes", r"takes '12' at None, .* raise ValidationError"),
        ("infinite", "scores huge and tiny values below 0, NaN or infinite"),
        ("complex", "no plain values"),
        ("forgets", "does not go on from its state"),
    ],
)
def test_a_broken_promise_is_told(flaw: str, sentence: str) -> None:
    with pytest.raises(DataError, match=f"the detector .*{sentence}"):
        check_detector(flawed(flaw))


def test_one_without_flaws_passes() -> None:
    check_detector(flawed(""))
