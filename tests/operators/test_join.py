"""Pairs of two streams: the same as of a batch computation, whatever the order, and every message settled once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren import Pipeline, constant
from warren.connectors import memory
from warren.core.errors import GraphError, HandlerError
from warren.core.graph import Source
from warren.core.message import Metadata, Outgoing
from warren.operators import Pair, fallback, filter, flat_map, join, map, merge, retry, tap
from warren.pipelines.given import Arrival, Script
from warren.pipelines.trial import Trial, try_out
from warren.testing import Faults, fail, virtual

Event = tuple[Any, float, int]
"""Key, time and number."""
left: Source[Any] = memory.queue("left")
right: Source[Any] = memory.queue("right")
LEFT, RIGHT = left.name, right.name
HOWS = pytest.mark.parametrize("how", ["inner", "left", "outer"])


def key(event: Event) -> Any:
    return event[0]


def time(event: Event) -> float:
    return event[1]


def joined(**options: Any) -> Source[Any]:
    settings: dict[str, Any] = {"on": key, "time": time, "within": 10, **options}
    return join(left, right, **settings)


def tried(
    flow: Source[Any], ls: Iterable[Any], rs: Iterable[Any], at: Callable[[int, int], float] = lambda side, i: 0.0
) -> Trial:
    """What comes of two streams, where each message comes at its time; each must be settled exactly once."""
    scripts = {
        name: Script([Arrival(value, at(side, i)) for i, value in enumerate(values)])
        for side, (name, values) in enumerate({LEFT: ls, RIGHT: rs}.items())
    }
    return try_out(Pipeline("p", flow | memory.into([])), scripts.__getitem__, 0.0, [Faults()])


def rows(values: Iterable[Any]) -> list[tuple[Any, Any]]:
    """The numbers of each pair, in order."""
    found = [(pair.left and pair.left[2], pair.right and pair.right[2]) for pair in values]
    return sorted(found, key=lambda each: (each[0] is None, each[0] or 0, each[1] is None, each[1] or 0))


def in_one_go(ls: Sequence[Event], rs: Sequence[Event], within: float, how: str) -> list[tuple[Any, Any]]:
    """The same by Polars."""
    schema = {"key": pl.String, "time": pl.Float64, "n": pl.Int64}
    a, b = (pl.DataFrame(list(events), schema=schema, orient="row") for events in (ls, rs))
    pairs = a.join(b, on="key", suffix="_right").filter((pl.col("time") - pl.col("time_right")).abs() <= within)
    found: list[tuple[Any, Any]] = pairs.select("n", "n_right").rows()
    if how != "inner":
        found += [(n, None) for n in a["n"] if n not in set(pairs["n"])]
    if how == "outer":
        found += [(None, n) for n in b["n"] if n not in set(pairs["n_right"])]
    return sorted(found, key=lambda each: (each[0] is None, each[0] or 0, each[1] is None, each[1] or 0))


def shuffled(events: Sequence[Event], lateness: float, seed: int) -> list[Event]:
    """In an order in which none comes later than the lateness allows."""
    chance = random.Random(seed)
    places = {event: event[1] + chance.uniform(0, lateness) for event in events}
    return sorted(events, key=places.__getitem__)


streams = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 60).map(float)), max_size=25)


@HOWS
@given(ls=streams, rs=streams, within=st.sampled_from([1, 7, 30]), lateness=st.sampled_from([0, 5]), seed=st.integers(0, 99))
def test_it_gives_what_a_batch_computation_gives(
    how: str, ls: list[tuple[Any, float]], rs: list[tuple[Any, float]], within: int, lateness: int, seed: int
) -> None:
    lefts = shuffled([(k, t, n) for n, (k, t) in enumerate(ls)], lateness, seed)
    rights = shuffled([(k, t, 100 + n) for n, (k, t) in enumerate(rs)], lateness, seed + 1)
    chance = random.Random(seed)
    spread = chance.choice([1, 10, 100])
    came = [sorted(chance.randint(0, spread) for _ in events) for events in (lefts, rights)]
    flow = joined(within=within, how=how, lateness=lateness, idle=None)
    trial = tried(flow, lefts, rights, lambda side, i: came[side][i])
    assert rows(trial.values) == in_one_go(lefts, rights, within, how)
    assert sum(trial.outcomes.values()) == len(lefts) + len(rights)
    assert trial.dead_letters == {}


@HOWS
def test_nothing_comes_of_nothing(how: str) -> None:
    assert tried(joined(how=how), [], []).values == []


def test_one_side_alone() -> None:
    assert rows(tried(joined(how="outer"), [("a", 1.0, 1)], []).values) == [(1, None)]
    assert rows(tried(joined(how="outer"), [], [("a", 1.0, 1)]).values) == [(None, 1)]
    assert rows(tried(joined(how="left"), [], [("a", 1.0, 1)]).values) == []


def test_a_pair_is_given_as_soon_as_both_are_there_and_one_alone_when_its_time_is_over() -> None:
    with virtual(Pipeline("p", joined(how="left", lateness=2) | memory.into([]))) as run:
        run.send(("a", 0.0, 1), ("b", 1.0, 2), to=LEFT)
        assert run.send(("a", 10.0, 3), to=RIGHT).values == [Pair("a", ("a", 0.0, 1), ("a", 10.0, 3))]
        assert run.in_flight == 3
        # The side that is behind tells the time: 13 - 2 is not past 1 + 10.
        run.send(("x", 50.0, 4), to=LEFT).send(("x", 13.0, 5), to=RIGHT)
        assert rows(run.values) == [(1, 3)]
        run.send(("y", 13.1, 6), to=RIGHT)
        assert rows(run.values) == [(1, 3), (2, None)]
        assert run.in_flight == 4


def test_one_side_may_run_ahead() -> None:
    ls = [("a", float(t), t) for t in range(100)]
    rs = [("a", float(t), t) for t in range(100)]
    trial = tried(joined(within=1, idle=None), ls, rs, lambda side, i: side * 50.0)
    assert rows(trial.values) == in_one_go(ls, rs, 1, "inner")
    assert trial.dead_letters == {}


def test_the_side_that_is_ahead_leaves_the_credit_to_the_other() -> None:
    with virtual(Pipeline("p", joined(within=1000, idle=None) | memory.into([]), credit=8)) as run:
        for n in range(6):
            run.send(("a", float(n), n), to=LEFT)
        assert run.in_flight == 4
        run.send(("b", 100.0, 6), to=RIGHT)
        assert run.in_flight == 7


def test_dense_and_sparse_streams_need_no_more_credit_than_what_is_open() -> None:
    out: list[Any] = []
    ls, rs = ([(f"{n % 5}", n / density, n) for n in range(100 * density)] for density in (20, 1))
    flow = join(memory.items(ls), memory.items(rs), on=key, time=time, within=2, how="left", idle="1s")
    Pipeline("p", flow | memory.into(out), credit=300).run()
    assert rows(out) == in_one_go(ls, rs, 2, "left")


def test_a_late_value_fails_and_says_what_to_do() -> None:
    events = [("a", 100.0, 1), ("a", 95.0, 2), ("a", 94.9, 3)]
    trial = tried(joined(lateness=5), events, events, lambda side, i: float(i))
    assert rows(trial.values) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    letters = trial.dead_letters["p.dead"]
    assert [(letter.value[2], letter.error) for letter in letters] == [(3, "LateError")] * 2
    assert letters[0].reason == (
        "1:join(inner, within 10): an event of 1970-01-01T00:01:34.900000Z came late: event time had reached "
        "1970-01-01T00:01:35Z, and what it would be joined with may be forgotten; raise lateness above 5.1s to wait for "
        "such events"
    )
    trial = tried(joined(lateness=5, late="drop"), events, events, lambda side, i: float(i))
    assert (trial.dead_letters, trial.outcomes) == ({}, {"filtered": 2, "delivered": 4})


def test_a_side_that_is_silent_is_not_waited_for() -> None:
    with virtual(Pipeline("p", joined(how="left", idle="30s") | memory.into([]))) as run:
        run.send(("a", 0.0, 1), to=LEFT).send(("b", 0.0, 2), to=RIGHT)
        run.advance("20s").send(("a", 20.0, 3), to=LEFT)
        assert run.values == []
        run.advance("10s")
        assert rows(run.values) == [(1, None)]
        run.advance("20s")
        assert rows(run.values) == [(1, None), (3, None)]
        assert run.in_flight == 0


def test_a_side_that_has_ended_is_not_waited_for() -> None:
    ls = [("a", float(t), t) for t in range(0, 100, 10)]
    trial = tried(joined(how="left", idle=None), ls, [("a", 0.0, 1)], lambda side, i: 10.0 * i)
    assert rows(trial.values)[:2] == [(0, 1), (10, 1)]


def test_times_may_be_datetimes_exact_to_the_microsecond() -> None:
    def at(text: str) -> tuple[str, datetime, int]:
        return "a", datetime.fromisoformat(text), 0

    ls = [at("2026-03-01T12:00:00.100000+01:00")]
    for other, found in (("2026-03-01T11:00:00.600000+00:00", 1), ("2026-03-01T11:00:00.600001+00:00", 0)):
        assert len(tried(joined(within="500ms"), ls, [at(other)]).values) == found
    trial = tried(joined(), [("a", datetime(2026, 3, 1), 0), ("a", datetime(2026, 3, 1, tzinfo=UTC), 1)], [])
    assert [letter.reason for letter in trial.dead_letters["p.dead"]] == [
        "1:join(inner, within 10): time= answered datetime.datetime(2026, 3, 1, 0, 0), which has no time zone; add one, "
        "such as .replace(tzinfo=UTC)"
    ]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "noon", None, True, 10**400])
def test_a_time_that_is_none(bad: Any) -> None:
    trial = tried(joined(), [("a", 0.0, 1), ("a", bad, 2), ("a", 0.0, 3)], [("a", 0.0, 4)])
    assert rows(trial.values) == [(1, 4), (3, 4)]
    assert len(trial.dead_letters["p.dead"]) == 1


def test_a_key_that_is_none_or_cannot_be_told() -> None:
    ls = [(None, 0.0, 1), ([], 0.0, 2), ("a", 0.0, 3), "no tuple"]
    rs = [(None, 0.0, 4), ("a", 0.0, 5)]
    assert rows(tried(joined(), ls, rs).values) == [(3, 5)]
    trial = tried(joined(how="outer"), ls, rs)
    assert rows(trial.values) == [(1, None), (3, 5), (None, 4)]
    assert [letter.stage for letter in trial.dead_letters["p.dead"]] == ["1:join(outer, within 10)"] * 2
    assert trial.outcomes == {"delivered": 4, "dead-lettered": 2}


def test_each_side_may_have_functions_of_its_own() -> None:
    source = join(
        left,
        right,
        on=(lambda order: order["id"], lambda paid: paid["order"]),
        time=(lambda order: order["at"], lambda paid: paid["paid"]),
        within="1m",
    )
    trial = tried(source, [{"id": 7, "at": 0}], [{"order": 7, "paid": 60}, {"order": 7, "paid": 61}])
    assert trial.values == [Pair(7, {"id": 7, "at": 0}, {"order": 7, "paid": 60})]


def test_a_function_that_fails_is_tried_again_on_its_own_side() -> None:
    flaky = fail(nth=(1, 2))(key)
    source = joined(on=(flaky, flaky), how="outer") | retry(constant("1s"))
    trial = tried(source, [("a", 0.0, 1)], [("a", 1.0, 2)])
    assert rows(trial.values) == [(1, 2)]


def test_a_fallback_behind_it_sees_the_value_itself() -> None:
    source = joined() | fallback(lambda value, error: (value, type(error).__name__), on=HandlerError)
    assert tried(source, [(["a"], 0.0, 1)], []).values == [((["a"], 0.0, 1), "HandlerError")]


def test_what_comes_of_pairs_settles_their_messages() -> None:
    ls = [("a", 0.0, 1), ("b", 0.0, 2), ("c", 0.0, 3)]
    rs = [("a", 0.0, 4), ("a", 1.0, 5), ("b", 0.0, 6)]
    assert tried(joined() | filter(lambda pair: pair.key == "b"), ls, rs).outcomes == {"filtered": 4, "delivered": 2}

    def refuse(pair: Any) -> Any:
        if pair.right[2] == 5:
            raise ValueError(pair.key)
        return pair

    trial = tried(joined() | map(refuse), ls, rs)
    assert rows(trial.values) == [(1, 4), (2, 6)]
    assert sorted(letter.value[2] for letter in trial.dead_letters["p.dead"]) == [1, 5]
    assert trial.outcomes == {"delivered": 3, "dead-lettered": 2, "filtered": 1}
    again = tried(joined() | map(fail(every=2)(lambda pair: pair)) | retry(constant("1s", attempts=9)), ls, rs)
    assert rows(again.values) == [(1, 4), (1, 5), (2, 6)]


def test_many_pairs_of_one_message() -> None:
    ls, rs = [("a", 0.0, 0)], [("a", 0.0, n) for n in range(5_000)]
    trial = tried(joined(), ls, rs)
    assert len(trial.values) == 5_000
    assert trial.outcomes == {"delivered": 5_001}


def test_steps_and_several_sources_stand_before_it() -> None:
    more = memory.queue("more")
    source = join(
        left | flat_map(lambda event: [event, event]) | retry(constant("1s")),
        merge(right | filter(lambda event: event[2] != 5), more),
        on=key,
        time=time,
        within=10,
    )
    scripts = {
        LEFT: [Arrival(("a", 0.0, 1))],
        RIGHT: [Arrival(("a", 0.0, 5)), Arrival(("a", 0.0, 6))],
        more.name: [Arrival(("a", 0.0, 7))],
    }
    trial = try_out(Pipeline("p", source | memory.into([])), lambda name: Script(scripts[name]), 0.0, [Faults()])
    assert rows(trial.values) == [(1, 6), (1, 6), (1, 7), (1, 7)]


def test_a_message_that_is_tried_again_upstream_is_waited_for() -> None:
    flaky = map(fail(nth=1)(lambda event: event)) | retry(constant("1h"), park="2h")
    source = join(left | flaky, right, on=key, time=time, within=1, idle="1m")
    ls, rs = [("a", float(t), t) for t in range(0, 40, 10)], [("a", float(t), t) for t in range(0, 40, 10)]
    trial = tried(source, ls, rs, lambda side, i: float(i))
    assert rows(trial.values) == [(t, t) for t in range(0, 40, 10)]


def test_a_join_of_a_join() -> None:
    third: Source[Any] = memory.queue("third")
    source = join(joined(), third, on=key_of_either, time=(lambda pair: pair.left[1], time), within=10)
    scripts = {name: Script([Arrival(("a", 0.0, n))]) for n, name in enumerate((LEFT, RIGHT, third.name))}
    pipeline = Pipeline("p", source | memory.into([]))
    trial = try_out(pipeline, scripts.__getitem__, 0.0, [Faults()])
    assert [(pair.left.left[2], pair.left.right[2], pair.right[2]) for pair in trial.values] == [(0, 1, 2)]
    assert "left:\n      sides(memory:left, memory:right)" in pipeline.explain()


def key_of_either(value: Any) -> Any:
    return value.key if isinstance(value, Pair) else value[0]


def test_a_side_may_be_the_other_one_too_where_each_reads_all() -> None:
    out: list[Any] = []
    events = memory.items([("a", 0.0, 1), ("a", 5.0, 2)])
    Pipeline("p", join(events, events, on=key, time=time, within=1) | memory.into(out)).run()
    assert rows(out) == [(1, 1), (2, 2)]


def test_after_a_stop_what_has_no_partner_is_with_its_source() -> None:
    broker = memory.Broker()
    queues = [memory.queue(name, Any, broker=broker) for name in "ab"]
    out: list[Any] = []

    async def main() -> None:
        given = asyncio.Event()
        for queue, values in zip(queues, ([("x", 0.0, 1), ("y", 0.0, 2)], [("x", 0.0, 3)]), strict=True):
            connection = await queue.open()
            await connection.write(Outgoing(values, lambda i: Metadata(id=str(i))))
            await connection.close()
        source = join(*queues, on=key, time=time, within=10, how="left") | tap(lambda pair: given.set())
        running = Pipeline("p", source | memory.into(out)).start()
        await asyncio.wait_for(given.wait(), 10)
        running.stop()
        await running

    asyncio.run(main())
    assert rows(out) == [(1, 3)]
    assert [broker.depth(queue) for queue in "ab"] == [1, 0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"within": 0}, r"join\(within=0\): values of one time alone would be pairs; give a duration longer than 0"),
        ({"how": "full"}, r"join\(how='full'\): write how='inner', how='left' or how='outer'"),
        ({"late": "keep"}, r"join\(late='keep'\): leave it out to fail late values, write late='drop', or give a sink"),
        ({"late": map(str)}, r"join\(late=map\(str\)\): late values must end there; put a sink behind it"),
        ({"time": None, "late": "drop"}, r"join: without time= nothing can be late; give time=, or leave out lateness"),
        ({"time": None, "lateness": 3}, r"join: without time= nothing can be late; give time=, or leave out lateness"),
        ({"idle": 0}, r"join\(idle=0\): idle must be longer than 0, or None"),
        ({"on": "id"}, r"join\(on=...\): 'id' is not a function; give a function of one value, or a pair of them"),
        ({"on": (key, key, key)}, r"join\(on=...\): .* are 3 functions; give a function of one value, or a pair"),
        ({"time": (time, 5)}, r"join\(time=...\): 5 is not a function; give a function of one value, or a pair"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        joined(**options)


def test_sides_that_cannot_be() -> None:
    with pytest.raises(GraphError, match=r"join: map\(str\) on the right is not a source; give two sources to read from"):
        join(left, map(str), on=key, time=time, within=1)  # type: ignore[call-overload]
    with pytest.raises(GraphError, match=r"both sides read memory:left, so each of its messages would come to one of them"):
        join(left, left | filter(bool), on=key, time=time, within=1)
    with pytest.raises(GraphError, match=r"cannot follow .*: a source starts a pipeline"):
        left | joined()  # type: ignore[operator]


def test_what_explain_says() -> None:
    text = Pipeline("p", joined(how="left", late="drop") | memory.into([])).explain()
    assert "sides(memory:left, memory:right)\n    left:\n      memory:left" in text
    assert "join(left, within 10)   [acknowledged when its pairs are safe and no more can come, late values dropped]" in text
    text = Pipeline("p", joined(idle=None) | memory.into([])).explain()
    assert "no more can come, a silent side is waited for while values of the other hold half of the credit]" in text
