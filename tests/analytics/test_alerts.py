"""Alerts: when they fire and are resolved, and who is told of what, and when."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren import Pipeline
from warren.analytics import Metrics
from warren.analytics.alerts import Alert, Alerts, Incident, Notification, Silence, To
from warren.analytics.alerts.outbox import Outbox
from warren.analytics.remedies import Figures, beyond
from warren.connectors import memory
from warren.core.errors import AddressError, DataError, GraphError
from warren.core.health import Health
from warren.operators import map


class Person:
    """A receiver that can be away."""

    def __init__(self, name: str = "ops") -> None:
        self.name = name
        self.away = False
        self.got: list[Notification] = []
        self.tries = 0

    def send(self, notification: Notification) -> None:
        self.tries += 1
        if self.away:
            raise ConnectionError("nobody is there")
        self.got.append(notification)

    @property
    def words(self) -> list[str]:
        return [notification.subject for notification in self.got]


class Nothing:
    """The controls of no pipeline."""

    clock = staticmethod(time.time)

    def paused(self, source: str | None = None) -> bool:
        return False

    def pause(self, source: str | None = None, *, on: bool = True) -> None:
        pass

    async def health(self, patience: float) -> Health:
        return Health(name="nothing")


class Bench:
    """Looks at figures given one by one; what is due is told at once."""

    def __init__(self, *alerts: Alert, to: Any = None, **options: Any) -> None:
        self.person = Person()
        self.alerts = Alerts(alerts or [Alert("Dead", dead)], to=to or [self.person], **options)
        self.alerts.open("orders")

    def at(self, at: float, share: float = 0.0, **figures: Any) -> list[str]:
        """What is told at a time."""
        before = len(self.person.got)
        self.alerts.look(Figures(at=at, seconds=1.0, dead_share=share, **figures), Nothing())
        self.alerts._outbox.tell()
        return self.person.words[before:]


dead = beyond("dead_share", above=0.5)
FIRING, RESOLVED = ["[FIRING] orders: Dead"], ["[RESOLVED] orders: Dead"]


def test_an_alert_fires_once_and_is_resolved_once() -> None:
    bench = Bench()
    assert [bench.at(t, share) for t, share in enumerate((0, 1, 1, 0, 0, 1))] == [[], FIRING, [], RESOLVED, [], FIRING]
    first, second = bench.alerts.incidents
    assert (first.started, first.ended, second.started, second.ended) == (1, 3, 5, None)
    assert first.labels == {"pipeline": "orders", "alert": "Dead"} and first.reason == "dead_share is 1, above 0.5"
    assert bench.alerts.firing == [second]


def test_it_fires_only_once_the_rule_has_lasted() -> None:
    bench = Bench(Alert("Dead", dead, lasting="10s"))
    assert [bench.at(t, 1) for t in (0, 5, 9)] == [[], [], []]
    assert bench.at(9.5) == [] and bench.at(10, 1) == [] and bench.at(20, 1) == FIRING


def test_it_is_resolved_only_once_the_rule_was_quiet_for_long_enough() -> None:
    bench = Bench(Alert("Dead", dead, keep="10s"))
    assert [bench.at(t, share) for t, share in ((0, 1), (5, 0), (9, 1), (10, 0), (19, 0), (20, 0))] == [
        *(FIRING, [], [], [], []),
        RESOLVED,
    ]


def test_it_is_repeated_while_it_goes_on() -> None:
    bench = Bench(repeat="1h")
    told = [bench.at(minute * 60, 1) for minute in range(0, 200, 10)]
    assert [minute * 10 for minute, each in enumerate(told) if each] == [0, 60, 120, 180]
    assert bench.at(12_001) == RESOLVED and bench.at(99_999) == []


def test_alerts_of_one_group_are_told_together_after_a_moment() -> None:
    late = Alert("Late", beyond("depth", above=10), labels={"team": "shop"})
    bench = Bench(Alert("Dead", dead, labels={"team": "shop"}), late, wait="30s", group_by=["team"])
    assert bench.at(0, 1) == [] and bench.at(10, 1, depth=20) == [] and bench.at(20, 0, depth=20) == []
    assert bench.at(30, 0, depth=20) == ["[FIRING] orders: Late"]
    [told] = bench.person.got
    # What was over before anybody was told is told with its end.
    assert {each.alert: each.ended for each in told.incidents} == {"Late": None, "Dead": 20}
    assert told.group == {"team": "shop"} and told.status == "firing"


def test_other_groups_are_told_by_themselves() -> None:
    bench = Bench(Alert("Dead", dead), Alert("Late", beyond("depth", above=10)), group_by=["alert"])
    assert sorted(bench.at(0, 1, depth=20)) == ["[FIRING] orders: Dead", "[FIRING] orders: Late"]
    assert bench.at(1, 0, depth=20) == RESOLVED


def test_each_receiver_is_told_of_what_it_wants() -> None:
    ops, dev = Person("ops"), Person("dev")
    page = Alert("Dead", dead, labels={"severity": "page"})
    bench = Bench(page, Alert("Late", beyond("depth", above=10)), to=[To(ops, where={"severity": "page"}), dev])
    bench.at(0, 1, depth=20)
    assert ops.words == FIRING and dev.words == ["[FIRING] orders: Dead, Late"]


def test_nobody_is_told_of_what_is_silent_until_that_is_over() -> None:
    bench = Bench(silences=[Silence(where={"alert": "Dead"}, until=100.0)])
    assert bench.at(0, 1) == [] and bench.at(50) == [] and bench.at(60, 1) == []
    # It still goes on.
    assert bench.at(100, 1) == FIRING and len(bench.alerts.incidents) == 2


def test_who_was_told_of_one_is_told_of_its_end_even_if_it_is_silent_by_then() -> None:
    bench = Bench(repeat="10s")
    assert bench.at(0, 1) == FIRING
    bench.alerts.silence(Silence(where={"pipeline": "orders"}, until=datetime(2030, 1, 1, tzinfo=UTC), why="known"))
    assert bench.at(20, 1) == [] and bench.at(30) == RESOLVED


@pytest.mark.parametrize("value", [nan, None, float("inf")])
def test_what_is_no_number_fires_nothing(value: Any) -> None:
    bench = Bench(Alert("Late", beyond("depth", above=1)))
    assert bench.at(0, depth=value) == [] and bench.alerts.errors == 0


def test_a_rule_that_raises_changes_nothing_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = [True, RuntimeError("no model"), RuntimeError("no model"), False]

    def rule(figures: Figures) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    bench = Bench(Alert("Dead", rule))
    assert [bench.at(t) for t in range(4)] == [FIRING, [], [], RESOLVED]
    assert bench.alerts.errors == 2 and len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1


def test_a_clock_that_is_turned_back_ends_nothing_before_it_began() -> None:
    bench = Bench(Alert("Dead", dead, lasting="5s"), repeat="10s")
    assert [bench.at(t, 1) for t in (1000, 1005, 10, 19, 20)] == [[], FIRING, [], [], FIRING]
    assert bench.at(21) == RESOLVED
    [incident] = bench.alerts.incidents
    assert incident.started == incident.ended == 1005


def test_while_a_receiver_is_away_all_waits_and_nothing_is_lost() -> None:
    bench = Bench(repeat="1s")
    bench.person.away = True
    for t in range(50):
        bench.at(t, float(t % 10 < 5))
    assert bench.alerts.waiting == 1 and bench.person.tries < 50
    bench.person.away = False
    bench.alerts._outbox.tell(all=True)
    # Each incident is told of, with its end.
    [told] = bench.person.got
    assert [(each.started, each.ended) for each in told.incidents] == [(t, t + 5) for t in range(0, 50, 10)]
    assert bench.alerts.waiting == 0


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "alerts.json"
    first = Bench(file=file)
    assert first.at(0, 1) == FIRING
    second = Bench(file=file)
    # It was told already.
    assert second.at(10, 1) == []
    second.person.away = True
    assert second.at(20) == []
    third = Bench(file=file)
    assert third.alerts.waiting == 1 and third.at(30) == RESOLVED
    [told] = third.person.got
    assert [(each.started, each.ended) for each in told.incidents] == [(0, 20)]
    assert Bench(file=file).at(40) == []


def test_how_long_a_rule_has_said_so_begins_anew_after_a_restart(tmp_path: Path) -> None:
    alert = Alert("Dead", dead, lasting="10s")
    assert Bench(alert, file=tmp_path / "a").at(0, 1) == []
    again = Bench(alert, file=tmp_path / "a")
    assert again.at(100, 1) == [] and again.at(109, 1) == [] and again.at(110, 1) == FIRING


def test_an_alert_that_is_no_longer_asked_for_is_over_after_a_restart(tmp_path: Path) -> None:
    assert Bench(file=tmp_path / "a").at(0, 1) == FIRING
    assert Bench(Alert("Other", dead), file=tmp_path / "a").at(5) == RESOLVED


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version":2,"states":{},"groups":[],"waiting":[]}', b"\xff"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match="it holds no alerts"):
        Alerts([], file=tmp_path / "file")


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(file=tmp_path / "no" / "folder")
    assert bench.at(0, 1) == FIRING and "is not kept" in caplog.text


def test_attempts_come_less_often_and_one_receiver_holds_up_no_other() -> None:
    now = 0.0
    away, there = Person("away"), Person("there")
    away.away = True
    outbox = Outbox([away, there], clock=lambda: now)
    incident = Incident(alert="Dead", labels={}, reason="", started=0.0)
    for person in (away, there):
        outbox.put(person.name, Notification(pipeline="orders", group={}, incidents=[incident]))
    times = []
    while now < 1000:
        tries = away.tries
        outbox.tell()
        times += [now] * (away.tries - tries)
        now += max(outbox.pause() or 0.0, 0.5)
    assert times == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811] and len(there.got) == 1 and len(outbox) == 1
    away.away = False
    outbox.tell(all=True)
    assert len(away.got) == 1 and len(outbox) == 0 and outbox.pause() is None


def test_what_comes_while_a_receiver_is_being_told_still_waits() -> None:
    class Slow(Person):
        def send(self, notification: Notification) -> None:
            super().send(notification)
            if len(self.got) == 1:
                ended = Incident(alert="Dead", labels={}, reason="", started=0.0, ended=9.0)
                outbox.put("slow", Notification(pipeline="orders", group={}, incidents=[ended]))

    slow = Slow("slow")
    outbox = Outbox([slow])
    incident = Incident(alert="Dead", labels={}, reason="", started=0.0)
    outbox.put("slow", Notification(pipeline="orders", group={}, incidents=[incident]))
    outbox.tell()
    outbox.tell()
    assert slow.words == FIRING + RESOLVED and len(outbox) == 0


def run(*observers: Any, count: int = 600) -> None:
    def check(value: int) -> int:
        if 100 <= value < 200:
            raise ValueError(value)
        return value

    flow = memory.queue("in") | map(check) | memory.queue("out")
    trial = Pipeline("orders", flow, observers=observers).test(range(count), at=[n / 10 for n in range(count)], start=1000.0)
    assert len(trial.values) == count - 100


def test_a_pipeline_is_watched_in_virtual_time_with_its_metrics() -> None:
    person, metrics = Person(), Metrics()
    alerts = Alerts(
        [
            Alert("Dead", dead, lasting="5s"),
            Alert("Letters", beyond("warren_dead_letters", above=5, labels={"reason": "ValueError"})),
            Alert("Slow", beyond("warren_message_duration_seconds", above=60, quantile=0.99)),
        ],
        to=[person],
        every="1s",
        metrics=metrics,
    )
    run(alerts, metrics)
    times = {each.alert: (each.started, each.ended) for each in alerts.incidents}
    assert times.keys() == {"Dead", "Letters"}
    assert times["Dead"] == pytest.approx((1016, 1021), abs=1.5) and times["Letters"] == pytest.approx((1011, 1021), abs=1.5)
    # All that was found by its end was told.
    told = {(each.alert, each.ended) for notification in person.got for each in notification.incidents}
    assert {("Dead", times["Dead"][1]), ("Letters", times["Letters"][1])} <= told and alerts.waiting == 0


def test_what_cannot_be_told_by_the_end_is_said(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    person = Person()
    person.away = True
    run(Alerts([Alert("Dead", dead)], to=[person], every="1s"))
    assert "1 notification(s) of 'orders' are lost" in caplog.text
    run(Alerts([Alert("Dead", dead)], to=[person], every="1s", file=tmp_path / "alerts.json"))
    assert "1 notification(s) of 'orders' wait in" in caplog.text


TIMES = st.lists(st.tuples(st.floats(-100, 400), st.sampled_from([0.0, 1.0, nan]), st.booleans()), max_size=60)


@given(TIMES, st.floats(0, 60), st.floats(0, 60), st.floats(0, 60), st.floats(1, 500))
def test_every_incident_is_told_once_begun_and_once_over(
    looks: list[tuple[float, float, bool]], lasting: float, keep: float, wait: float, repeat: float
) -> None:
    bench = Bench(Alert("Dead", dead, lasting=lasting, keep=keep), wait=wait, repeat=repeat)
    at = 1e9
    for step, share, away in looks:
        at += step
        bench.person.away = away
        bench.at(at, share)
    bench.person.away = False
    for step in (1e6, 2e6, 3e6):
        bench.at(at + step)
    bench.alerts._outbox.tell(all=True)
    told = [each for notification in bench.person.got for each in notification.incidents]
    assert not bench.alerts.firing and bench.alerts.waiting == 0
    for incident in bench.alerts.incidents:
        assert incident.ended is not None and incident.ended >= incident.started
        mine = [each.ended for each in told if each.started == incident.started]
        assert mine.count(incident.ended) == 1 and mine[-1] == incident.ended
    assert {each.started for each in told} == {each.started for each in bench.alerts.incidents}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Alert("", dead), GraphError, "give it a name"),
        (lambda: Alert("Dead", "no"), GraphError, "a function of the figures"),  # type: ignore[arg-type]  # on purpose
        (lambda: Alert("Dead", dead, labels={"n": 1}), GraphError, "are texts"),  # type: ignore[dict-item]  # on purpose
        (lambda: Alerts([Alert("Dead", dead)] * 2), GraphError, "a name of its own"),
        (lambda: Alerts([], to=[Person(), Person()]), GraphError, "each receiver once"),
        (lambda: Alerts([], every="0s"), GraphError, "a time above 0"),
        (lambda: Alerts([], repeat="0s"), GraphError, "times above 0"),
        (lambda: Silence(where={}, until=1.0), GraphError, "it would silence everything"),
        (lambda: Silence(where={"a": "b"}, until=float("inf")), GraphError, "a silence has an end"),
        (lambda: Silence(where={"a": "b"}, until=datetime(2026, 1, 1)), GraphError, "give the zone"),
        (lambda: To("fax:1"), AddressError, "fax"),
        (lambda: To("https://${NO_SUCH_HOST}/", environment={}), AddressError, "no such variable; set it"),
        (lambda: To("mailto:nobody"), AddressError, "alerts, to"),
    ],
)
def test_bad_settings_are_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
