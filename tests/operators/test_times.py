"""The times that values tell: what is one, and what is said of what is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.operators.fake import FakeRun
from warren.core.chunk import Chunk
from warren.core.stage import Stage
from warren.operators.times import iso, times_of

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=1)))
STAGE = Stage(FakeRun(), "", "1:step")


def told(*answers: Any) -> tuple[list[float], list[Any], list[str]]:
    times, rest, failures = times_of(STAGE, lambda value: value, Chunk(list(answers), range(len(answers))))
    return times, list(rest.tokens), [str(failure.error) for failure in failures]


def test_numbers_and_datetimes_are_times() -> None:
    assert told() == ([], [], [])
    assert told(5, 0.5) == ([5, 0.5], [0, 1], [])
    assert told(NOON, 1) == ([NOON.astimezone(UTC).timestamp(), 1], [0, 1], [])


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("noon", "1:step: time= answered 'noon', which is no time; answer with seconds since 1970 or a datetime with a"),
        (True, "1:step: time= answered True, which is no time"),
        (float("nan"), "1:step: time= answered nan, which is no point in time; filter such values out before"),
        (NOON.replace(tzinfo=None), "which has no time zone; add one, such as .replace(tzinfo=UTC)"),
        (10**400, "too large"),
    ],
)
def test_what_is_no_time_fails_alone(answer: Any, sentence: str) -> None:
    times, tokens, errors = told(1, answer, 3)
    assert (times, tokens, len(errors)) == ([1, 3], [0, 2], 1)
    assert sentence in errors[0]


def test_a_time_as_a_text() -> None:
    assert (iso(0), iso(1e300)) == ("1970-01-01T00:00:00Z", "1e+300s")
