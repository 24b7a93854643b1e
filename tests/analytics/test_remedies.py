"""Remedies: what they do to a running pipeline, within which bounds, and what they record."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from warren import Pipeline
from warren.analytics import Deviation
from warren.analytics.remedies import Figures, Remedies, Remedy, change, open_circuit, page, pause, resume, unusual
from warren.connectors import memory
from warren.core.breaker import Switch
from warren.core.errors import DataError, GraphError
from warren.core.policies import Decision
from warren.operators import circuit_breaker, map, merge
from warren.pipelines.trial import Trial
from warren.pipelines.virtual import VirtualLoop

BAD = range(100, 200)


def fails(value: int) -> int:
    if value in BAD:
        raise ValueError(value)
    return value


def run(remedies: Remedies, step: Any = None, *, count: int = 600, rate: float = 10.0) -> Trial:
    """Ten messages a second for a minute; from the tenth second on all fail for ten seconds."""
    flow = memory.queue("in") | (step or map(fails)) | memory.queue("out")
    at = [number / rate for number in range(count)]
    return Pipeline("orders", flow, observers=[remedies]).test(range(count), at=at, start=1000.0)


def dead(figures: Figures) -> str | None:
    return f"{figures.dead_share:.0%} are dead letters" if figures.dead_share > 0.2 else None


def made(action: Any, mode: str = "act", hold: str = "20s", at_most: str = "3 an hour", **options: Any) -> Remedies:
    return Remedies([Remedy(dead, action, hold=hold, at_most=at_most)], mode=mode, **{"every": "1s", **options})


def test_a_source_is_paused_for_a_while_and_read_again() -> None:
    plain = run(made(pause(), mode="shadow"))
    remedies = made(pause())
    trial = run(remedies)
    # What came meanwhile waits at the source, and nothing is lost.
    assert sorted(trial.values) == sorted(plain.values) and trial.outcomes == plain.outcomes
    first, *_ = remedies.decisions
    assert (first.policy, first.static, first.choice, first.done) == ("pause()", "reading", "paused", "paused")
    assert first.mode == "act" and first.reason == "100% are dead letters"
    assert first.at == pytest.approx(1011, abs=1) and first.seconds == pytest.approx(20, abs=1.1)
    assert first.inputs["before"]["dead_lettered"] == pytest.approx(10, abs=2)
    # One chunk was asked for already.
    assert first.inputs["after"]["rate"] == 0


class Ends:
    """An observer that notes when messages reach their ends."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def open(self, pipeline: str) -> None:
        pass

    def settled(self, delivery: object, tokens: Sequence[int], outcome: object, at: float) -> None:
        self.at += [at] * len(tokens)

    def handled(self, *args: object) -> None:
        pass

    def close(self) -> None:
        pass


def test_nothing_is_read_while_a_source_is_paused() -> None:
    remedies, ends = made(pause("memory:in"), hold="30s"), Ends()
    flow = memory.queue("in") | map(fails) | memory.queue("out")
    at = [number / 10 for number in range(150)]
    Pipeline("orders", flow, observers=[remedies, ends]).test(range(150), at=at, start=1000.0)
    [first, *_] = remedies.decisions
    # What the source had been asked for already came in the moment after.
    assert first.seconds is not None
    assert not [at for at in ends.at if first.at + 0.2 < at < first.at + first.seconds - 0.1]
    assert len(ends.at) == 150


def test_a_dry_run_records_the_same_and_does_nothing() -> None:
    remedies = made(pause(), mode="shadow", hold="5s")
    trial = run(remedies)
    assert trial.elapsed == pytest.approx(60, abs=1)
    assert [each.done for each in remedies.decisions] == ["reading"] * len(remedies.decisions)
    assert {each.choice for each in remedies.decisions} == {"paused"}
    # The trouble lasts for ten seconds: longer than the first time, and gone after the last.
    assert [each.success for each in remedies.decisions] == [False, True]
    assert remedies.errors == 0


def test_it_is_done_so_often_at_most() -> None:
    remedies = made(pause(), mode="shadow", hold="1s", at_most="2 an hour")
    run(remedies)
    assert len(remedies.decisions) == 2 and remedies.refused > 3
    kept = made(pause(), mode="shadow", hold="1s", at_most="2 an hour")
    kept.restore(remedies.state())
    run(kept)
    assert kept.decisions == [] and kept.refused > 3


def test_one_of_several_sources_is_paused_and_the_other_goes_on() -> None:
    flow = merge(memory.queue("a"), memory.queue("b")) | map(fails) | memory.queue("out")
    remedies = Remedies([Remedy(lambda figures: figures.at < 1003, pause("memory:a"), hold="100s")], mode="act", every="1s")
    seen: list[Decision] = []
    remedies.record = seen.append
    at = [number / 10 for number in range(50)]
    trial = Pipeline("both", flow, observers=[remedies]).test(range(50), at=at, start=1000.0)
    assert sorted(trial.values) == sorted([*range(50), *range(50)])
    [decision] = remedies.decisions
    assert seen == [decision, decision]
    assert 4 < decision.inputs["after"]["rate"] < 16 or decision.inputs["after"]["seconds"] < 1.1


def test_a_source_that_there_is_not_is_an_error_that_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    remedies = made(pause("memory:other"))
    trial = run(remedies)
    assert remedies.decisions == [] and remedies.errors > 1 and len(trial.values) == 500
    assert "there are memory:in" in caplog.text and len(caplog.records) == 1


def test_resume_reads_again_what_another_remedy_paused() -> None:
    remedies = Remedies(
        [
            Remedy(dead, pause(), hold="1h"),
            Remedy(lambda figures: figures.at > 1030, resume(), hold="1h"),
        ],
        mode="act",
        every="1s",
    )
    trial = run(remedies)
    assert len(trial.values) == 500 and trial.elapsed < 100
    assert [each.done for each in remedies.decisions] == ["paused", "reading"]


def test_a_circuit_is_opened_by_hand_and_closed_again() -> None:
    switch, calls = Switch(), []

    def ask(value: int) -> int:
        calls.append(value)
        return fails(value)

    remedies = made(open_circuit(switch), hold="15s")
    trial = run(remedies, circuit_breaker(map(ask), failures=10_000, switch=switch))
    errors = [letter.error for letter in trial.dead_letters["orders.dead"]]
    assert errors.count("CircuitOpenError") > 100 and len(calls) < 500
    # It is closed when it is over, and calls were made again before.
    assert not switch.open and calls[-1] == 599
    reasons = [letter.reason for letter in trial.dead_letters["orders.dead"] if letter.error == "CircuitOpenError"]
    assert "opened by hand" in reasons[0]


def test_a_route_is_shifted_within_the_values_that_are_allowed() -> None:
    region = {"now": "eu"}
    shift = change("region", lambda: region["now"], lambda to: region.update(now=to), "us", allowed=["eu", "us"])

    def ask(value: int) -> str:
        return region["now"] if region["now"] == "us" else str(fails(value))

    trial = run(made(shift, hold="8s"), map(ask))
    # Eight seconds, and as many again, since the trouble lasts for ten.
    assert region["now"] == "eu" and trial.values.count("us") == pytest.approx(160, abs=20)
    with pytest.raises(GraphError, match="none of the values that are allowed"):
        change("region", lambda: region["now"], lambda to: None, "mars", allowed=["eu", "us"])


def test_what_somebody_else_has_changed_meanwhile_stays() -> None:
    region = {"now": "eu"}
    shift = change("region", lambda: region["now"], lambda to: region.update(now=to), "us")

    def ask(value: int) -> int:
        if value == 180:
            region["now"] = "asia"
        return fails(value) if value < 180 else value

    run(made(shift, hold="15s"), map(ask))
    assert region["now"] == "asia"


def test_everything_is_undone_when_the_pipeline_ends() -> None:
    region = {"now": "eu"}
    remedies = made(change("region", lambda: region["now"], lambda to: region.update(now=to), "us"), hold="10h")
    run(remedies)
    assert region["now"] == "eu"
    [decision] = remedies.decisions
    assert decision.success is None and decision.seconds is not None
    # Another pipeline can be watched then.
    run(remedies)


def test_rules_and_actions_that_raise_change_nothing_and_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def rule(figures: Figures) -> bool:
        raise RuntimeError("no model")

    def refuse(to: object) -> None:
        raise OSError("read only")

    broken = change("pool", lambda: 4, refuse, 8)
    remedies = Remedies([Remedy(rule, pause()), Remedy(dead, broken, hold="5s", at_most="1 a day")], mode="act", every="1s")
    trial = run(remedies)
    assert len(trial.values) == 500
    [decision] = remedies.decisions
    assert decision.success is False and decision.done == 4 and decision.reason.endswith("OSError: read only")
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 2


@pytest.mark.parametrize("value", [float("nan"), 0])
def test_figures_that_are_no_numbers_fire_nothing(value: float) -> None:
    remedies = Remedies([Remedy(lambda figures: value > 0.2, pause())], mode="act", every="1s")
    run(remedies)
    assert remedies.decisions == []


def test_a_detector_raises_one_alarm_for_an_incident() -> None:
    def late(value: int) -> int:
        if 4000 <= value < 4400:
            raise ValueError(value)
        return value

    rule = unusual("failed", Deviation())
    remedies = Remedies([Remedy(rule, pause(), hold="10s", at_most="100 a day")], every="1s")
    run(remedies, map(late), count=6000)
    [decision] = remedies.decisions
    assert decision.at == pytest.approx(1401, abs=2) and decision.reason.startswith("failed is unusual")


def test_it_acts_only_after_a_dry_run_in_which_trouble_lasted() -> None:
    remedies = made(pause(), mode="shadow", hold="2s", at_most="100 a day")
    with pytest.raises(DataError, match=r"pause\(\): of 0 time\(s\) in the dry run, 0 lasted"):
        remedies.promote()
    run(remedies)
    remedies.promote()
    assert remedies.mode == "act"
    run(remedies)
    assert remedies.decisions[-1].done == "paused"


def test_figures_are_what_happened_since_the_last_look() -> None:
    seen: list[Figures] = []

    def look(figures: Figures) -> bool:
        seen.append(figures)
        return False

    run(Remedies([Remedy(look, pause())], every="5s", health=True), count=300)
    assert [each.at for each in seen] == pytest.approx([1005, 1010, 1015, 1020, 1025], abs=0.1)
    assert [round(each.delivered) for each in seen] == [10, 10, 0, 0, 10]
    assert [round(each.failed) for each in seen] == [0, 0, 10, 10, 0]
    assert seen[2].dead_share == 1 and seen[2].rate == pytest.approx(10, abs=0.5) and seen[0].depth is None
    assert all(each.health is not None and each.health.live for each in seen)


class Hook:
    def __init__(self, answers: Sequence[int]) -> None:
        self.bodies: list[Any] = []
        self.came = threading.Semaphore(0)
        hook, left = self, list(answers)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(left.pop(0) if left else 200)
                self.end_headers()
                hook.came.release()

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/secret"


@pytest.fixture
def hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    found = Hook(getattr(request, "param", []))
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.mark.parametrize(("hook", "tries"), [([], 1), ([500, 503], 3)], indirect=["hook"])
def test_somebody_is_told_by_a_web_hook_without_waiting(hook: Hook, tries: int) -> None:
    remedies = made(page(hook.address, timeout="1s"), hold="1h")
    run(remedies)
    for _ in range(tries):
        assert hook.came.acquire(timeout=30)
    told, *again = hook.bodies
    assert again == [told] * (tries - 1)
    assert (told["pipeline"], told["remedy"], told["reason"]) == ("orders", "page(127.0.0.1)", "100% are dead letters")
    assert told["figures"]["dead_share"] == 1
    [decision] = remedies.decisions
    assert (decision.static, decision.done) == ("not told", "told") and "secret" not in decision.policy


def test_nobody_is_told_in_a_dry_run(hook: Hook) -> None:
    run(made(page(hook.address), mode="shadow"))
    assert hook.bodies == []


def test_a_web_hook_that_does_not_answer_is_tried_so_often(caplog: pytest.LogCaptureFixture) -> None:
    action: Any = page("http://127.0.0.1:9/secret", timeout="10ms", tries=2)
    action._send(b"{}")
    assert "127.0.0.1 was not told in 2 tries" in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Remedy("no", pause()), "give a function of the figures"),
        (lambda: Remedy(dead, pause(), at_most="often"), "'3 an hour'"),
        (lambda: Remedy(dead, pause(), at_most="0 an hour"), "'3 an hour'"),
        (lambda: Remedy(dead, pause(), hold="0s"), "a time above 0"),
        (lambda: Remedies([], mode="on"), "neither 'shadow' nor 'act'"),
        (lambda: Remedies([], every="0s"), "a time above 0"),
        (lambda: Remedies([Remedy(dead, pause()), Remedy(dead, pause())]), "of its own"),
        (lambda: unusual("speed", Deviation()), "no such figure"),
        (lambda: page("ftp://host/file"), "https://"),
        (lambda: page("https://host", tries=0), "from 1 to 20 tries"),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make()


def test_a_paused_pipeline_stops_at_once() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        remedies = Remedies([Remedy(lambda figures: True, pause(), hold="1h")], mode="act", every="1s")
        flow = memory.queue("nothing comes here") | memory.into([])
        running = Pipeline("orders", flow, observers=[remedies]).start(clock=loop.time)
        await asyncio.sleep(5)
        assert [each.done for each in remedies.decisions] == ["paused"]
        running.stop()
        await running
        return loop.time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == pytest.approx(5, abs=0.1)


def test_one_pipeline_at_a_time() -> None:
    remedies = made(pause())
    remedies.open("orders")
    with pytest.raises(GraphError, match="give 'bills' some of its own"):
        remedies.open("bills")
