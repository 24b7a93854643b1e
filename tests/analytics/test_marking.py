from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from tests.operators.fake import Bench
from tests.operators.kept import KeptBench, Rows
from warren import Pipeline, constant
from warren.analytics import Alarms, Deviation, Marked, Novelty, Outliers, anomalies
from warren.connectors import memory, sqlite
from warren.core.chunk import Chunk
from warren.core.errors import GraphError, HandlerError, ValidationError
from warren.core.frozen import thaw
from warren.core.message import Batch
from warren.operators import dead_letter, map, retry, route
from warren.testing import fail

USUAL = [20.0 + i % 7 for i in range(200)]


def alarms(bench: Bench) -> list[Any]:
    return [marked.value for marked in bench.values if marked.alarm]


def test_nothing_comes_of_nothing() -> None:
    assert Bench(anomalies(Deviation())).push().finish().values == []


def test_every_message_goes_on_marked_and_one_incident_is_one_alarm() -> None:
    bench = Bench(anomalies(Deviation())).push(*USUAL[:50]).push(*USUAL[50:], 90.0, 91.0, 92.0, 22.0)
    assert [marked.value for marked in bench.values] == [*USUAL, 90.0, 91.0, 92.0, 22.0]
    assert alarms(bench) == [90.0]
    assert min(marked.score for marked in bench.values[-4:-1]) > 6 > bench.values[-1].score
    assert bench.finish().kinds() == ["DELIVERED"] * 204


def test_how_values_come_in_chunks_makes_no_difference() -> None:
    values = [*USUAL, 90.0, *USUAL]
    whole = Bench(anomalies(Novelty())).push(*values)
    single = Bench(anomalies(Novelty()))
    for value in values:
        single.push(value)
    assert whole.values == single.values


def test_each_run_and_each_key_starts_from_a_copy() -> None:
    detector, policy = Deviation(), Alarms(6.0, quiet=5)
    step = anomalies(detector, by=itemgetter("key"), value=itemgetter("n"), alarms=policy)
    rows = [{"key": key, "n": n} for n in USUAL for key in "ab"]
    odd = [{"key": "a", "n": 90.0}, {"key": "b", "n": 21.0}, {"key": "b", "n": 91.0}, {"key": "a", "n": 92.0}]
    for _ in range(2):
        bench = Bench(step).push(*rows).push(*odd)
        assert alarms(bench) == [odd[0], odd[2]]
        bench.finish()
    assert detector.learned == 0


def test_what_has_learned_goes_on_and_may_stay_as_it_is() -> None:
    detector = Deviation()
    detector.learn_many(USUAL)
    policy = Alarms(detector.threshold, quiet=0, rise=0)
    frozen = Bench(anomalies(detector, learn=False, alarms=policy)).push(*[90.0] * 60)
    learning = Bench(anomalies(detector, alarms=policy)).push(*[90.0] * 60)
    assert len(alarms(frozen)) == 60 > len(alarms(learning)) > 0


def test_the_time_is_that_of_the_pipeline_or_the_message() -> None:
    bench = Bench(anomalies(Novelty()), start=3600.0 * 12)
    bench.push(1.0)
    told = Bench(anomalies(Novelty(), value=itemgetter(0), at=itemgetter(1))).push((1.0, 3600.0 * 12), (2.0, None))
    assert [marked.score for marked in (*bench.values, *told.values)] == [0, 0, 0]


def test_what_is_refused_fails_alone_and_teaches_nothing() -> None:
    def value(message: Any) -> Any:
        if message == "bad":
            raise KeyError(message)
        return message

    plain = Bench(anomalies(Deviation(), value=value)).push(*USUAL, 90.0)
    bench = Bench(anomalies(Deviation(), value=value)).push("bad", *USUAL[:99], "12", *USUAL[99:], float("inf"), 90.0)
    assert bench.values == plain.values
    assert [type(failure.error) for failure in bench.failures] == [KeyError, ValidationError, ValidationError]
    assert "'12' is no number; give a number" in bench.errors[1]
    bench.finish()


def test_a_key_that_cannot_be_had_is_its_own_failure() -> None:
    bench = Bench(anomalies(Deviation(), value=len, by=lambda message: message)).push("a", [1])
    assert [marked.value for marked in bench.values] == ["a"]
    assert [type(failure.error) for failure in bench.failures] == [HandlerError]
    assert "answered [1] for [1], which cannot be a key" in bench.errors[0]
    bench.finish()


def test_a_missing_value_is_no_alarm() -> None:
    assert alarms(Bench(anomalies(Deviation())).push(*USUAL, None, float("nan")).finish()) == []


def test_rows_of_many_fields() -> None:
    rows = [{"amount": 10.0 + i % 5, "country": ("de", "fr")[i % 2]} for i in range(256)]
    odd = {"amount": 900.0, "country": "xx"}
    bench = Bench(anomalies(Outliers(every=256, trees=50))).push(*rows, odd).push(*rows[:5]).finish()
    assert alarms(bench) == [odd]


def test_alarms_are_routed() -> None:
    parted = route(
        lambda marked: "alarm" if marked.alarm else "calm",
        alarm=map(lambda marked: marked.value) | memory.queue("alarms"),
        calm=dead_letter("calm"),
    )
    flow = memory.items([]) | anomalies(Deviation()) | parted
    trial = Pipeline("watch", flow).test([*USUAL, 90.0])
    assert trial.outputs["memory:alarms"] == [90.0]


def test_with_state_a_restart_goes_on_where_it_was() -> None:
    rows: Rows = {}
    step = anomalies(Novelty(), by=lambda value: value > 1000)
    first = KeptBench(step, rows).push(*USUAL[:120]).checkpoint()
    second = KeptBench(step, rows).push(*USUAL[120:], 90.0)
    whole = Bench(step).push(*USUAL, 90.0)
    assert [*first.values, *second.values] == whole.values
    assert alarms(second) == [90.0]


def test_an_alarm_that_may_not_have_got_through_is_one_again() -> None:
    rows: Rows = {}
    counted: list[list[str]] = []
    step = anomalies(Deviation(), alarms=Alarms(6.0, quiet=50))
    first = KeptBench(step, rows, counted).push(*USUAL, 90.0, 91.0).checkpoint()
    assert alarms(first) == [90.0]
    # Killed before anything was settled: all of it comes once more, under the ids it had.
    second = KeptBench(step, rows, counted).push(*USUAL, 90.0, 91.0, attempt=2)
    assert alarms(second) == [90.0]
    third = KeptBench(step, rows, counted).push(92.0, *USUAL[:60], 93.0)
    assert alarms(third) == [93.0]


def test_ids_of_alarms_go_when_their_messages_cannot_come_again() -> None:
    step = anomalies(Deviation(), alarms=Alarms(6.0, quiet=0, rise=0))
    bench = KeptBench(step, rows := {})
    for turn in range(12):
        values = [*USUAL[:10], *(90.0 + i for i in range(10)), *USUAL[:40]]
        delivery = bench.run.ledger.accept("test", Batch(values, [f"{turn}.{i}" for i in range(60)]), 0.0)
        bench.hand(Chunk(values, delivery.tokens))
        bench.deliver().checkpoint()
    assert len(alarms(bench)) > 80
    (state,) = rows.values()
    assert len(thaw(state)[2]) < 80


def test_an_alarm_that_was_parked_is_one_when_it_comes_again() -> None:
    steps = map(fail(every=201)(lambda marked: marked)) | retry(constant("2h"))
    flow = memory.items([]) | anomalies(Deviation()) | steps | memory.into([])
    trial = Pipeline("watch", flow, state=memory.state()).test([*USUAL, 90.0, *USUAL[:100]])
    assert trial.outcomes == {"delivered": 301, "parked": 1}
    assert [marked.value for marked in trial.values if marked.alarm] == [90.0]


def test_ttl_forgets_a_key() -> None:
    step = anomalies(Deviation(), by=lambda value: "k", ttl="10s")
    bench = Bench(step).push(*USUAL).wait(60).push(90.0)
    assert alarms(bench) == [] and bench.values[-1].score == 0
    bench.wait(60).finish()


def test_in_a_file_what_is_learned_counts_once(tmp_path: Path) -> None:
    queue = str(tmp_path / "queue.db")
    for part in (USUAL, [90.0]):
        Pipeline("fill", memory.items(part) | sqlite.queue(queue, "values")).run()
        out: list[Any] = []
        flow = sqlite.queue(queue, "values", float) | anomalies(Deviation()) | memory.into(out)
        Pipeline("watch", flow, state=tmp_path / "watch.state").run(until_empty=True)
    assert out == [Marked(90.0, out[0].score, True)]


def test_names_and_what_cannot_work() -> None:
    step: Any = anomalies(Deviation(), by=len)
    assert step.name == "anomalies(Deviation by len)"
    assert "where the pipeline keeps state" in step.guarantee
    with pytest.raises(GraphError, match=r"anomalies\('novelty'\): give a detector, such as anomalies\(Novelty\(\)\)"):
        anomalies("novelty")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"anomalies\(Deviation, by=\.\.\.\): 'id' is not a function"):
        anomalies(Deviation(), by="id")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="ttl must be longer than 0"):
        anomalies(Deviation(), ttl=0)
