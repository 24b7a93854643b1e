import pytest
import reactivex
from reactivex import operators as ops

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.operators.rx import rx


def test_what_comes_out_descends_from_what_went_in() -> None:
    bench = Bench(rx(ops.filter(lambda x: x > 0), ops.flat_map(lambda x: reactivex.of(*range(x))))).push(0, 1, 2)
    assert bench.values == [0, 0, 1]
    assert bench.kinds() == ["FILTERED", "", ""]
    bench.finish()


def test_state_lives_on_between_chunks() -> None:
    bench = Bench(rx(ops.scan(lambda a, b: a + b))).push(1, 2).push(3)
    assert bench.values == [1, 3, 6]
    bench.finish()


def test_an_error_fails_the_value_and_starts_anew() -> None:
    bench = Bench(rx(ops.map(lambda x: 1 / x))).push(1, 0, 2)
    assert (bench.values, [f.value for f in bench.failures]) == ([1.0, 0.5], [0])
    bench.finish()


def test_what_is_given_before_the_first_value_leaves_with_it() -> None:
    Bench(rx(ops.start_with(0))).finish()
    bench = Bench(rx(ops.start_with(0))).push(1, 2).finish()
    assert bench.values == [0, 1, 2]


def test_what_came_after_completion_is_dropped() -> None:
    bench = Bench(rx(ops.take(1))).push(1, 2).push(3)
    assert bench.values == [1]
    assert bench.kinds() == ["", "FILTERED", "FILTERED"]
    bench.finish()


def test_held_messages_settle_with_the_next_value() -> None:
    bench = Bench(rx(ops.buffer_with_count(2), holds=True)).push(1).push(2, 3)
    assert bench.values == [[1, 2]]
    assert bench.kinds() == ["", "", ""]
    bench.finish()
    assert bench.values == [[1, 2], [3]]


def test_a_reduction_gives_its_value_at_the_end() -> None:
    bench = Bench(rx(ops.reduce(lambda a, b: a + b), holds=True)).push(1, 2).push(3)
    assert bench.values == []
    bench.finish()
    assert bench.values == [6]


def test_time_inside_is_the_pipelines() -> None:
    bench = Bench(rx(ops.debounce(1.0), holds=True)).push(1).push(2)
    assert bench.run.pending_timers
    bench.wait(0.9)
    assert bench.values == []
    bench.wait(0.2)
    assert (bench.values, bench.run.pending_timers) == ([2], 0)
    bench.finish()


def test_delayed_values_settle_once() -> None:
    bench = Bench(rx(ops.delay(1.0), holds=True)).push(1, 2, 3).wait(0.5).push(4).wait(5)
    assert bench.values == [1, 2, 3, 4]
    bench.finish()


def test_sampling_ends_with_the_drain() -> None:
    bench = Bench(rx(ops.sample(1.0), holds=True)).push(1, 2).wait(1.5)
    assert bench.values == [2]
    bench.push(3).finish()
    assert bench.values[0] == 2


def test_waiting_without_saying_so_fails_the_message() -> None:
    bench = Bench(rx(ops.delay(1.0))).push(1)
    assert isinstance(bench.failures[0].error, GraphError)
    assert "holds=True" in bench.errors[0]
    bench.finish()


def test_a_timer_from_the_start_is_refused_at_the_start() -> None:
    with pytest.raises(GraphError, match="holds=True"):
        Bench(rx(ops.sample(1.0)))


def test_a_value_by_itself_stops_the_pipeline() -> None:
    bench = Bench(rx(ops.reduce(lambda a, b: a + b))).push(1, 2)
    bench.flush()
    assert [str(error) for error in bench.run.stopped] == [
        "rx(reduce): the operators keep values for later; say so with rx(..., holds=True), or leave them out"
    ]


def test_an_error_fails_all_that_is_held() -> None:
    bench = Bench(rx(ops.reduce(lambda a, b: a / b), holds=True)).push(1, 0, 5)
    assert [f.value for f in bench.failures] == [1, 0]
    bench.finish()
    assert bench.values == [5]


def test_values_after_a_drain_start_anew() -> None:
    bench = Bench(rx(ops.reduce(lambda a, b: a + b), holds=True)).push(1, 2).flush().push(5)
    bench.finish()
    assert bench.values == [3, 5]


def test_what_is_no_operator_is_refused() -> None:
    with pytest.raises(GraphError, match="at least one"):
        rx()
    with pytest.raises(GraphError, match="not an operator"):
        rx(3)  # type: ignore[arg-type]


def test_in_a_pipeline_held_values_leave_at_the_drain() -> None:
    flow = memory.items([]) | rx(ops.reduce(lambda a, b: a + b), holds=True) | memory.into([])
    trial = Pipeline("sum", flow).test([1, 2, 3])
    assert (trial.values, trial.outcomes) == ([6], {"delivered": 3})


def test_in_a_pipeline_a_result_nobody_would_wait_for_is_refused() -> None:
    flow = memory.items([]) | rx(ops.reduce(lambda a, b: a + b)) | memory.into([])
    with pytest.raises(GraphError, match="holds=True"):
        Pipeline("sum", flow).test([1, 2])
