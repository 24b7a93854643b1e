"""The check that each detector must pass, whoever wrote it."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec
import numpy as np

from warren.analytics.detectors import Detector
from warren.core.errors import DataError, ValidationError

__all__ = ["check_detector"]

_VALUES = [20 + 5 * math.sin(i / 9) + i % 3 for i in range(600)]
_TIMES = [1e9 + 300.0 * i for i in range(len(_VALUES))]
_ODD = 400.0
_HARD: tuple[tuple[str, list[Any], list[Any]], ...] = (
    ("a constant series", [7.0] * 200, [None] * 200),
    ("huge and tiny values", [1e300, -1e300, 5e-324, 0.0, 1e16] * 40, [None] * 200),
    ("a clock that jumps", _VALUES[:200], [*_TIMES[100:], *_TIMES[:100]][:200]),
)


def check_detector(make: Callable[[], Detector]) -> None:
    """Raise `DataError` with the first promise of the contract that a detector of numbers breaks.

    >>> from warren.analytics import Deviation
    >>> check_detector(Deviation)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for promise in (_finds, _agrees, _refuses, _bears, _goes_on):
            promise(make)


def _expect(kept: bool, sentence: str) -> None:
    if not kept:
        raise DataError(f"the detector {sentence}")


def _taught(make: Callable[[], Detector]) -> Detector:
    made = make()
    made.learn_many(_VALUES, _TIMES)
    return made


def _finds(make: Callable[[], Detector]) -> None:
    made = make()
    _expect(made.score_one(5.0) == 0.0, "scores a value although it has learned nothing; that score is 0")
    usual = float(np.median(made.watch_many(_VALUES, _TIMES)))
    odd = made.score_one(_ODD, _TIMES[-1] + 300)
    _expect(
        usual < made.threshold < odd,
        f"scores {usual:g} what is usual and {odd:g} what is odd; its threshold, {made.threshold:g}, is not between them",
    )


def _agrees(make: Callable[[], Detector]) -> None:
    one, many, learned = make(), make(), _taught(make)
    scores = [one.watch_one(value, at) for value, at in zip(_VALUES, _TIMES, strict=True)]
    _expect(many.watch_many(_VALUES, _TIMES).tolist() == scores, "scores many values otherwise than one after another")
    _expect(one.fingerprint == many.fingerprint == learned.fingerprint, "has other fingerprints after the same values")
    _expect(
        one.score_one(_ODD, _TIMES[3]) == learned.score_one(_ODD, _TIMES[3]),
        "scores otherwise than one like it that learned the same; fix the seed",
    )


def _refuses(make: Callable[[], Detector]) -> None:
    made = _taught(make)
    before = _all_of(made)
    made.score_many([_ODD, 3.0], _TIMES[:2])
    _expect(_all_of(made) == before, "changes when it scores")
    _expect(made.watch_one(None, _TIMES[0]) == 0.0 == made.watch_one(math.nan), "scores a missing value; that score is 0")
    _expect(_all_of(made) == before, "learns a missing value")
    for wrong, at in (("12", None), (object(), None), (math.inf, None), (5.0, "noon")):
        try:
            made.watch_one(wrong, at)  # type: ignore[arg-type]  # that is the point
        except ValidationError:
            continue
        _expect(False, f"takes {wrong!r} at {at!r}, which is no number at a time; raise ValidationError")
    _expect(_all_of(made) == before, "learns what it refuses")


def _bears(make: Callable[[], Detector]) -> None:
    for what, values, times in _HARD:
        scores = make().watch_many(values, times)
        _expect(bool(np.isfinite(scores).all() and (scores >= 0).all()), f"scores {what} below 0, NaN or infinite")


def _goes_on(make: Callable[[], Detector]) -> None:
    made = _taught(make)
    again = type(made).__new__(type(made))
    again.__setstate__(msgspec.msgpack.decode(_all_of(made)))
    twin = deepcopy(made)
    expected = made.watch_many(_VALUES[:100], _TIMES[:100]).tolist()
    for other in (again, twin):
        _expect(
            other.watch_many(_VALUES[:100], _TIMES[:100]).tolist() == expected and other.fingerprint == made.fingerprint,
            "does not go on from its state as it would have itself",
        )


def _all_of(made: Detector) -> bytes:
    try:
        return msgspec.msgpack.encode(made.__getstate__())
    except (TypeError, ValueError) as error:
        raise DataError(f"the detector has a state or settings that are no plain values: {error}") from error
