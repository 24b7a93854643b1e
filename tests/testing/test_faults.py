from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.chunk import Chunk
from warren.core.errors import ConnectorError, GraphError, PoisonError, StalledError
from warren.core.graph import Operator, SourceConnection
from warren.core.stage import Handler, Stage
from warren.operators import batch, deduplicate, map, retry
from warren.pipelines.trial import Ends
from warren.testing import Faults, check, fail


def over(*steps: Any) -> Pipeline:
    flow: Any = memory.items([])
    for step in steps:
        flow = flow | step
    return Pipeline("p", flow | memory.into([]))


def test_it_is_a_value_that_shows_how_it_was_written() -> None:
    none = Faults(seed=7)
    some = (
        none.delay("5s", share=0.5)
        .duplicate(every=3, after="1s")
        .reorder(within=8)
        .drop_connection(nth=[2, 9])
        .refuse(nth=1, sink="a")
        .fail_write(nth=4, written=True)
    )
    assert repr(none) == "Faults(seed=7)"
    assert repr(some) == (
        "Faults(seed=7).delay('5s', share=0.5).duplicate(every=3, after='1s').reorder(within=8)"
        ".drop_connection(nth=[2, 9]).refuse(nth=1, sink='a').fail_write(nth=4, written=True)"
    )


def test_without_faults_nothing_changes() -> None:
    check(over(), "a-(bc)|", "a-(bc)|", faults=Faults())


def test_messages_come_late() -> None:
    check(over(), "ab-c|", "-b-(ac)|", faults=Faults().delay("3s", nth=1))


def test_a_duplicate_is_known_by_its_id() -> None:
    check(over(), "a-b|", "a-(bb)|", faults=Faults().duplicate(nth=2))
    check(over(deduplicate()), "a-b|", "a-b|", faults=Faults().duplicate(nth=2))


def test_messages_change_places() -> None:
    values = list(range(30))
    moved = over().test(values, faults=Faults(seed=3).reorder(within=5)).values
    assert sorted(moved) == values != moved
    assert moved == over().test(values, faults=Faults(seed=3).reorder(within=5)).values


def test_a_lost_connection_delivers_again_and_loses_nothing() -> None:
    check(over(), "a-b-c|", "a-(bb)-c|", faults=Faults().drop_connection(nth=2))
    trial = over(batch(3, "1m")).test(range(7), faults=Faults().drop_connection(nth=[2, 9]))
    assert {value for values in trial.values for value in values} == set(range(7))


def test_a_message_that_is_never_settled_becomes_poison() -> None:
    pipeline = Pipeline("p", memory.queue("in", str, max_deliveries=2) | batch(50, "1h") | memory.into([]))
    trial = pipeline.test(["a"], faults=Faults().drop_connection(nth=[1, 2]))
    assert [letter.error for letter in trial.dead_letters["p.dead"]] == [PoisonError.__name__]


def test_what_a_sink_refuses_is_a_dead_letter() -> None:
    trial = check(over(), "a-(bc)|", "a-(c#)|", faults=Faults().refuse(nth=2))
    assert [(letter.value, letter.error) for letter in trial.dead_letters["p.dead"]] == [("b", "ConnectorError")]
    error = OSError("the disk is full")
    trial = over().test("ab", faults=Faults().refuse(nth=1, error=error))
    assert trial.dead_letters["p.dead"][0].reason == "the disk is full"


def test_a_write_that_fails_stops_the_pipeline_and_everything_goes_back() -> None:
    with pytest.raises(ConnectorError, match="the test says so"):
        over().test("abc", at=[0, 1, 2], faults=Faults().fail_write(nth=2))
    with pytest.raises(OSError, match="disk"):
        over().test("a", faults=Faults().fail_write(nth=1, error=OSError("disk")))


def test_dead_letters_fail_by_name() -> None:
    broken = over(map(fail(every=1)(str)))
    assert broken.test("a", faults=Faults().fail_write(nth=1)).outcomes == {"dead-lettered": 1}
    with pytest.raises(ConnectorError):
        broken.test("a", faults=Faults().fail_write(nth=1, sink="p.dead"))


def test_each_trial_starts_anew() -> None:
    faults = Faults(seed=1).refuse(nth=1).duplicate(share=0.5)
    assert over().test(range(20), faults=faults) == over().test(range(20), faults=faults)


class Losing(Operator[Any, Any]):
    """Forgets what it is given, as an operator with a mistake does."""

    def attach(self, stage: Stage) -> Handler:
        def lose(chunk: Chunk) -> None:
            return None

        return lose


def test_an_operator_that_forgets_messages_is_found_out() -> None:
    with pytest.raises(StalledError):
        over(Losing()).test("a", faults=Faults())


class Deaf(Ends):
    """The source never hears of what it is told."""

    def source(self, name: str, connection: SourceConnection) -> SourceConnection:
        class Connection:
            receive = connection.receive
            close = connection.close
            release = connection.release

            async def acknowledge(self, handles: Sequence[Hashable]) -> None:
                await connection.acknowledge([])

        return Connection()


def test_whatever_is_played_is_accounted_for() -> None:
    with pytest.raises(AssertionError, match="handed over and never settled: 'a'"):
        check(over(), "a|", "a|", faults=Deaf())


def test_what_does_not_add_up_is_told_with_the_faults() -> None:
    faults = Faults(seed=4).also(Deaf())
    with pytest.raises(AssertionError) as caught:
        over().test("ab", faults=faults)
    assert str(caught.value).splitlines() == [
        "not every message was settled exactly once:",
        "",
        "memory.items: message 0 was handed over and never settled: 'a'",
        "memory.items: message 1 was handed over and never settled: 'b'",
        "",
        "Faults(seed=4).also(Deaf)",
    ]


@given(
    st.integers(0, 40),
    st.integers(),
    st.lists(st.integers(1, 60), max_size=4, unique=True),
    st.booleans(),
    st.integers(2, 9),
)
def test_nothing_is_lost_whatever_goes_wrong(count: int, seed: int, drops: list[int], twice: bool, within: int) -> None:
    faults = Faults(seed).reorder(within).delay("3s", share=0.2).refuse(share=0.1)
    if drops:
        faults = faults.drop_connection(nth=drops)
    if twice:
        faults = faults.duplicate(share=0.3, after="1s")
    steps = map(fail(share=0.2, seed=seed)(lambda value: value)), retry(constant("2s", attempts=3)), batch(3, "5s")
    trial = over(*steps).test(range(count), at=[i / 4 for i in range(count)], faults=faults)
    kept = Counter(value for values in trial.values for value in values)
    dead = Counter(letter.value for letters in trial.dead_letters.values() for letter in letters)
    assert set(kept) | set(dead) == set(range(count))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: Faults().delay("1s"), "delay: say which ones"),
        (lambda: Faults().delay("soon", nth=1), "'soon' is not a duration"),
        (lambda: Faults().duplicate(nth=0), "duplicate: nth=0"),
        (lambda: Faults().reorder(within=1), r"reorder\(within=1\): a message changes places"),
        (lambda: Faults().drop_connection(nth=[]), "drop_connection: nth="),
        (lambda: Faults().refuse(nth=1, error=ValueError), r"refuse\(error=<class 'ValueError'>\): give an exception"),
        (lambda: Faults().also("a fault"), r"also\('a fault'\): give a warren.testing.Ends"),  # type: ignore[arg-type]
        (lambda: Faults().fail_write(), "fail_write: say which ones"),
    ],
)
def test_what_cannot_work_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        build()
