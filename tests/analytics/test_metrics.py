from __future__ import annotations

import asyncio
import functools
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from warren import Pipeline, constant
from warren.analytics import Metrics, Recorder
from warren.analytics.metrics import FAMILIES
from warren.analytics.probes import place
from warren.connectors import memory
from warren.core.errors import AddressError, GraphError
from warren.core.health import Health, QueueHealth
from warren.core.hooks import BreakerObserver, FlowObserver, RunObserver, Work, WorkObserver
from warren.core.message import Batch
from warren.core.receipt import DELIVERED, Ledger
from warren.operators import aggregate, circuit_breaker, count, filter, map, retry

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "docs/operations"
DOCUMENT = (ROOT / "docs/metrics.md").read_text()
RULES = [rule for group in yaml.safe_load((OPERATIONS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads((OPERATIONS / "grafana-dashboard.json").read_text())["panels"]
EXPRESSIONS = [
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in RULES),
    *(
        pytest.param(target["expr"].replace("$__rate_interval", "5m"), id=f"{panel['title']} {target['refId']}")
        for panel in PANELS
        for target in panel["targets"]
    ),
]


def values(metrics: Metrics, name: str, **labels: str) -> list[float]:
    """The values of all samples of one name, in order, that have these labels."""
    found = [sample for family in parsed(generate_latest(metrics).decode()) for sample in family.samples]
    return [each.value for each in found if each.name == name and labels.items() <= each.labels.items()]


def value(metrics: Metrics, name: str, **labels: str) -> float:
    (found,) = values(metrics, name, **labels)
    return found


def get(address: str | None, path: str, **headers: str) -> tuple[int, str, str]:
    assert address is not None
    try:
        with urlopen(Request(address + path, headers=headers), timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**given: Any) -> None:
        asyncio.run(test(**given))

    return run


async def until(condition: Any, seconds: float = 10) -> None:
    loop = asyncio.get_running_loop()
    deadline, tick = loop.time() + seconds, asyncio.Event()
    while not condition():
        assert loop.time() < deadline, "it did not happen in time"
        loop.call_later(0.005, tick.set)
        await tick.wait()
        tick.clear()


def odd(number: int) -> int:
    if number == 4:
        raise ValueError(number)
    return number


def test_it_is_all_kinds_of_observers() -> None:
    for kind in (FlowObserver, WorkObserver, BreakerObserver, RunObserver):
        assert isinstance(Metrics(), kind)


def test_messages_are_counted_by_outcome_and_stage() -> None:
    metrics = Metrics()
    pipeline = Pipeline("p", memory.items(range(10)) | filter(lambda x: x > 1) | map(odd) | memory.into([]))
    pipeline.observed(metrics).run()
    assert value(metrics, "warren_messages_received_total", pipeline="p") == 10
    outcomes = {"filtered": 2, "delivered": 7, "dead_lettered": 1, "parked": 0, "released": 0}
    for outcome, number in outcomes.items():
        assert value(metrics, "warren_messages_settled_total", outcome=outcome) == number
        assert sum(values(metrics, "warren_message_duration_seconds_count", outcome=outcome)) == number
    assert value(metrics, "warren_dead_letters_total", reason="ValueError") == 1
    assert value(metrics, "warren_stage_failed_messages_total", stage="2:map(odd)") == 1
    assert value(metrics, "warren_stage_given_messages_total", stage="2:map(odd)") == 7
    assert value(metrics, "warren_stage_batch_messages_sum", stage="2:map(odd)") == 8
    assert value(metrics, "warren_stage_batch_messages_bucket", stage="2:map(odd)", le="10.0") == 1
    assert value(metrics, "warren_stage_batch_messages_bucket", stage="2:map(odd)", le="5.0") == 0
    assert value(metrics, "warren_stage_duration_seconds_count", stage="2:map(odd)") == 1


def test_retries_in_the_process_and_parked_ones_are_counted() -> None:
    tried: list[int] = []

    def flaky(number: int) -> int:
        tried.append(number)
        if number == 1 and tried.count(1) < 4:
            raise ConnectionError
        return number

    metrics = Metrics()
    again = retry(constant("1ms", attempts=5), on=ConnectionError)
    Pipeline("p", memory.items(range(3)) | map(flaky) | again | memory.into([]), observers=[metrics]).run()
    assert value(metrics, "warren_retries_total") == 3
    tried.clear()
    parking = retry(constant("1h", attempts=5), on=ConnectionError, park="1m")
    trial = Pipeline("p", memory.queue("q") | map(flaky) | parking | memory.into([]), observers=[metrics]).test(range(3))
    assert len(trial.values) == 3
    assert value(metrics, "warren_retries_total") == value(metrics, "warren_messages_settled_total", outcome="parked") == 3


def test_latency_is_from_reading_and_age_from_when_a_message_was_enqueued() -> None:
    metrics = Metrics()
    batch = Batch(bodies=["a", "b"], handles=[1, 2], enqueued=[40.0, 99.0])
    ledger = Ledger(lambda delivery, tokens, outcome: metrics.settled(delivery, tokens, outcome, 102.0))
    ledger.settle(ledger.accept("orders", batch, received=100.0).tokens, DELIVERED)
    assert value(metrics, "warren_message_duration_seconds_sum", outcome="delivered") == 4
    assert value(metrics, "warren_message_duration_seconds_bucket", outcome="delivered", le="2.5") == 2
    assert value(metrics, "warren_message_age_seconds_sum") == 124


def test_a_clock_that_is_turned_back_makes_no_negative_times() -> None:
    metrics = Metrics()
    ledger = Ledger(lambda delivery, tokens, outcome: metrics.settled(delivery, tokens, outcome, 1.0))
    ledger.settle(ledger.accept("orders", Batch(bodies=["a"], handles=[1]), received=100.0).tokens, DELIVERED)
    metrics.handled("1:map", 1, 1, 0, 100.0, 1.0, 0, None)
    assert value(metrics, "warren_message_duration_seconds_sum", outcome="delivered") == 0
    assert value(metrics, "warren_stage_duration_seconds_sum", stage="1:map") == 0


def test_a_thousand_values_of_each_label_stay_bounded() -> None:
    metrics = Metrics(values=10)
    ledger = Ledger(lambda delivery, tokens, outcome: metrics.settled(delivery, tokens, outcome, 1.0))
    for number in range(1000):
        metrics.handled(f"{number + 1}:map", 1, 1, 0, 0.0, 1.0, 0, None)
        metrics.worked(f"{number + 1}:map", Work(1, 0, 1, 0.5, 0.0), 0.0, 1.0)
        metrics.switched(f"{number + 1}:map", "open")
        failure = type("Failed", (), {"error": type(f"Error{number}", (Exception,), {})()})()
        outcome = DELIVERED._replace(kind=type(DELIVERED.kind).DEAD_LETTERED, failure=failure)
        ledger.settle(ledger.accept("orders", Batch(bodies=["a"], handles=[1]), received=0.0).tokens, outcome)
    assert len(values(metrics, "warren_dead_letters_total")) == 11
    assert len(values(metrics, "warren_stage_given_messages_total")) == 11
    assert len(values(metrics, "warren_workers")) == 11
    assert value(metrics, "warren_dead_letters_total", reason="other") == 990
    assert value(metrics, "warren_stage_given_messages_total", stage="other") == 990
    assert sum(values(metrics, "warren_workers_busy_seconds_total")) == 500
    assert len(generate_latest(metrics).splitlines()) < 1000


@on_a_loop
async def test_a_running_pipeline_tells_of_now() -> None:
    open = asyncio.Event()

    async def slow(number: int) -> int:
        await open.wait()
        return number

    metrics = Metrics()
    source = memory.items(range(10))
    running = Pipeline("p", source | map(slow, concurrency=2) | memory.into([]), credit=4, observers=[metrics]).start()
    await until(lambda: running.in_flight == 4)
    told = await asyncio.to_thread(lambda: generate_latest(metrics).decode())
    lines = {line.split(" ")[0]: float(line.split(" ")[1]) for line in told.splitlines() if line[0] != "#"}
    assert lines['warren_messages_in_flight{pipeline="p"}'] == lines['warren_credit_messages{pipeline="p"}'] == 4
    assert lines['warren_messages_unacknowledged{pipeline="p"}'] == 4
    assert lines['warren_live{pipeline="p"}'] == 1
    open.set()
    await running
    assert not values(metrics, "warren_messages_in_flight") and value(metrics, "warren_live") == 0
    assert value(metrics, "warren_workers", stage="1:map(slow)") == 2
    assert value(metrics, "warren_workers_served_messages_total", stage="1:map(slow)") == 10


def test_the_state_of_a_circuit_breaker_is_told() -> None:
    def fails(number: int) -> int:
        raise ConnectionError

    metrics = Metrics()
    guarded = circuit_breaker(map(fails), failures=2, cooldown="1h")
    Pipeline("p", memory.items(range(5)) | guarded | memory.into([]), observers=[metrics]).run()
    (name,) = {label for label in re.findall(r'breaker="(.*?)"', generate_latest(metrics).decode()) if label != "connection"}
    states = {
        state: value(metrics, "warren_circuit_breaker_state", breaker=name, state=state) for state in ("open", "closed")
    }
    assert states == {"open": 1, "closed": 0}


class Told:
    """A running pipeline with ends that tell what is asked for here."""

    def __init__(self, health: Health, observers: Sequence[Any] = (), checkpointed: float | None = None) -> None:
        self.name = "p"
        self.credit, self.unacknowledged = 10, 3
        self.clock = lambda: 100.0
        self.ledger = Ledger(lambda delivery, tokens, outcome: None)
        self.observers = observers
        self.checkpointed = checkpointed
        self.told = health

    async def health(self, patience: float) -> Health:
        return self.told


@on_a_loop
async def test_what_ends_checkpoints_and_recorders_tell_becomes_metrics(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.open("p")
    recorder.handled("1:map", 1, 1, 0, 0.0, 1.0, 0, None)
    queues = (QueueHealth(name="q", depth=7, unacked=2, consumers=1, drain=30.0), QueueHealth(name="silent"))
    health = Health(name="p", ready=False, queues=queues, reconnects=4, unconfirmed=5, breaker="half-open")
    metrics = Metrics()
    metrics.started(Told(health, [recorder], checkpointed=90.0))
    await asyncio.to_thread(metrics.health, 10.0)

    def found(name: str, **labels: str) -> float:
        return value(metrics, name, **labels)

    def look() -> None:
        assert found("warren_queue_depth_messages", queue="q") == 7
        assert found("warren_queue_unacknowledged_messages") == 2
        assert found("warren_queue_consumers") == 1
        assert found("warren_queue_drain_seconds") == 30
        assert found("warren_reconnects_total") == 4
        assert found("warren_unconfirmed_messages") == 5
        assert found("warren_circuit_breaker_state", breaker="connection", state="half-open") == 1
        assert (found("warren_live"), found("warren_ready")) == (1, 0)
        assert found("warren_checkpoint_age_seconds") == 10
        assert found("warren_recorder_lost_rows_total") == 0

    await asyncio.to_thread(look)
    metrics.close()
    recorder.close()
    assert recorder.behind == 0


@on_a_loop
async def test_a_thousand_queues_stay_bounded() -> None:
    queues = tuple(QueueHealth(name=f"q{number}", depth=1) for number in range(1000))
    metrics = Metrics(values=10)
    metrics.started(Told(Health(name="p", queues=queues)))
    await asyncio.to_thread(metrics.health, 10.0)
    assert len(await asyncio.to_thread(values, metrics, "warren_queue_depth_messages")) == 10
    metrics.close()


def test_of_several_connections_the_worst_breaker_is_told() -> None:
    parts = [Health(name="a"), Health(name="b", breaker="open"), Health(name="c", breaker="half-open")]
    assert Health.joined("p", parts).breaker == "open"
    assert Health.joined("p", [parts[0], parts[2]]).breaker == "half-open"
    assert Health.joined("p", []).breaker == "closed"


def test_a_checkpoint_makes_its_age_small(tmp_path: Path) -> None:
    ages: list[float] = []

    class Looking(Metrics):
        def close(self) -> None:
            if self._run is not None and self._run.checkpointed is not None:
                ages.append(self._run.clock() - self._run.checkpointed)
            super().close()

    counts = memory.items(range(10)) | aggregate(by=lambda x: x % 2, number=count()) | memory.into([])
    Pipeline("p", counts, state=tmp_path / "p.state", observers=[Looking()]).run()
    assert len(ages) == 1 and 0 <= ages[0] < 10


@on_a_loop
async def test_scrapes_and_probes_are_answered_while_it_runs() -> None:
    metrics = Metrics("127.0.0.1:0")
    running = Pipeline("p", memory.queue("q") | memory.into([]), observers=[metrics]).start()
    await until(lambda: metrics.address is not None)
    address = metrics.address
    await until(lambda: running.in_flight == 0)
    status, kind, body = await asyncio.to_thread(get, address, "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain") and "warren_messages_received_total" in body
    status, kind, body = await asyncio.to_thread(
        get, address, "/metrics", Accept="application/openmetrics-text;version=1.0.0"
    )
    assert kind.startswith("application/openmetrics-text") and list(openmetrics(body))
    status, kind, body = await asyncio.to_thread(get, address, "/live?verbose")
    assert (status, kind, json.loads(body)["live"]) == (200, "application/json", True)
    assert (await asyncio.to_thread(get, address, "/ready"))[0] == 200
    status, _, body = await asyncio.to_thread(get, address, "/else")
    assert (status, body) == (404, "there are /metrics, /live and /ready\n")
    running.stop()
    await running
    assert metrics.address is None
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(get, address, "/live")


@on_a_loop
async def test_what_is_not_live_or_ready_is_503_with_the_reason() -> None:
    metrics = Metrics(":0")
    metrics.started(Told(Health(name="p", live=False, ready=False, reasons=("not connected",))))
    for path in ("/live", "/ready"):
        status, _, body = await asyncio.to_thread(get, metrics.address, path)
        assert status == 503 and json.loads(body)["reasons"] == ["not connected"]
    metrics.close()


@on_a_loop
async def test_a_blocked_thread_is_live_for_a_while_and_then_is_not() -> None:
    metrics = Metrics(patience="1h")
    blocked = threading.Event()
    metrics.started(Told(Health(name="p")))
    found: list[Health] = []

    def ask() -> None:
        found.append(metrics.health(0.01))
        metrics._patience = 0.0
        found.append(metrics.health(0.01))
        blocked.set()

    thread = threading.Thread(target=ask)
    thread.start()
    assert blocked.wait(10)  # the loop is blocked
    thread.join()
    assert found[0].live and not found[0].ready and found[0].reasons == ("it has not answered yet",)
    assert not found[1].live and "a step blocks it" in found[1].reasons[0]
    metrics.close()


@on_a_loop
async def test_an_end_that_cannot_tell_is_a_reason() -> None:
    class Broken(Told):
        async def health(self, patience: float) -> Health:
            raise OSError("no such file")

    metrics = Metrics()
    metrics.started(Broken(Health(name="p")))
    health = await asyncio.to_thread(metrics.health, 10.0)
    assert health.live and not health.ready and health.reasons == ("its health cannot be told: OSError: no such file",)
    metrics.close()


@on_a_loop
async def test_a_port_in_use_is_one_sentence_and_nothing_is_read() -> None:
    first, items = Metrics(":0"), memory.items(range(3))
    running = Pipeline("p", memory.queue("q") | memory.into([]), observers=[first]).start()
    await until(lambda: first.address is not None)
    assert first.address is not None
    out: list[int] = []
    second = Metrics(first.address.removeprefix("http://"))
    with pytest.raises(AddressError, match=r"cannot be served at 127.0.0.1:\d+: .*in use.*give another HOST:PORT"):
        await Pipeline("p", items | memory.into(out), observers=[second]).start()
    assert out == []
    running.stop()
    await running


@on_a_loop
async def test_one_is_of_one_running_pipeline() -> None:
    metrics = Metrics()
    running = Pipeline("first", memory.queue("q") | memory.into([]), observers=[metrics]).start()
    await until(lambda: metrics._run is not None)
    with pytest.raises(GraphError, match="of the running pipeline 'first', so they cannot be of 'second'"):
        await Pipeline("second", memory.items([1]) | memory.into([]), observers=[metrics]).start()
    assert metrics._run is not None  # the refusal has not closed it
    running.stop()
    await running
    out: list[int] = []
    await Pipeline("second", memory.items([1]) | memory.into(out), observers=[metrics]).start()
    assert out == [1] and value(metrics, "warren_messages_received_total", pipeline="second") == 1


@pytest.mark.parametrize("address", ["", "9100", "host:", ":http", ":70000", ":-1", "::1", "::1:9100", ":²"])
def test_what_is_no_address_is_refused_when_built(address: str) -> None:
    with pytest.raises(AddressError, match="is no place to serve metrics; give HOST:PORT"):
        Metrics(address)


def test_addresses() -> None:
    assert place(":9100") == ("127.0.0.1", 9100) and place("[::1]:80") == ("::1", 80)
    assert str(place("[::]:80")) == "[::]:80" and place("localhost:1").host == "localhost"


def test_bad_settings_are_refused_when_built(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GraphError, match=r"Metrics\(values=0\)"):
        Metrics(values=0)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(GraphError, match=r"pip install 'warren\[metrics\]'"):
        Metrics()


def test_it_goes_into_a_registry() -> None:
    metrics, registry = Metrics(), CollectorRegistry(auto_describe=True)
    Pipeline("p", memory.items([1]) | memory.into([]), observers=[metrics]).run()
    registry.register(metrics)
    assert registry.get_sample_value("warren_messages_received_total", {"pipeline": "p"}) == 1


def test_a_scrape_is_quick_while_many_messages_go_through() -> None:
    metrics, scraped = Metrics(":0"), threading.Event()
    deadline = time.monotonic() + 30
    took: list[float] = []

    def numbers() -> Iterator[int]:
        """Until the scrapes are done: those who answer must get a turn beside a thread that never rests."""
        number = 0
        while not scraped.is_set() and (number % 1000 or time.monotonic() < deadline):
            yield number
            number += 1
            if number == 1000:
                thread.start()

    def scrape() -> None:
        try:
            for _ in range(20):
                start = time.perf_counter()
                assert get(metrics.address, "/metrics")[0] == 200
                took.append(time.perf_counter() - start)
        finally:
            scraped.set()

    thread = threading.Thread(target=scrape)
    flow = memory.items(numbers()) | map(lambda x: x + 1) | filter(lambda x: False) | memory.into([])
    Pipeline("p", flow, observers=[metrics]).run()
    thread.join()
    # The bound is that of a machine of its own, with room for others beside the test.
    assert len(took) == 20 and sorted(took)[10] < 0.25


def families(expression: str) -> set[str]:
    names = set(re.findall(r"\bwarren_\w+", expression))
    return {name if name in FAMILIES else re.sub("_(total|bucket|sum|count)$", "", name) for name in names}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_of_rules_and_dashboard_are_valid_and_name_what_exists(expression: str) -> None:
    promql_parser.parse(expression)
    assert families(expression) <= FAMILIES.keys()
    for name in re.findall(r"\bwarren_\w+", expression):
        kind = FAMILIES[next(iter(families(name)))].kind
        assert name.endswith("_total") == (kind == "counter")
        assert name.endswith(("_bucket", "_sum", "_count")) == (kind == "histogram")


def test_the_dashboard_and_the_document_show_every_metric() -> None:
    shown = set().union(*(families(target["expr"]) for panel in PANELS for target in panel["targets"]))
    assert shown == FAMILIES.keys()
    named = re.findall(r"^\| `(warren_\w+)`", DOCUMENT, re.MULTILINE)
    assert named == [name + "_total" * (family.kind == "counter") for name, family in FAMILIES.items()]


def test_names_follow_the_conventions() -> None:
    for name, family in FAMILIES.items():
        assert re.fullmatch(r"warren(_[a-z]+)+", name) and not name.endswith("_total")
        assert family.help.endswith(".") and family.kind in {"counter", "gauge", "histogram"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool, of Debian's prometheus, is not installed")
def test_promtool_finds_no_fault() -> None:
    metrics = Metrics()
    Pipeline("p", memory.items(range(9)) | map(odd) | memory.into([]), observers=[metrics]).run()
    subprocess.run(["promtool", "check", "rules", OPERATIONS / "alerts.yml"], check=True, capture_output=True)
    cases = Path(__file__).with_name("alerts_test.yml")
    subprocess.run(["promtool", "test", "rules", cases], check=True, capture_output=True)
    done = subprocess.run(["promtool", "check", "metrics"], input=generate_latest(metrics), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
