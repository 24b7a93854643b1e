"""What the checkers must see between pipelines and Observables."""

from __future__ import annotations

from typing import assert_type

import reactivex
from reactivex import Observable

from warren import observe
from warren.connectors import memory, observable
from warren.connectors.observable import Emissions
from warren.core.graph import Source
from warren.operators import map
from warren.pipelines import Handed, Observed

texts: Source[str] = memory.queue("texts", str)


def test_a_pipeline_is_an_observable_of_its_values() -> None:
    assert_type(observe("sizes", texts | map(len)), Observed[int])
    numbers: Observable[int] = observe("sizes", texts | map(len), credit=5)
    assert isinstance(numbers, Observed)


def test_with_confirm_its_values_are_handed_over() -> None:
    assert_type(observe("sizes", texts | map(len), confirm=True), Observed[Handed[int]])


def test_an_observable_is_a_source_of_its_values_or_of_what_they_are_decoded_to() -> None:
    assert_type(observable.source(reactivex.of(1, 2)), Emissions[int])
    assert_type(observable.source(reactivex.of(b"1"), int), Emissions[int])
    assert_type(observable.source(reactivex.of(1)) | map(str), Source[str])
