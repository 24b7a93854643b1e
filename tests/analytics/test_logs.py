from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from warren import Pipeline, constant
from warren.analytics import Logs, Traces
from warren.analytics.logs import _hidden, add_message
from warren.connectors import memory
from warren.core.errors import GraphError
from warren.core.handling import beginnings
from warren.core.hooks import BreakerObserver, CallObserver, FlowObserver, RunObserver
from warren.operators import batch, circuit_breaker, map, retry

ROOT = Path(__file__).resolve().parents[2]
TRACED = f"00-{'a1' * 16}-{'b2' * 8}-00"
log = logging.getLogger("shop")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    assert (root.handlers, root.level) == (handlers, level) and not structlog.is_configured() and not beginnings


def lines(pipeline: Pipeline, **options: Any) -> list[dict[str, Any]]:
    """What is logged while a pipeline runs."""
    stream = io.StringIO()
    pipeline.observed(Logs(stream=stream, **options)).run(until_empty=True)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def of(found: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in found if line["event"] == event]


def note(number: int) -> int:
    log.info("seen")
    structlog.get_logger("shop").info("seen too", number=number)
    return number


def note_in_process(number: int) -> int:
    log.warning("seen %d", number)
    return number


def test_it_is_all_kinds_of_observers() -> None:
    for kind in (FlowObserver, RunObserver, CallObserver, BreakerObserver):
        assert isinstance(Logs(), kind)


def test_lines_say_which_message_was_handled_and_when_a_pipeline_runs() -> None:
    found = lines(Pipeline("p", memory.items([7, 8]) | map(note) | memory.into([])))
    assert [line["event"] for line in found] == [
        *("the pipeline runs", "seen", "seen too", "seen", "seen too", "the pipeline has ended")
    ]
    first = found[1]
    assert first.pop("timestamp").endswith("Z")
    about = {"pipeline": "p", "stage": "1:map(note)", "correlation_id": "0"}
    assert first == {"event": "seen", "level": "info", "logger": "shop", **about}
    assert found[4]["number"] == 8 and found[4]["correlation_id"] == "1"
    assert found[-1]["delivered"] == 2 and "correlation_id" not in found[-1]


def test_in_async_functions_and_threads_too() -> None:
    async def ask(number: int) -> int:
        await asyncio.sleep(0)
        return note(number)

    for step in (map(ask, concurrency=3), map(note, executor="thread", workers=2)):
        found = of(lines(Pipeline("p", memory.items(range(9)) | step | memory.into([]))), "seen too")
        assert {line["number"]: line["correlation_id"] for line in found} == {i: str(i) for i in range(9)}


def test_in_processes_too(tmp_path: Path) -> None:
    program = """
from tests.analytics.test_logs import note_in_process
from warren import Pipeline
from warren.analytics import Logs
from warren.connectors import memory
from warren.operators import map

if __name__ == "__main__":
    steps = map(note_in_process, executor="process", workers=1)
    Pipeline("p", memory.items([7, 8]) | steps | memory.into([]), observers=[Logs()]).run()
"""
    done = run_python(program, tmp_path)
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["correlation_id"], line["stage"]) for line in found if line["level"] == "warning"] == [
        ("seen 7", "0", "1:map(note_in_process)"),
        ("seen 8", "1", "1:map(note_in_process)"),
    ]


def run_python(program: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = folder / "program.py"
    path.write_text(program)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    command = [sys.executable, str(path), *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=True)


def test_traces_of_a_message_and_of_its_call_are_told() -> None:
    queue = memory.queue("q", headers=lambda number: {"traceparent": TRACED, "correlation-id": f"order {number}"})
    Pipeline("fill", memory.items([1]) | queue).run()
    pipeline = Pipeline("p", memory.queue("q") | map(note) | memory.into([]))
    (line,) = of(lines(pipeline), "seen")
    assert (line["correlation_id"], line["trace_id"], line["span_id"]) == ("order 1", "a1" * 16, "b2" * 8)
    traced = Pipeline("p", memory.items([1]) | map(note) | memory.into([]))
    (line,) = of(lines(traced.observed(Traces(provider=TracerProvider(), sample=1))), "seen")
    assert len(line["trace_id"]) == 32 and len(line["span_id"]) == 16


def test_a_batch_is_told_by_its_first_message() -> None:
    (line,) = of(lines(Pipeline("p", memory.items(range(3)) | batch(3) | map(lambda _: note(1)) | memory.into([]))), "seen")
    assert line["correlation_id"] == "0+2"


def fails(number: int) -> int:
    try:
        raise ValueError(f"card 4111-{number:04} of Ms Miller")
    except ValueError:
        log.exception("it failed")
        raise


def test_dead_letters_are_told_and_no_payload_is_in_a_line() -> None:
    found = lines(Pipeline("p", memory.items([7]) | map(fails) | memory.into([])))
    (own,), (letter,) = of(found, "it failed"), of(found, "a message became a dead letter")
    assert own["error"] == letter["error"] == "ValueError" and own["level"] == "error"
    assert own["at"][-1].startswith("test_logs.py:") and own["at"][-1].endswith(" fails")
    assert letter["stage"] == "1:map(fails)" and letter["queue"] == "p.dead" and letter["correlation_id"] == "0"
    assert "4111" not in json.dumps(found) and "Miller" not in json.dumps(found)
    shown = lines(Pipeline("p", memory.items([7]) | map(fails) | memory.into([])), payloads=True)
    assert "4111-0007" in of(shown, "it failed")[0]["exception"]


def test_an_error_outside_of_handlers_says_why_in_short() -> None:
    def raised(text: str) -> dict[str, Any]:
        stream = io.StringIO()

        class Says(Logs):
            def open(self, pipeline: str) -> None:
                try:
                    raise OSError(text)
                except OSError:
                    log.exception("the broker is away")

        Pipeline("p", memory.items([]) | memory.into([]), observers=[Says(stream=stream)]).run()
        return dict(json.loads(stream.getvalue().splitlines()[0]))

    assert raised("refused by amqp://shop:s3cret@host")["reason"] == "refused by amqp://***@host"
    assert len(raised("x" * 10_000)["reason"]) < 250


def test_many_dead_letters_at_once_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warren.analytics.logs.time.monotonic", lambda: 5.0)
    found = lines(Pipeline("p", memory.items(range(100)) | map(lambda n: n / 0) | memory.into([])))
    assert len(of(found, "a message became a dead letter")) == 10
    assert of(found, "90 more message(s) became dead letters")


def test_breakers_are_told() -> None:
    steps = circuit_breaker(map(lambda n: n / 0), failures=2, cooldown="1h")
    found = lines(Pipeline("p", memory.items(range(5)) | steps | memory.into([])))
    (line,) = of(found, "the circuit breaker is open")
    assert line["level"] == "warning" and line["stage"]


@pytest.mark.parametrize(
    "address",
    [
        "amqp://shop:s3cret@host:5672/v",
        "amqp://shop:s3cret@s3cret:s3cret@host",
        "amqp://shop:s3cret/s3cret?s3cret#s3cret@host",
        "amqp://shop:s3cret s3cret, s3cret@host",
        "amqp://s3cret@host",
        "amqp://:s3cret@host",
        "https://s3cret:@host/hook",
        "postgresql+psycopg://shop:s3cret@host",
        "'amqps://shop:\"s3cret'@host'",
        "amqp://shop:%40s3cret%2F@host",
        "amqp://s3crét:s3cret🔑s3cret@host",
        "password=s3cret",
        "password: 's3cret s3cret'",
        '{"api_key": "s3cret"}',
        "Authorization: Bearer s3cret",
        "?token=s3cret&x=1",
    ],
)
def test_no_password_is_in_a_line_however_it_is_written(address: str) -> None:
    def says(number: int) -> int:
        log.info("cannot reach %s", address)
        log.info(
            address, extra={"where": address, "deep": [{"address": address}], "password": "s3cret", "Api-Key": "s3cret"}
        )
        structlog.get_logger().error("away", reason=OSError(address), secret_key="s3cret")
        return number

    for form in ("json", "console"):
        stream = io.StringIO()
        observed = Pipeline("p", memory.items([1]) | map(says) | memory.into([]), observers=[Logs(form, stream=stream)])
        observed.run()
        assert "cannot reach" in stream.getvalue() and "s3cr" not in stream.getvalue()


def test_addresses_without_a_password_stay() -> None:
    for text in ("amqp://host:5672/v", "see http://localhost:4318, or mail a@b.org", "http://host:80", "sqlite:///a/b.db"):
        assert _hidden(text) == text


@given(st.text(alphabet=st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1))
def test_a_password_of_any_signs_is_left_out(password: str) -> None:
    text = _hidden(f"amqp://shop:k{password}@host is away")
    assert text.startswith("amqp://***@host") or text.endswith("@host is away")
    assert f"k{password}" not in text


def test_a_line_cannot_be_made_to_look_like_two() -> None:
    def says(text: str) -> str:
        log.info("got %s", text)
        return text

    stream = io.StringIO()
    pipeline = Pipeline("p", memory.items(["a\n2026-01-01 [info] paid\x1b[2J\r\u2028b"]) | map(says) | memory.into([]))
    pipeline.observed(Logs("console", stream=stream)).run()
    (line,) = [line for line in stream.getvalue().splitlines() if "got" in line]
    assert r"\n2026" in line and "\x1b" not in line and "\u2028" not in line


def test_long_values_are_cut_unless_payloads_are_shown() -> None:
    def says(number: int) -> int:
        log.info("%s", "x" * 5000)
        return number

    pipeline = Pipeline("p", memory.items([1]) | map(says) | memory.into([]))
    assert max(len(line["event"]) for line in lines(pipeline)) < 1100
    assert max(len(line["event"]) for line in lines(pipeline, payloads=True)) == 5000


def test_values_that_cannot_be_shown_do_not_break_a_line() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    def says(number: int) -> int:
        log.info("odd", extra={"it": Broken(), "bytes": b"\xff", "nan": float("nan"), "deep": {1: {"a": {2}}}})
        return number

    (line,) = of(lines(Pipeline("p", memory.items([1]) | map(says) | memory.into([]))), "odd")
    assert line["it"] == "<Broken>" and line["deep"] == {"1": {"a": [2]}}


def test_levels_are_kept_and_retries_are_not_told_twice() -> None:
    tried: list[int] = []

    def flaky(number: int) -> int:
        log.debug("trying")
        tried.append(number)
        if len(tried) < 3:
            raise ConnectionError
        return number

    pipeline = Pipeline("p", memory.items([1]) | map(flaky) | retry(constant("1ms", attempts=5)) | memory.into([]))
    assert not of(lines(pipeline), "trying")
    tried.clear()
    found = of(lines(pipeline, level="debug"), "trying")
    assert [line["correlation_id"] for line in found] == ["0", "0", "0"]


def test_two_pipelines_in_one_program_write_each_line_once_and_leave_nothing() -> None:
    stream = io.StringIO()
    logs = Logs(stream=stream)

    async def main() -> None:
        pipelines = [Pipeline(name, memory.items([1]) | map(note) | memory.into([]), observers=[logs]) for name in "ab"]
        await asyncio.gather(*(pipeline.start() for pipeline in pipelines))

    asyncio.run(main())
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert sorted(line["pipeline"] for line in of(found, "seen")) == ["a", "b"]


def test_a_program_that_has_configured_structlog_keeps_it_and_may_add_messages() -> None:
    seen: list[Any] = []

    def keep(logger: Any, method: str, event: Any) -> Any:
        seen.append(dict(event))
        raise structlog.DropEvent

    structlog.configure([add_message, keep])
    try:
        lines(Pipeline("p", memory.items([1]) | map(note) | memory.into([])))
        assert structlog.get_config()["processors"] == [add_message, keep]
    finally:
        structlog.reset_defaults()
    assert seen == [{"event": "seen too", "number": 1, "pipeline": "p", "stage": "1:map(note)", "correlation_id": "0"}]


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(GraphError, match="'json' or 'console'"):
        Logs("xml")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="DEBUG"):
        Logs(level="loud")


def test_the_command_line_writes_lines(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(
        "import logging\nfrom warren import Pipeline\nfrom warren.connectors import memory\n"
        "from warren.operators import map\n"
        "def say(x):\n    logging.getLogger('shop').info('hello')\n    return x\n"
        "shout = Pipeline('shout', memory.items(['a']) | map(say) | memory.into([]))\n"
    )
    done = run_python("from warren.apps.cli import main; main()", tmp_path, "run", "flows.py:shout", "--log", "json")
    assert '"event": "hello"' in done.stderr and '"correlation_id": "0"' in done.stderr
