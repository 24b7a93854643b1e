from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import Bench
from tests.operators.kept import KeptBench, Rows
from warren import Pipeline, linear
from warren.connectors import memory
from warren.core.chunk import Chunk
from warren.core.errors import GraphError
from warren.core.message import Batch
from warren.core.receipt import DELIVERED, RELEASED, Kind, Outcome
from warren.operators import batch, flat_map, map, retry, timeout
from warren.operators.deduplicate import deduplicate

DEAD = Outcome(Kind.DEAD_LETTERED)
PARKED = Outcome(Kind.PARKED)


def key(value: Any) -> Any:
    return value[0]


def settle(bench: Bench, outcome: Outcome = DELIVERED) -> Bench:
    """Everything that came out has reached its end."""
    out, bench.out = bench.out, []
    for chunk in out:
        bench.run.ledger.settle(chunk.tokens, outcome)
    return bench


def pushed(bench: Bench, *ids: str) -> Bench:
    """Push messages with these ids."""
    delivery = bench.run.ledger.accept("test", Batch(list(ids), range(len(ids)), ids=ids), bench.run.clock())
    bench.pushed += delivery.tokens
    bench.hand(Chunk(list(ids), delivery.tokens))
    return bench


def test_nothing_comes_of_nothing() -> None:
    assert Bench(deduplicate()).push().finish().out == []


def test_what_was_seen_is_dropped_at_once() -> None:
    bench = Bench(deduplicate(key)).push("a1", "b1")
    assert bench.values == ["a1", "b1"]
    assert type(bench.out[0].tokens) is range
    settle(bench).push("a2", "c1", "b2")
    assert bench.values == ["c1"]
    assert bench.kinds() == ["DELIVERED", "DELIVERED", "FILTERED", "", "FILTERED"]
    bench.finish()


def test_a_duplicate_of_what_is_in_flight_waits_and_is_dropped_when_that_is_safe() -> None:
    bench = Bench(deduplicate(key)).push("a1", "a2", "b1").push("a3")
    assert bench.values == ["a1", "b1"]
    assert bench.kinds() == ["", "", "", ""]
    settle(bench)
    assert bench.kinds() == ["DELIVERED", "FILTERED", "DELIVERED", "FILTERED"]
    bench.finish()


def test_what_a_later_step_filters_out_is_safe() -> None:
    bench = Bench(deduplicate(key)).push("a1", "a2")
    settle(bench, Outcome(Kind.FILTERED)).push("a3")
    assert bench.kinds() == ["FILTERED"] * 3
    bench.finish()


@pytest.mark.parametrize("outcome", [DEAD, PARKED])
def test_a_duplicate_takes_the_place_of_one_that_failed(outcome: Outcome) -> None:
    bench = Bench(deduplicate(key)).push("a1").push("a2", attempt=2).push("a3")
    settle(bench, outcome).wait(0.001)
    assert bench.values == ["a2"]
    assert bench.out[0].attempt == 2
    settle(bench, outcome).wait(0.001)
    assert bench.values == ["a3"]
    settle(bench).push("a4")
    assert bench.kinds() == [outcome.kind.name, outcome.kind.name, "DELIVERED", "FILTERED"]
    bench.finish()


@pytest.mark.parametrize("outcome", [DEAD, PARKED])
def test_one_that_failed_passes_when_it_comes_again(outcome: Outcome) -> None:
    bench = Bench(deduplicate(key)).push("a1")
    settle(bench, outcome).push("a1")
    assert bench.values == ["a1"]
    bench.finish()


def test_an_end_within_the_step_that_hands_on_starts_nothing_before_that_is_done() -> None:
    bench = Bench(deduplicate(key)).push("a1", "a2")
    settle(bench, DEAD)
    assert (bench.values, bench.run.busy) == ([], 1)
    assert bench.wait(0.001).values == ["a2"]
    bench.finish()


def test_patience_has_an_end() -> None:
    bench = Bench(deduplicate(key, patience="10s")).push("a1", "a2").wait(4).push("a3").wait(5.9)
    assert bench.values == ["a1"]
    bench.wait(0.2)
    assert bench.values == ["a1", "a2"]
    bench.wait(4)
    assert bench.values == ["a1", "a2", "a3"]
    first, second, third = (chunk.tokens for chunk in bench.out)
    bench.push("a4")
    bench.run.ledger.settle(first, DELIVERED)
    assert bench.kinds() == ["DELIVERED", "", "", "FILTERED"]
    bench.run.ledger.settle(third, DEAD)
    bench.run.ledger.settle(second, DEAD)
    assert bench.push("a5").kinds()[-1] == "FILTERED"
    bench.out = []
    bench.finish()


def test_one_that_failed_after_another_took_its_place_changes_nothing() -> None:
    bench = Bench(deduplicate(key, patience="10s")).push("a1", "a2").wait(11)
    bench.run.ledger.settle(bench.out[0].tokens, DEAD)
    bench.push("a3")
    assert bench.values == ["a1", "a2"]
    bench.run.ledger.settle(bench.out[1].tokens, DELIVERED)
    assert bench.kinds() == ["DEAD_LETTERED", "DELIVERED", "FILTERED"]
    bench.finish()


def test_the_time_runs_from_when_the_first_was_safe() -> None:
    bench = Bench(deduplicate(key, within="10s")).push("a1").wait(5)
    settle(bench).wait(9.9).push("a2")
    assert bench.kinds() == ["DELIVERED", "FILTERED"]
    bench.wait(0.1).push("a3")
    assert bench.values == ["a3"]
    bench.finish()


def test_without_a_time_a_key_counts_for_ever() -> None:
    bench = settle(Bench(deduplicate(key, within=None)).push("a1")).wait(1e9).push("a2")
    assert bench.kinds() == ["DELIVERED", "FILTERED"]
    assert deduplicate(within=None).name == "deduplicate(id)"
    bench.finish()


def test_the_oldest_are_forgotten_beyond_the_limit() -> None:
    bench = settle(Bench(deduplicate(key, limit=2)).push("a", "b", "c"))
    bench.push("b", "c")
    assert bench.values == []
    bench.push("a")
    assert bench.values == ["a"]
    bench.finish()


def test_ids_are_those_of_the_messages() -> None:
    bench = settle(pushed(Bench(deduplicate()), "1", "2"))
    pushed(bench, "2", "3", "3")
    assert bench.values == ["3"]
    settle(bench)
    assert bench.kinds() == ["DELIVERED", "DELIVERED", "FILTERED", "DELIVERED", "FILTERED"]
    bench.finish()


def test_messages_without_an_id_pass() -> None:
    bench = settle(pushed(Bench(deduplicate()), "", "", "1"))
    assert pushed(bench, "", "1").values == [""]
    settle(bench)
    delivery = bench.run.ledger.accept("test", Batch(["x"], [1], ids=[""]), 0.0)
    bench.pushed += delivery.tokens
    bench.hand(Chunk(["x", "y"], bench.run.ledger.split(delivery.base, 2)))
    assert bench.values == ["x", "y"]
    bench.finish()


def test_parts_of_messages_have_ids_of_their_own() -> None:
    bench = pushed(Bench(flat_map(lambda name: [name, name]) | deduplicate()), "1", "2")
    settle(bench)
    assert pushed(bench, "1").values == []
    assert bench.kinds() == ["DELIVERED", "DELIVERED", "FILTERED"]
    bench.finish()


def test_of_rows_of_one_message_the_first_stands_for_all() -> None:
    bench = Bench(flat_map(list) | deduplicate()).push("ab")
    assert settle(bench).values == []
    bench = Bench(flat_map(list) | deduplicate(key)).push("abab", "bc")
    assert bench.values == ["a", "b", "c"]
    settle(bench)
    assert bench.kinds() == ["DELIVERED", "DELIVERED"]
    assert bench.push("abc").values == []
    bench.finish()


def test_a_message_of_which_no_part_is_new_is_dropped_as_a_whole() -> None:
    bench = Bench(batch(2) | deduplicate(tuple)).push(1, 2)
    settle(bench).push(1, 2)
    assert bench.kinds() == ["DELIVERED"] * 2 + ["FILTERED"] * 2
    bench.finish()


def test_a_key_that_cannot_be_had_is_its_own_failure() -> None:
    bench = Bench(deduplicate(key)).push("", "a", [[]], "a", attempt=2)
    assert (bench.values, [f.value for f in bench.failures]) == (["a"], ["", [[]]])
    settle(bench)
    for failure in bench.failures:
        bench.run.ledger.settle([failure.token], DEAD)
    bench = Bench(deduplicate(key)).push("")
    assert len(bench.failures) == 1
    bench.finish()


def test_what_goes_back_at_the_end_takes_what_waits_with_it() -> None:
    bench = Bench(deduplicate(key)).push("a1", "a2")
    bench.run.ledger.settle(bench.out[0].tokens, RELEASED)
    bench.run.ledger.release_all()
    assert bench.kinds() == ["RELEASED", "RELEASED"]
    assert bench.run.busy == 0


def test_two_messages_of_which_each_waits_for_a_row_of_the_other_both_end() -> None:
    async def ask(row: tuple[str, str]) -> str:
        await asyncio.sleep(row[0] != row[1])
        return row[1]

    rows = flat_map(lambda message: [(message[0], letter) for letter in message])
    flow = rows | map(ask, concurrency=4, ordered=False) | deduplicate(str, patience="1d")
    trial = Pipeline("p", memory.items([]) | flow | memory.into([])).test(["xy", "yx"])
    assert (sorted(trial.values), trial.outcomes) == (["x", "y"], {"delivered": 2})


@pytest.mark.parametrize("outcome", [DEAD, PARKED, RELEASED])
def test_a_row_that_failed_is_none_to_wait_for_though_its_message_is_not_at_its_end(outcome: Outcome) -> None:
    bench = Bench(deduplicate(key))
    one, two = bench.accept([0, 1])
    first, _ = bench.run.ledger.split(one, 2)
    bench.hand(Chunk(["a1", "a2"], [first, two]))
    bench.run.ledger.settle([first], outcome)
    bench.wait(0.001)
    assert bench.values == (["a1"] if outcome is RELEASED else ["a1", "a2"])


def test_a_row_inside_timeout_is_followed_as_any_other() -> None:
    bench = Bench(flat_map(list) | timeout(deduplicate(key), "1m")).push("ab").push("b")
    settled = [token for token, value in zip(bench.out[0].tokens, bench.out[0].values, strict=True) if value == "b"]
    bench.run.ledger.settle(settled, DELIVERED)
    assert bench.kinds() == ["", "FILTERED"]
    bench.finish()


actions = st.one_of(
    st.tuples(st.just("push"), st.lists(st.sampled_from("abc"), min_size=1, max_size=4)),
    st.tuples(st.just("settle"), st.tuples(st.integers(0, 9), st.sampled_from([DELIVERED, DEAD, PARKED]))),
    st.tuples(st.just("wait"), st.sampled_from([0.001, 3.0, 7.0])),
)


@given(st.lists(actions, max_size=25))
def test_what_is_dropped_equals_one_that_was_delivered_within_the_time(steps: list[tuple[str, Any]]) -> None:
    bench = Bench(deduplicate(key, within="10s", patience="5s"))
    delivered: dict[str, float] = {}
    values: dict[int, str] = {}
    open_: dict[int, str] = {}
    seen = 0

    def check() -> None:
        nonlocal seen
        for chunk in bench.out[seen:]:
            open_.update(zip(chunk.tokens, chunk.values, strict=True))  # type: ignore[arg-type]
        seen = len(bench.out)
        for token, kind in bench.run.kinds.items():
            if kind is Kind.FILTERED and token not in checked:
                checked.add(token)
                assert bench.run.clock() - delivered[values[token]] <= 10

    checked: set[int] = set()
    for what, argument in steps:
        if what == "push":
            before = len(bench.pushed)
            tokens = range(bench.run.ledger._next << 20, (bench.run.ledger._next << 20) + len(argument))
            values.update(zip(tokens, argument, strict=True))
            bench.push(*argument)
            assert bench.pushed[before:] == list(tokens)
        elif what == "wait":
            bench.wait(argument)
        elif open_:
            token = list(open_)[argument[0] % len(open_)]
            if argument[1] is DELIVERED:
                delivered[values[token]] = bench.run.clock()
            open_.pop(token)
            bench.run.ledger.settle([token], argument[1])
        check()
    bench.wait(0.001)
    check()
    while open_:
        bench.run.ledger.settle(list(open_), DEAD)
        open_.clear()
        bench.wait(0.001)
        check()
    bench.out = []
    bench.finish()


def test_in_a_pipeline_duplicates_wait_for_the_batch_that_holds_the_first() -> None:
    out: list[Any] = []
    trial = Pipeline("p", memory.items([]) | deduplicate(key) | batch(3) | memory.into(out)).test(["a", "b", "a", "a", "b"])
    assert trial.values == [["a", "b"]]
    assert trial.outcomes == {"delivered": 2, "filtered": 3}


def test_a_pipeline_without_credit_left_goes_on_after_the_patience() -> None:
    flow = memory.items([]) | deduplicate(key, patience="30s") | batch(3) | memory.into([])
    trial = Pipeline("p", flow, credit=4).test(["a", "a", "a", "a", "b"])
    assert [value for values in trial.values for value in values].count("a") >= 1
    assert "b" in trial.values[-1]
    assert sum(trial.outcomes.values()) == 5


def test_in_a_pipeline_a_parked_message_passes_when_it_comes_again() -> None:
    answers = iter([ConnectionError("busy"), "done"])

    def ask(value: int) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    policy = linear("1h", maximum="1h")
    flow = memory.items([]) | deduplicate(within="2d") | map(ask) | retry(policy, on=ConnectionError) | memory.into([])
    assert Pipeline("p", flow).test([1]).values == ["done"]


def test_in_a_pipeline_the_second_of_a_dead_letter_is_tried() -> None:
    def odd(value: tuple[int, int]) -> int:
        if value[1] % 2 == 0:
            raise ValueError(value)
        return value[1]

    trial = Pipeline("p", memory.items([]) | deduplicate(key) | map(odd) | memory.into([])).test(
        [(7, 2), (7, 4), (7, 5), (7, 9)]
    )
    assert trial.values == [5]
    assert trial.outcomes == {"dead-lettered": 2, "delivered": 1, "filtered": 1}


def test_what_cannot_work_is_refused() -> None:
    for arguments, says in [
        ({"by": "id"}, r"deduplicate\(by=\.\.\.\): 'id' is not a function; give a function"),
        ({"limit": 0}, r"deduplicate\(limit=0\): limit must be a whole number"),
        ({"limit": True}, r"deduplicate\(limit=True\)"),
        ({"within": 0}, r"deduplicate\(within=0\): within must be longer than 0"),
        ({"patience": "0s"}, r"deduplicate\(patience='0s'\): patience must be longer than 0"),
        ({"within": "soon"}, "'soon' is not a duration"),
    ]:
        with pytest.raises(GraphError, match=says):
            deduplicate(**arguments)  # type: ignore[arg-type]


def test_names() -> None:
    assert deduplicate().name == "deduplicate(id within 3600s)"
    assert deduplicate(key, "1m").name == "deduplicate(key within 60s)"
    assert deduplicate().holds is None


def test_a_message_that_timeout_tries_again_is_no_duplicate_of_itself() -> None:
    naps = iter([5.0, 0.0])

    async def ask(value: Any) -> Any:
        await asyncio.sleep(next(naps))
        return value

    flow = timeout(deduplicate(key) | map(ask), "1s") | retry(linear("1s"))
    trial = Pipeline("p", memory.items([]) | flow | memory.into([])).test(["a"])
    assert (trial.values, trial.outcomes) == (["a"], {"delivered": 1})


def test_of_rows_that_are_tried_again_the_first_stands_for_all() -> None:
    bench = Bench(deduplicate(key))
    one, two = bench.accept([0, 1])
    rows = [*bench.run.ledger.split(one, 2), two]
    bench.hand(Chunk(["a1", "a2", "b"], rows, (), 2))
    assert bench.values == ["a1", "b"]
    bench.finish()


def test_what_was_safe_is_known_in_the_next_run() -> None:
    rows: Rows = {}
    once = deduplicate(lambda n: n % 10, within="1m")
    first = KeptBench(once, rows).push(1, 2)
    first.checkpoint()
    assert rows == {}
    first.deliver().checkpoint()
    assert len(rows) == 2
    again = KeptBench(once, rows).push(11, 3)
    assert (again.values, again.kinds()) == ([3], ["FILTERED", ""])


def test_what_is_forgotten_goes_from_the_state() -> None:
    rows: Rows = {}
    once = deduplicate(lambda n: n % 10, within="1m")
    bench = KeptBench(once, rows).push(1).deliver().checkpoint()
    bench.wait(61)
    bench.push(2)
    bench.checkpoint()
    assert rows == {}


def test_what_is_seen_and_forgotten_between_two_checkpoints_is_never_written() -> None:
    rows: Rows = {}
    bench = KeptBench(deduplicate(lambda n: n % 10, limit=1), rows).push(1, 2).deliver()
    bench.push(3)
    bench.checkpoint()
    assert len(rows) == 1
