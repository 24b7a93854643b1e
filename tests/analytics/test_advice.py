"""What is advised, where the right answer is known; and that it gains what it promises."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bottlenecks import draw, run
from tests.analytics.feeding import NOW
from warren import Pipeline, constant
from warren.analytics import Flows, Recorder
from warren.analytics.advice import Advice, advise, diff, render_advice
from warren.connectors import memory
from warren.core.errors import DataError, GraphError
from warren.core.graph import Operator
from warren.core.hooks import Work
from warren.operators import batch, map, retry
from warren.pipelines.given import Arrival
from warren.pipelines.trial import Trial

SERVICE = 0.1


async def ask(value: Any) -> Any:
    await asyncio.sleep(SERVICE)
    return value


def pipeline(steps: Operator[Any, Any], credit: int | None = None) -> Pipeline:
    return Pipeline("orders", memory.queue("in") | steps | memory.queue("out"), credit=credit)


def record(folder: Path, made: Pipeline, at: Sequence[float]) -> Trial:
    return made.observed(Recorder(folder)).test(range(len(at)), at=at, start=NOW)


def steady(rate: float, seconds: float) -> list[float]:
    return [number / rate for number in range(round(rate * seconds))]


def poisson(rate: float, seconds: float) -> list[float]:
    lot, now, times = random.Random(7), 0.0, []
    while (now := now + lot.expovariate(rate)) < seconds:
        times.append(now)
    return times


def only(found: list[Advice], setting: str) -> Advice:
    [advice] = [each for each in found if each.setting == setting]
    return advice


def gained(advice: Advice, before: float, after: float) -> None:
    assert advice.gain is not None
    assert before / after == pytest.approx(advice.gain, rel=0.2)


def test_concurrency_that_is_too_small_is_raised_for_what_comes_and_gains_as_promised(tmp_path: Path) -> None:
    at = steady(30, 120)
    small = pipeline(map(ask, concurrency=2), credit=10_000)
    before = record(tmp_path / "before", small, at)
    advice = only(advise(Flows(tmp_path / "before"), small), "concurrency")
    # 30 a second for 0.1 s each keep three of them busy, and four for at most four fifths of the time.
    assert (advice.now, advice.proposed) == ("map(ask, concurrency=2)", "map(ask, concurrency=4)")
    assert (advice.stage, advice.of) == ("1:map(ask)", "rate")
    assert "30 messages a second" in advice.evidence
    after = record(tmp_path / "after", pipeline(map(ask, concurrency=4), credit=10_000), at)
    gained(advice, before.elapsed, after.elapsed)
    assert advise(Flows(tmp_path / "after")) == []


def test_what_limits_where_the_source_always_has_more_grows_step_by_step(tmp_path: Path) -> None:
    at = [0.0] * 600
    before = record(tmp_path, pipeline(map(ask, concurrency=4), credit=100), at)
    advice = only(advise(Flows(tmp_path)), "concurrency")
    assert advice.proposed == "map(ask, concurrency=16)" and "is not known" in advice.evidence
    after = record(tmp_path / "after", pipeline(map(ask, concurrency=16), credit=100), at)
    gained(advice, before.elapsed, after.elapsed)


def test_a_target_takes_as_many_calls_as_the_queueing_model_says(tmp_path: Path) -> None:
    at = poisson(30, 300)
    record(tmp_path, pipeline(map(ask, concurrency=4)), at)
    flows = Flows(tmp_path)
    more = only(advise(flows, target="p95=120ms"), "concurrency")
    assert more.of == "wait" and more.now == "map(ask, concurrency=4)" and "queueing model" in more.expected
    assert more.proposed in ("map(ask, concurrency=6)", "map(ask, concurrency=7)")
    record(tmp_path / "after", pipeline(map(ask, concurrency=6)), at)
    transit = Flows(tmp_path / "after").summary()["transit_p95_ms"].item()
    assert transit <= 1.2 * 120
    # No number of calls makes one of 100 ms shorter: what comes is still to be borne, and that is said.
    impossible = only(advise(flows, target="p95=50ms"), "concurrency")
    assert impossible.proposed == "map(ask, concurrency=5)" and "no concurrency keeps the target" in impossible.expected
    enough = only(advise(Flows(tmp_path / "after"), target="p95=50ms"), "concurrency")
    assert enough.proposed is None and enough.expected.startswith("No concurrency keeps the target")


def test_credit_that_limits_is_raised_and_gains_as_promised(tmp_path: Path) -> None:
    at = [0.0] * 1500
    small = pipeline(map(ask, concurrency=1000), credit=10)
    before = record(tmp_path / "before", small, at)
    advice = only(advise(Flows(tmp_path / "before"), small), "credit")
    assert advice.now == "Pipeline('orders', credit=10)" and advice.proposed == "Pipeline('orders', credit=40)"
    assert advise(Flows(tmp_path / "before"))[0].now == advice.now
    after = record(tmp_path / "after", pipeline(map(ask, concurrency=1000), credit=40), at)
    gained(advice, before.elapsed, after.elapsed)


def failing(error: Callable[[int], Exception | None]) -> Callable[[int], int]:
    def answer(value: int) -> int:
        if (found := error(value)) is not None:
            raise found
        return value

    return answer


def test_errors_that_never_go_away_are_given_up_at_once(tmp_path: Path) -> None:
    def bad(value: int) -> Exception | None:
        return ValueError("no customer") if value % 2 else None

    at, calls = steady(20, 20), []

    def counted(value: int) -> Exception | None:
        calls.append(value)
        return bad(value)

    tried = pipeline(map(failing(counted)) | retry(constant("1s", attempts=4)))
    record(tmp_path, tried, at)
    before = len(calls)
    found = advise(Flows(tmp_path), tried)
    advice = only(found, "retry")
    assert advice.now == "retry(constant(1s))"
    assert advice.proposed == 'retry({ValueError: constant("1s", attempts=1), Exception: constant(1s)})'
    calls.clear()
    policy = {ValueError: constant("1s", attempts=1), Exception: constant("1s", attempts=4)}
    pipeline(map(failing(counted)) | retry(policy)).test(range(len(at)))
    gained(advice, before, len(calls))
    letters = only(found, "dead letters")
    assert letters.proposed is None and "poison" in letters.expected and "200 failure(s)" in letters.evidence


def test_an_error_that_may_be_the_one_that_goes_away_is_not_given_up(tmp_path: Path) -> None:
    lot = random.Random(3)

    def some(value: int) -> Exception | None:
        if value % 4 == 0:
            return ValueError("bad")
        return OSError("away") if lot.random() < 0.3 else None

    record(tmp_path, pipeline(map(failing(some)) | retry(constant("1s", attempts=4))), steady(20, 20))
    advice = next(each for each in advise(Flows(tmp_path)) if each.setting == "retry")
    assert advice.proposed is None and "Too little is known" in advice.expected and "do not say" in advice.evidence


def test_attempts_that_still_help_are_followed_by_more(tmp_path: Path) -> None:
    def made(attempts: int) -> Pipeline:
        failed: Counter[int] = Counter()

        def half(value: int) -> Exception | None:
            """As often as a value ends in ones: half of the messages fail, half of these again, and so on."""
            failed[value] += 1
            return ConnectionError("refused") if failed[value] <= (~value & (value + 1)).bit_length() - 1 else None

        return pipeline(map(failing(half)) | retry(constant("1s", attempts=attempts)))

    at = steady(400, 20.48)
    before = record(tmp_path, made(3), at)
    advice = only(advise(Flows(tmp_path)), "attempts")
    assert (advice.now, advice.proposed) == ("retry(..., attempts=3)", "retry(..., attempts=7)")
    after = made(7).test(range(len(at)))
    gained(advice, *(len(each.dead_letters["orders.dead"]) for each in (before, after)))


def test_a_class_that_recovers_after_another_delay_waits_for_that(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)

    def made(delay: str, name: str) -> None:
        seen: dict[int, int] = {}

        def first(value: int) -> Exception | None:
            seen[value] = seen.get(value, 0) + 1
            return ConnectionError("refused") if seen[value] <= (1 if delay == "8s" else value % 10) else None

        steps = map(failing(first)) | retry(constant(delay, attempts=40), park="0s")
        traced = [f"00-{name}{number:031x}-{1:016x}-01" for number in range(200)]
        arrivals = [Arrival(i, at=i / 10, id=str(i), headers={"traceparent": trace}) for i, trace in enumerate(traced)]
        pipeline(steps).observed(recorder).test(arrivals, start=NOW)

    made("64s", "a")
    made("8s", "b")
    advice = only(advise(Flows(tmp_path)), "retry")
    assert advice.proposed is not None and advice.proposed.startswith('retry({ConnectionError: constant("8s"')
    assert advice.gain is not None and advice.gain > 8 and advice.of == "wait"


@pytest.mark.parametrize("seed", [101, 104, 118, 15, 35, 53])
def test_the_slow_step_of_a_random_pipeline_gains_what_is_promised(tmp_path: Path, seed: int) -> None:
    drawn = draw(seed, slow=True)
    run(drawn, seed, str(tmp_path / "before"))
    [advice] = advise(Flows(tmp_path / "before"))
    assert advice.stage == drawn.slow.name and advice.proposed is not None
    many = int(advice.proposed.rpartition("=")[2].rstrip(")"))
    wider = replace(drawn.slow, rate=drawn.slow.rate * many / drawn.slow.concurrency, concurrency=many)
    stages = [wider if stage is drawn.slow else stage for stage in drawn.stages]
    run(replace(drawn, stages=stages), seed, str(tmp_path / "after"))
    gained(advice, *(middle(Flows(tmp_path / when)) for when in ("before", "after")))


def test_more_calls_that_the_credit_holds_up_are_not_proposed(tmp_path: Path) -> None:
    run(draw(28, slow=True), 28, str(tmp_path))
    [advice] = advise(Flows(tmp_path))
    assert advice.setting == "concurrency" and advice.proposed is None and "a credit of 128 holds them up" in advice.expected


def middle(flows: Flows) -> float:
    """How long it took from the time when a fifth had passed until four fifths had."""
    ends = flows.trips.select("settled").collect()["settled"].sort()
    first, last = ends[len(ends) // 5], ends[len(ends) * 4 // 5]
    return float((last - first).total_seconds())


class Fed:
    """A recording second by second, with what ran in the thread, and a sink."""

    def __init__(self, folder: Path) -> None:
        self.recorder = Recorder(folder)
        self.recorder.open("orders")

    def seconds(self, thread: dict[str, float], sink: float = 0.1, blocked: float = 1.0, waiting: int = 0) -> None:
        for second in range(30):
            at = NOW + second
            self.recorder.worked("0:memory:in", Work(1, 0, 10, 1 - blocked, 0.0, None, blocked), at, at + 1)
            self.recorder.handled("0:memory:in", 10, 10, 0, at, at, 50, None)
            for stage, busy in thread.items():
                self.recorder.handled(stage, 10, 10, 0, at, at + busy, 50, None)
            more = Work(1, waiting + second * (waiting > 10), 10, sink, waiting + 10 * sink, sink / 10)
            self.recorder.worked("memory:out", more, at, at + 1)
        self.recorder.close()


def test_a_step_that_fills_the_thread_goes_to_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    Fed(tmp_path).seconds({"1:map(parse)": 0.8, "2:filter(good)": 0.2}, waiting=0)
    advice = only(advise(Flows(tmp_path)), "executor")
    assert (advice.now, advice.proposed) == ("map(parse)", 'map(parse, executor="process")')
    assert advice.gain == pytest.approx(5, rel=0.05) and "pickled" in advice.risk
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert only(advise(Flows(tmp_path)), "executor").proposed is None


def test_a_sink_that_limits_gets_larger_batches_where_there_are_batches(tmp_path: Path) -> None:
    Fed(tmp_path).seconds({"1:batch(100)": 0.01}, sink=1.0, waiting=60)
    advice = only(advise(Flows(tmp_path), pipeline(batch(100))), "batch")
    assert advice.stage == "memory:out" and (advice.now, advice.proposed) == ("batch(100)", "batch(400)")
    assert advice.gain is None and "At most" in advice.expected
    plain = only(advise(Flows(tmp_path)), "sink")
    assert plain.proposed is None and "several sinks" in plain.expected


def test_too_few_messages_are_said_to_be_too_few(tmp_path: Path) -> None:
    record(tmp_path, pipeline(map(ask, concurrency=2)), steady(30, 1))
    [advice] = advise(Flows(tmp_path))
    assert advice.setting == "recording" and "Too few" in advice.expected and "30 message(s)" in advice.evidence


def test_a_pipeline_that_is_not_recorded_and_a_target_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no flows of a pipeline 'orders'.*there are none"):
        advise(Flows(tmp_path), "orders")
    with pytest.raises(GraphError, match="'soon' is no target"):
        advise(Flows(tmp_path), target="soon")


def test_the_diff_names_each_pipeline_once_and_leaves_out_what_is_not_proposed() -> None:
    about = {"stage": "1:map(ask)", "setting": "concurrency", "evidence": "busy"}
    some = [
        Advice(pipeline="a", now="map(ask, concurrency=2)", proposed="map(ask, concurrency=4)", **about),
        Advice(pipeline="a", **about),
        Advice(pipeline="b", proposed="retry(...)", **about),
    ]
    assert diff(some).splitlines() == [
        *("--- a", "+++ a, as advised", "@@ 1:map(ask) @@", "- map(ask, concurrency=2)", "+ map(ask, concurrency=4)"),
        *("--- b", "+++ b, as advised", "@@ 1:map(ask) @@", "+ retry(...)"),
    ]
    assert str(render_advice([])).startswith("There is nothing to advise")
