from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.semconv._incubating.attributes import messaging_attributes as messaging
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE

from tests.analytics.collecting import Collector, Span, collecting
from warren import Pipeline, constant
from warren.analytics import Traces
from warren.connectors import memory, rabbitmq, sqlite
from warren.connectors.rabbitmq.messages import Heads, frames
from warren.connectors.rabbitmq.messages import batch as rabbit_batch
from warren.core.errors import AddressError, GraphError
from warren.core.hooks import CallObserver, FlowObserver, RunObserver, TraceObserver
from warren.core.message import TRACE, Batch, Metadata, Outgoing
from warren.core.receipt import Ledger
from warren.operators import aggregate, batch, count, enrich, filter, flat_map, map, retry, tumbling, window

TRACED = f"00-{'a1' * 16}-{'b2' * 8}-01"
SHELL = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
UNTRACED = f"00-{'c3' * 16}-{'d4' * 8}-00"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(params=["sqlite", "rabbitmq"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Any]:
    """Queues of a broker, by name."""
    if request.param == "sqlite":
        return lambda name: sqlite.queue(tmp_path / "queues.db", name, int)
    url = request.getfixturevalue("vhost")
    return lambda name: rabbitmq.queue(name, int, broker=rabbitmq.Broker(url))


def under(span: Span, *spans: Span) -> bool:
    """Whether one span is the parent of all others, in one trace."""
    return all((each.trace, each.parent) == (span.trace, span.id) for each in spans)


def linked(span: Span) -> set[str]:
    return {id for _, id in span.links}


def current() -> str:
    return format(trace.get_current_span().get_span_context().span_id, "016x")


def test_it_is_all_kinds_of_observers() -> None:
    for kind in (FlowObserver, RunObserver, TraceObserver, CallObserver):
        assert isinstance(Traces(), kind)


def test_a_message_is_followed_through_two_pipelines(queue: Callable[[str], Any], collector: Collector) -> None:
    seen: dict[str, str] = {}

    def note(number: int) -> int:
        seen["note"] = current()
        return number

    async def ask(number: int) -> int:
        await asyncio.sleep(0)
        seen["ask"] = current()
        return number + 1

    out: list[int] = []
    first = Pipeline("first", memory.items([1]) | map(note) | map(ask) | queue("between"))
    second = Pipeline("second", queue("between") | map(note) | memory.into(out))
    first.observed(Traces(collector.address, sample=1.0)).run()
    noted = seen["note"]
    second.observed(Traces(collector.address, sample=0.0)).run(until_empty=True)
    assert out == [2]

    made, noting, asking, sent, taken, again, given = collector.spans
    assert [span.name for span in collector.spans] == [
        *("process memory.items", "map(note)", "map(ask)", "send between"),
        *("process between", "map(note)", "send memory.into"),
    ]
    assert not made.parent and under(made, noting, asking, sent) and under(sent, taken) and under(taken, again, given)
    assert linked(taken) == {sent.id}
    assert (noting.id, again.id, asking.id) == (noted, seen["note"], seen["ask"])
    assert [span.kind for span in (made, noting, sent, taken)] == ["CONSUMER", "INTERNAL", "PRODUCER", "CONSUMER"]
    assert {span.service for span in (made, sent)} == {"first"} and taken.service == "second"
    assert all(span.start <= span.end for span in collector.spans)
    assert set(collector.paths) == {"/v1/traces"}


def test_names_are_those_of_the_conventions(queue: Callable[[str], Any], collector: Collector) -> None:
    system = "rabbitmq" if "rabbitmq" in str(queue("q").name) else "sqlite"
    Pipeline("first", memory.items([7]) | queue("q"), observers=[Traces(collector.address, sample=1)]).run()
    second = Pipeline("second", queue("q") | batch(1) | memory.into([]), observers=[Traces(collector.address)])
    second.run(until_empty=True)
    (sent,), (taken,) = collector.named("send q"), collector.named("process q")
    for span, operation in ((sent, "send"), (taken, "process")):
        assert span.about[messaging.MESSAGING_SYSTEM] == system
        assert span.about[messaging.MESSAGING_OPERATION_NAME] == operation
        assert span.about[messaging.MESSAGING_OPERATION_TYPE] == operation
        assert span.about[messaging.MESSAGING_DESTINATION_NAME] == "q"
        assert span.about[messaging.MESSAGING_MESSAGE_ID]
        assert messaging.MESSAGING_BATCH_MESSAGE_COUNT not in span.about
    assert taken.about["warren.outcome"] == "delivered"


def test_what_is_made_of_a_batch_links_to_its_messages(queue: Callable[[str], Any], collector: Collector) -> None:
    Pipeline("first", memory.items(range(3)) | queue("q"), observers=[Traces(collector.address, sample=1)]).run()
    second = Pipeline("second", queue("q") | batch(3, "1s") | map(sum) | queue("sums"))
    second.observed(Traces(collector.address)).run(until_empty=True)
    third = Pipeline("third", queue("sums") | memory.into([]), observers=[Traces(collector.address)])
    third.run(until_empty=True)

    taken = [span for span in collector.named("process q") if messaging.MESSAGING_MESSAGE_ID in span.about]
    (together,) = [span for span in collector.named("process q") if span not in taken]
    assert len({span.trace for span in taken}) == 3
    assert not together.parent and linked(together) == {span.id for span in taken}
    assert together.about[messaging.MESSAGING_BATCH_MESSAGE_COUNT] == 3
    (adding,), (sent,), (last,) = (collector.named(name) for name in ("map(sum)", "send sums", "process sums"))
    assert under(together, adding, sent) and under(sent, last) and together.end >= sent.end


def test_dead_letters_carry_the_trace_on(queue: Callable[[str], Any], collector: Collector) -> None:
    def refuse(number: int) -> int:
        raise ValueError("the secret order of 4 o'clock")

    Pipeline("first", memory.items([1]) | queue("q"), observers=[Traces(collector.address, sample=1)]).run()
    second = Pipeline("second", queue("q") | map(refuse) | memory.into([]), observers=[Traces(collector.address)])
    second.run(until_empty=True)
    third = Pipeline("third", queue("second.dead") | memory.into([]), observers=[Traces(collector.address)])
    third.run(until_empty=True)

    (taken,), (refused,) = collector.named("process q"), collector.named("map(refuse)")
    (sent,), (letter,) = collector.named("send second.dead"), collector.named("process second.dead")
    assert under(taken, refused, sent) and under(sent, letter)
    assert taken.failed and refused.failed and not sent.failed
    assert taken.about[ERROR_TYPE] == refused.about[ERROR_TYPE] == "ValueError"
    assert taken.about["warren.outcome"] == "dead_lettered"
    assert "secret" not in str(collector.spans)


@pytest.mark.parametrize("known", [True, False], ids=["a trace in its headers", "none"])
def test_attempts_of_a_parked_message_are_of_one_trace(
    queue: Callable[[str], Any], collector: Collector, known: bool
) -> None:
    tried: list[int] = []

    def flaky(number: int) -> int:
        tried.append(number)
        if len(tried) < 3:
            raise ConnectionError
        return number

    def policy(attempt: int) -> float:
        return 0.001 if attempt == 1 else 0.02

    Pipeline("first", memory.items([1]) | queue("q"), observers=[Traces(collector.address, sample=float(known))]).run()
    parking = retry(policy, on=ConnectionError, park="10ms")
    out: list[int] = []
    second = Pipeline("second", queue("q") | map(flaky) | parking | memory.into(out))
    second.observed(Traces(collector.address, sample=float(not known))).run(until_empty=True)
    assert out == [1]

    before, after = collector.named("process q")
    calls = collector.named("map(flaky)")
    assert len({span.trace for span in (before, after, *calls)}) == 1
    assert under(before, *calls[:2]) and under(after, calls[2])
    assert [span.failed for span in calls] == [True, True, False]
    assert [before.about["warren.outcome"], after.about["warren.outcome"]] == ["parked", "delivered"]
    assert before.about["warren.retries"] == 1 and after.about["warren.attempt"] == 3
    if known:
        (sent,) = collector.named("send q")
        assert under(sent, before, after)
    else:
        assert under(before, after)


def test_what_is_not_to_be_followed_passes_untouched(queue: Callable[[str], Any], collector: Collector) -> None:
    def headers(_: Any) -> dict[str, str]:
        return {TRACE: UNTRACED, "tracestate": "shop=7"}

    source, between = memory.items([1, 2]), queue("between")
    between.headers = headers
    Pipeline("first", source | between).run()
    traces = Traces(collector.address, sample=1)
    Pipeline("second", queue("between") | map(abs) | queue("end"), observers=[traces]).run(until_empty=True)
    seen: list[Any] = []

    class Reads(Traces):
        def read(self, source: str, delivery: Any) -> None:
            seen.extend(delivery.batch.metadata(i).headers for i in range(len(delivery.batch)))

    Pipeline("third", queue("end") | memory.into([]), observers=[Reads(sample=0)]).run(until_empty=True)
    assert not collector.spans
    assert [dict(each) for each in seen] == [headers(1), headers(2)]


def trial(pipeline: Pipeline, collector: Collector, values: Any, **options: Any) -> list[Span]:
    pipeline.observed(Traces(collector.address, **{"sample": 1, **options})).test(values)
    return collector.spans


def test_windows_link_to_their_messages_and_parts_have_their_message_as_parent(collector: Collector) -> None:
    flow = memory.queue("q") | window(tumbling("10s")) | aggregate(n=count()) | memory.queue("r")
    spans = trial(Pipeline("p", flow), collector, range(4))
    taken = [span for span in spans if messaging.MESSAGING_MESSAGE_ID in span.about and span.kind == "CONSUMER"]
    (together,) = [span for span in spans if messaging.MESSAGING_BATCH_MESSAGE_COUNT in span.about]
    assert len(taken) == 4 and linked(together) == {span.id for span in taken}
    assert under(together, *[span for span in spans if span.name == "send r"])


def test_parts_of_a_message_are_under_it_and_so_is_a_batch_of_one_message(collector: Collector) -> None:
    flow = memory.queue("q") | flat_map(lambda n: [n, n]) | map(str) | batch(2) | memory.queue("r")
    spans = trial(Pipeline("p", flow), collector, range(2))
    assert [span.name for span in spans].count("send r") == 2
    taken = {span.trace: span for span in spans if span.name == "process q"}
    assert len(taken) == 2
    assert all(under(taken[span.trace], span) for span in spans if span.name in ("send r", "map(str)"))


def test_the_share_of_messages_that_begin_a_trace_is_as_told(collector: Collector) -> None:
    size = 20_000
    spans = trial(Pipeline("p", memory.queue("q") | filter(bool) | memory.into([])), collector, range(1, size), sample=0.01)
    found = [span for span in spans if span.name == "process q"]
    assert 100 < len(found) < 320
    numbers = sorted(int(span.about[messaging.MESSAGING_MESSAGE_ID]) for span in found)
    assert numbers[0] < size / 10 and numbers[-1] > size * 9 / 10


def test_a_lookup_a_thread_and_a_process_have_the_trace_at_hand(collector: Collector) -> None:
    seen: dict[str, str] = {}

    async def look(keys: list[int]) -> dict[int, int]:
        seen["look"] = current()
        return {key: key for key in keys}

    def wait(number: int) -> int:
        seen["wait"] = current()
        return number

    steps = enrich(look, key=lambda n: n, into=lambda value, found: value + found) | map(wait, executor="thread", workers=1)
    Pipeline("p", memory.items([1]) | steps | memory.into([]), observers=[Traces(collector.address, sample=1)]).run()
    for name, id in seen.items():
        (span,) = [span for span in collector.spans if span.id == id]
        assert name in span.name


def reciprocal(number: int) -> float:
    return 1 / number


def test_a_call_in_a_process_has_a_span_which_says_whether_it_failed(collector: Collector) -> None:
    steps = map(reciprocal, executor="process", workers=1)
    spans = trial(Pipeline("p", memory.queue("q") | steps | memory.into([])), collector, [0, 1, 2], sample=1)
    calls = {span.parent: span for span in spans if span.name == "map(reciprocal)"}
    taken = [span for span in spans if span.name == "process q"]
    assert len(taken) == len(calls) == 3
    assert all(under(each, calls[each.id]) for each in taken)
    assert sorted(str(call.about.get(ERROR_TYPE)) for call in calls.values()) == ["None", "None", "ZeroDivisionError"]


def test_a_sink_that_refuses_some_says_so(collector: Collector) -> None:
    pipeline = Pipeline("p", memory.items([1, object()]) | memory.queue("r"))
    pipeline.observed(Traces(collector.address, sample=1)).run()
    failed = {span.name: span.about.get(ERROR_TYPE) for span in collector.spans if span.failed}
    assert failed == {"send r": "EncodeError", "process memory.items": "EncodeError"}


def test_the_state_of_a_trace_goes_along_and_a_context_that_is_none_begins_one(collector: Collector) -> None:
    sent: list[Any] = []

    class Sees(Traces):
        def sending(self, sink: str, messages: Outgoing) -> Any:
            found = super().sending(sink, messages)
            assert found is not None
            sent.extend(found.headers.values())
            return found

    read = [{TRACE: TRACED, "tracestate": "shop=7"}, {TRACE: f"ff-{'0' * 32}-{'0' * 16}-01"}]
    source = memory.queue("q")
    queued = memory.queue("q", headers=lambda value: read[value])
    Pipeline("fill", memory.items([0, 1]) | queued).run()
    pipeline = Pipeline("p", source | memory.into([]), observers=[Sees(collector.address, sample=0)])
    pipeline.run(until_empty=True)
    first, second = sent
    assert first["tracestate"] == "shop=7" and first[TRACE].split("-")[1] == "a1" * 16
    assert second[TRACE].split("-")[1] != "0" * 32


def test_headers_are_taken_apart_only_where_they_say_that_a_message_is_followed() -> None:
    def head(headers: dict[str, Any]) -> bytes:
        return frames.properties("text/plain", frames.table(headers) if headers else b"", True, b"7", 1)

    def heads(*headers: dict[str, Any]) -> tuple[Batch, Heads]:
        found = Heads([head(each) for each in headers])
        return rabbit_batch([b""] * len(headers), list(range(len(headers))), found), found

    plain, read = heads({}, {})
    assert not plain.sampled() and not read._read
    mixed, read = heads({}, {TRACE: TRACED}, {TRACE: UNTRACED}, {"a": TRACED}, {"b": 1, TRACE: TRACED, "c": "d"})
    assert mixed.sampled() == [1, 4] and not read._read
    assert mixed.metadata(1).trace == TRACED


def test_the_places_in_a_batch_without_headers_or_with_wrong_ones() -> None:
    assert not Batch(bodies=["a"], handles=[1]).sampled()
    wrong = ["", "01", TRACED.upper(), f"{TRACED}0", TRACED[:-1], f"{TRACED}-later"]
    headers = [{TRACE: each} for each in (*wrong, TRACED)]
    assert Batch(bodies=[""] * 7, handles=range(7), headers=headers).sampled() == [5, 6]


def test_traces_of_a_running_pipeline_are_not_those_of_another() -> None:
    traces = Traces()

    async def main() -> None:
        running = Pipeline("first", memory.queue("q") | memory.into([]), observers=[traces]).start()
        await asyncio.sleep(0)
        assert traces._run is not None
        with pytest.raises(GraphError, match="of the running pipeline 'first', so they cannot be of 'second'"):
            await Pipeline("second", memory.items([1]) | memory.into([]), observers=[traces]).start()
        assert traces._run is not None  # the refusal has not closed it
        running.stop()
        await running
        await Pipeline("second", memory.items([1]) | memory.into([]), observers=[traces]).start()

    asyncio.run(main())


@pytest.mark.parametrize("endpoint", ["", "localhost:4318", "ftp://h", "http://", "http://h:99999", "http://u:s3cret@", 7])
def test_an_endpoint_that_is_none_is_refused_without_showing_it(endpoint: Any) -> None:
    with pytest.raises(AddressError, match="http://localhost:4318") as refused:
        Traces(endpoint)
    assert "s3cret" not in str(refused.value)


def test_settings_that_cannot_work_are_refused() -> None:
    for sample in (-0.1, 1.1, float("nan"), True, "all"):
        with pytest.raises(GraphError, match="from 0 to 1"):
            Traces(sample=sample)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="give one of the two"):
        Traces("http://localhost:4318", provider=trace.get_tracer_provider())


def test_nothing_is_remembered_of_what_has_ended(collector: Collector) -> None:
    traces = Traces(collector.address, sample=1)
    flow = memory.items(range(100)) | filter(lambda n: n % 2) | flat_map(lambda n: [n] * 3) | batch(10) | memory.into([])
    Pipeline("p", flow, observers=[traces]).run()
    assert not traces._followed and not traces._by_delivery and not traces._batches


def test_of_messages_that_went_back_no_more_than_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warren.analytics.traces._REMEMBERED", 5)
    with collecting() as collector:
        traces = Traces(collector.address, sample=1)
        parking = retry(constant("1h", attempts=2), park="1m")
        flow = memory.queue("q") | map(lambda n: n / 0) | parking | memory.into([])
        Pipeline("p", flow, observers=[traces]).test(range(20))
        assert len(traces._went_back) <= 5


def test_a_collector_that_is_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warren.analytics.otlp._FLUSH", 0.2)
    out: list[int] = []
    traces = Traces("http://127.0.0.1:9", sample=1)
    Pipeline("p", memory.items(range(10)) | memory.into(out), observers=[traces]).run()
    assert out == list(range(10))
    for thread in threading.enumerate():
        if thread.name == "warren-traces":
            thread.join(10)
            assert not thread.is_alive()


def test_the_command_line_sends_traces(tmp_path: Path, collector: Collector) -> None:
    (tmp_path / "flows.py").write_text(
        "from warren import Pipeline\nfrom warren.connectors import memory\n"
        "shout = Pipeline('shout', memory.items(['a', 'b']) | memory.into([]))\n"
    )
    given = [sys.executable, "-c", "from warren.apps.cli import main; main()", "run", "flows.py:shout"]
    done = subprocess.run(
        [*given, "--traces", collector.address, "--sample", "1"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env=SHELL,
    )
    assert done.returncode == 0, done.stderr
    assert len(collector.named("process memory.items")) == 2
    done = subprocess.run(
        [*given, "--sample", "1"], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=SHELL
    )
    assert done.returncode == 2 and "--traces" in done.stderr


def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    trial(Pipeline("p", memory.queue("q") | memory.into([])), collector, [1])
    assert {span.service for span in collector.spans} == {"shop"}


def test_tokens_of_every_shape_are_found() -> None:
    traces = Traces()
    ledger = Ledger(lambda *_: None)
    delivery = ledger.accept("q", Batch(bodies=list("abcdef"), handles=list(range(6))), 0.0)
    traces._followed = {2: None, 4: None}  # type: ignore[dict-item]
    tokens = delivery.tokens
    assert traces._found(tokens) == {2: [2], 4: [4]}
    assert traces._found(range(1, 3)) == {1: [2]}
    assert traces._found(range(2, 3)) == {0: [2]}
    assert traces._found([4, 5]) == {0: [4]}
    assert traces._found([]) == {}
    merged = ledger.merge([tokens[:3], [4], [5]])
    assert traces._found([0, merged]) == {1: [2, 4]}
    assert traces._found([ledger.merge([[ledger.merge([[2, 3]])], [2]])]) == {0: [2]}
    assert traces._found(ledger.split(2, 2)) == {0: [2], 1: [2]}
    parts, _ = ledger.split_all(tokens, [1, 0, 3, 1, 2, 1])
    assert traces._found(parts) == {1: [2], 2: [2], 3: [2], 5: [4], 6: [4]}


def test_headers_of_some_are_put_over_those_they_have() -> None:
    known = [Metadata(id="1", headers={"a": "1"}), Metadata(id="2")]
    out = Outgoing(["x", "y"], known.__getitem__).labelled({0: {"a": "2", "b": "3"}})
    assert out.metadata(0).headers == {"a": "2", "b": "3"} and out.metadata(1) is known[1]
    assert out.columns().headers == [{"a": "2", "b": "3"}, {}]
