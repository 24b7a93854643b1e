"""Policies that learn are policies for `retry`, and models that act."""

from __future__ import annotations

from typing import Any, assert_type

import polars as pl

from warren.analytics import AdaptiveBackoff, ErrorClasses, Flows
from warren.analytics.retries import Gain
from warren.connectors import memory
from warren.core.graph import Operator, Source
from warren.core.policies import Deciding, Decision, Mode, Restorable
from warren.operators import Backoff, budget, constant, retry
from warren.operators.outcomes import Learning


def test_retries_that_learn() -> None:
    policy = AdaptiveBackoff("200ms", attempts=4, usual=constant("1s"), mode="act", classify=repr)
    backoff: Backoff = policy
    learning: Learning = policy
    deciding: Deciding = policy
    restorable: Restorable = policy
    assert [backoff, learning, deciding, restorable] == 4 * [policy]
    assert_type(retry(policy, on=ConnectionError, budget=budget(0.1)), Operator[Any, Any])
    assert_type(retry({ConnectionError: policy, Exception: constant("1s")}, park="1m"), Operator[Any, Any])
    assert_type(memory.items([1]) | retry(policy), Source[Any])
    assert_type(policy.wait(1, ValueError("bad"), "bad", 0.0), float | None)
    assert_type(policy.mode, Mode)
    assert_type(policy.gain(), Gain)
    assert_type(policy.over(), list[Decision])
    assert_type(policy.state(), dict[str, Any])


def test_classes_of_errors() -> None:
    classes = ErrorClasses(alike=None)
    classes.add_letters([{"warren-error": "ValueError"}])
    assert_type(classes.table(), pl.DataFrame)
    assert_type(classes.curve(0), pl.DataFrame)
    assert_type(classes.labels([("ValueError", "")]), list[int | None])


def what_is_wrong(flows: Flows) -> None:
    """The checkers refuse each of these."""
    AdaptiveBackoff("200ms", mode="acting")  # type: ignore[arg-type]
    AdaptiveBackoff("200ms", classify=len)  # type: ignore[arg-type]
    ErrorClasses("0.5")  # type: ignore[arg-type]
    ErrorClasses().add_decisions("recordings/")  # type: ignore[arg-type]
