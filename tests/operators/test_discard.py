"""`discard` settles what reaches it and leaves failures to the dead letters."""

from warren import Pipeline
from warren.connectors import memory
from warren.operators import discard, map


def test_values_are_settled_and_failures_dead_lettered() -> None:
    trial = Pipeline("inverse", memory.items([]) | map(lambda x: 1 / x) | discard()).test([1, 0, 2])
    assert trial.outcomes == {"delivered": 2, "dead-lettered": 1}
    assert trial.outputs == {}
    assert [letter.value for letter in trial.dead_letters["inverse.dead"]] == [0]


def test_no_messages() -> None:
    assert Pipeline("none", memory.items([]) | discard()).test([]).outcomes == {}
