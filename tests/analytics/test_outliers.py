from __future__ import annotations

import dataclasses
import sys
from typing import Any

import msgspec
import numpy as np
import pytest

from warren.analytics import Outliers
from warren.core.errors import GraphError, ValidationError


class Order(msgspec.Struct):
    amount: float | None
    country: str | None


@dataclasses.dataclass
class Row:
    amount: float
    country: str


def orders(count: int) -> list[dict[str, Any]]:
    return [{"amount": 10.0 + i % 5, "country": ("de", "fr")[i % 2], "paid": True} for i in range(count)]


def small(**settings: Any) -> Outliers:
    return Outliers(**{"memory": 256, "every": 256, "trees": 40, **settings})


def test_a_rare_word_and_a_rare_number_stand_out() -> None:
    made = small()
    made.learn_many(orders(256))
    usual, word, number = made.score_many(
        [
            {"amount": 12.0, "country": "de", "paid": True},
            {"amount": 12.0, "country": "xx", "paid": False},
            {"amount": 900.0, "country": "de", "paid": True},
        ]
    )
    assert word > usual and number > usual


def test_structs_dataclasses_and_mappings_are_the_same() -> None:
    made = small()
    made.learn_many(Order(10.0 + i % 5, "de") for i in range(256))
    scores = made.score_many([Order(99.0, "xx"), Row(99.0, "xx"), {"country": "xx", "amount": 99, "more": object()}])
    assert scores[0] == scores[1] == scores[2] > 0


def test_only_named_fields_count() -> None:
    made = small(fields=["amount"])
    made.learn_many(orders(256))
    a, b = made.score_many([{"amount": 12, "country": "xx"}, {"amount": 12}])
    assert a == b


def test_missing_fields_are_usual_numbers_and_rare_words() -> None:
    made = small()
    made.learn_many([Order(10.0 + i % 5, None if i % 8 == 0 else "de") for i in range(256)])
    assert np.isfinite(made.score_many([Order(None, None), {"country": "de"}, Order(float("nan"), "de")])).all()


def test_the_first_message_names_the_fields_and_a_refused_one_names_none() -> None:
    made = small()
    with pytest.raises(ValidationError, match=r"is no number; give a number.*; or name the fields that count with fields"):
        made.learn_many([{"amount": 1.0}, {"amount": [1]}])
    assert made.learned == 0
    made.learn_one({"country": "de"})
    with pytest.raises(ValidationError, match="has none of the fields country; give messages of one kind"):
        made.score_one({"amount": 1.0})
    with pytest.raises(ValidationError, match="has no fields"):
        small().learn_one({})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"memory": 1}, "a forest takes 2 messages and 1 tree or more"),
        ({"threshold": 2}, "a threshold is above 0 and 1 at most"),
        ({"fields": "amount"}, "name one field or more, such as"),
        ({"fields": []}, "name one field or more, such as"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        Outliers(**settings)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(GraphError, match=r"pip install 'warren\[ml\]'"):
        Outliers()
