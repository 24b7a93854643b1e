from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from tests.analytics.reporting import START, busy, record, work
from warren.analytics import Flows
from warren.analytics.capacity import Prices
from warren.analytics.growth import growth
from warren.analytics.report import PriceList, capacity_report, read_prices
from warren.analytics.report.contents import Queue, Report

DAYS = 60
END = START + timedelta(days=DAYS)
YEARLY = 2.0
NOISE = 0.03
PRICES = Prices(consumer_hour=0.04, start=0.01, million=0.5)


def counts(days: int = DAYS, base: float = 100.0, yearly: float = YEARLY, noise: float = NOISE, seed: int = 1) -> np.ndarray:
    hours = np.arange(days * 24)
    return np.round(busy(hours, base, yearly) * np.exp(np.random.default_rng(seed).normal(0, noise, len(hours))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty days that grow threefold in a year."""
    found = tmp_path_factory.mktemp("flows")
    record(found, counts(), service=10.0, retried=0.1, wait=2.0)
    return found


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return capacity_report(
        folder, target="p95=2m", consumers={"orders": [1]}, now=END.timestamp(), prices=PriceList("EUR", PRICES, {})
    )


@pytest.fixture(scope="module")
def orders(report: Report) -> Queue:
    (queue,) = report.queues
    assert queue.pipeline == "orders"
    return queue


def test_the_figures_are_those_of_the_recording(orders: Queue) -> None:
    told = counts() / 3600
    assert orders.sources == ["orders.in"] and orders.messages == round(told.sum() * 3600)
    assert orders.arrival is not None and orders.service is not None and orders.age is not None and orders.depth is not None
    assert orders.arrival.now == pytest.approx(told[-1])
    assert orders.arrival.p95 == pytest.approx(np.quantile(told[-168:], 0.95))
    assert orders.arrival.peak == pytest.approx(told.max())
    peaks = np.flatnonzero(told == told.max())
    assert orders.arrival.peak_at in [START + timedelta(hours=int(each)) for each in peaks]
    assert orders.service.seconds == pytest.approx(10.0, rel=0.02)
    assert orders.service.cv2 == pytest.approx(1.0, abs=0.15) and orders.service.arrival_cv2 == pytest.approx(1.0, abs=0.15)
    assert orders.utilisation == pytest.approx(told[-1] * 10.0, rel=0.02)
    assert orders.retried == pytest.approx(0.1, abs=0.005) and orders.dead == 0
    # Waits were drawn with a mean of two seconds, and services of ten: three means are P95.
    assert orders.age.p95 == pytest.approx(2.0 * 3, rel=0.3) and orders.age.longest > orders.age.p95
    assert orders.kept is not None and orders.kept > 0.9999
    assert 3 <= orders.depth.p95 <= orders.depth.peak <= 20
    assert orders.problems == []


def test_the_date_on_which_capacity_runs_out_is_within_its_interval(orders: Queue) -> None:
    told = orders.headroom
    assert told is not None and told.at and told.earliest and told.latest and told.yearly is not None
    weeks = busy(np.arange(168), 100.0) * np.exp(np.random.default_rng(0).normal(0, NOISE, (500, 168)))
    level = float(np.quantile(weeks, 0.95)) / 3600
    years = np.log(told.capacity / level) / np.log1p(YEARLY)
    truth = START + timedelta(days=years * 365.25)
    assert END < truth < END + timedelta(days=365)
    assert told.earliest <= truth <= told.latest
    assert told.latest - told.earliest < timedelta(days=60)
    assert told.yearly == pytest.approx(YEARLY, rel=0.25)
    assert told.share == pytest.approx(1 - told.busy / told.capacity)


def test_the_interval_holds_about_nine_times_in_ten() -> None:
    held = 0
    for seed in range(40):
        told = growth(counts(base=1000.0, seed=seed), 3600.0, period=168, quantile=0.95)
        away, early, late = told.reaches(told.level * 1.5)
        held += early <= np.log(1.5) / np.log1p(YEARLY) * 365.25 * 86_400 <= late
        assert early <= away <= late
    assert 33 <= held <= 40


def test_demand_covers_as_it_says(orders: Queue) -> None:
    last = orders.demand[-1]
    assert [each.seconds / 86_400 for each in orders.demand] == [1, 7, 16, 30]
    assert last.count == 0 and last.covered_p95 is None and last.until == END + timedelta(days=30)
    for each in orders.demand[1:-1]:
        assert each.count >= 168 and each.covered_p95 is not None and each.covered_p50 is not None
        assert each.covered_p95 == pytest.approx(0.95, abs=0.05) and each.covered_p50 == pytest.approx(0.5, abs=0.2)
    # The truth of the busiest hour within the horizon.
    ahead = busy(np.arange(DAYS * 24, (DAYS + 30) * 24), 100.0, YEARLY).max() / 3600
    assert last.p50 == pytest.approx(ahead, rel=0.05) and last.p95 >= last.p50
    assert orders.demand == sorted(orders.demand, key=lambda each: each.seconds)


def test_failures_and_options_follow_from_the_figures(orders: Queue, report: Report) -> None:
    none, one = orders.failures
    assert (none.lost, none.consumers, none.keeps) == (0, 1, True)
    assert (one.lost, one.consumers, one.keeps, one.drain) == (1, 0, False, None) and one.backlog > 0
    assert report.currency == "EUR"
    names = {each.name: each for each in orders.options}
    assert names["stay at 1"].consumers == "1"
    spare = next(each for each in orders.options if "one node may fail" in each.name)
    assert spare.risk == "low" and spare.keeps == 1
    assert spare.cost == pytest.approx(
        int(spare.consumers) * 0.04 * 720 + 0.01 * (int(spare.consumers) - 1) + 0.5 * 720 * mean_of(orders) * 3600 / 1e6
    )
    good = [each for each in orders.options if each.keeps >= 0.99]
    assert orders.options[: len(good)] == sorted(good, key=lambda each: each.cost)


def mean_of(queue: Queue) -> float:
    return float(np.mean(queue.hours.p95))


def test_the_last_forecast_is_compared_with_what_came(folder: Path) -> None:
    early = capacity_report(folder, target="p95=2m", now=(END - timedelta(days=10)).timestamp())
    now = capacity_report(folder, target="p95=2m", last=early, now=END.timestamp())
    told = now.queues[0].review
    assert told is not None and told.made == early.made and told.hours == 240
    assert told.error is not None and told.error < 0.05
    assert told.happened == pytest.approx(counts()[-240:].mean() / 3600)
    assert told.above_p95 < 0.15
    assert now.queues[0].headroom is not None and told.ran_out is not None


def test_a_longer_recording_says_nothing_of_what_comes_after_now(folder: Path) -> None:
    early = capacity_report(folder, target="p95=2m", now=(END - timedelta(days=10)).timestamp()).queues[0]
    assert early.hours.at[-1] == END - timedelta(days=10, hours=1)


def test_a_report_of_a_pipeline_alone(folder: Path, tmp_path: Path) -> None:
    record(folder, counts(3), pipeline="bills")
    try:
        told: list[tuple[str, int, int]] = []
        both = capacity_report(folder, now=END.timestamp(), progress=lambda *each: told.append(each))
        assert [queue.pipeline for queue in both.queues] == ["bills", "orders"]
        assert told == [("bills", 0, 2), ("orders", 1, 2)]
        alone = capacity_report(folder, pipelines=["bills"], now=END.timestamp())
        assert [queue.pipeline for queue in alone.queues] == ["bills"]
    finally:
        for table in ("trips", "stages"):
            for file in (folder / table / "pipeline=bills").rglob("*.parquet"):
                file.unlink()


@dataclass
class Neck:
    stage: str
    utilisation: float
    evidence: pl.DataFrame

    def __str__(self) -> str:
        return f"{self.stage} limits the pipeline: it is at work {self.utilisation:.0%} of the time."


@pytest.fixture
def neck(monkeypatch: pytest.MonkeyPatch) -> list[Flows]:
    """A bottleneck that is known."""
    asked: list[Flows] = []

    def bottleneck(flows: Flows, pipeline: str) -> Neck:
        asked.append(flows)
        return Neck("1:map", 0.5, pl.DataFrame({"stage": ["1:map"], "share": [0.123456], "odd": [None]}))

    monkeypatch.setattr("warren.analytics.report.limits.bottleneck", bottleneck)
    return asked


def test_the_bottleneck_comes_with_its_evidence(folder: Path, neck: list[Flows]) -> None:
    told = capacity_report(folder, target="p95=2m", now=END.timestamp()).queues[0]
    assert told.bottleneck is not None and told.bottleneck.limits
    assert told.bottleneck.sentence == "1:map limits the pipeline: it is at work 50% of the time."
    assert told.bottleneck.columns == ["stage", "share", "odd"]
    assert told.bottleneck.rows == [["1:map", "0.1235", ""]]
    # Only the last week says what limits a pipeline now.
    since = neck[0].stages.select(pl.col("start").min()).collect().item()
    assert END - timedelta(days=7, minutes=5) <= since


def test_where_nothing_limits_the_busiest_step_is_told(tmp_path: Path) -> None:
    record(tmp_path, counts(3), service=2.0, stages=lambda day: {"1:map": 0.25, "2:enrich": 0.75})
    told = capacity_report(tmp_path, consumers={"": [1, 1]}, now=(START + timedelta(days=3)).timestamp()).queues[0]
    assert told.bottleneck is not None and told.arrival is not None
    assert (told.bottleneck.stage, told.bottleneck.limits) == ("2:enrich", False)
    assert told.bottleneck.utilisation == pytest.approx(told.arrival.p95 * 1.5 / 2, rel=0.1)
    assert "Nothing limits it now" in told.bottleneck.sentence and [row[0] for row in told.bottleneck.rows] == [
        *("2:enrich", "1:map")
    ]


def test_a_step_that_waits_elsewhere_is_as_fast_as_its_calls_at_once(tmp_path: Path) -> None:
    record(tmp_path, counts(3), service=0.01)
    work(tmp_path, "1:map", workers=10, seconds=3.0, counts=counts(3))
    work(tmp_path, "out", workers=1, seconds=30.0, counts=counts(3))
    told = capacity_report(tmp_path, target="p99=10s", now=(START + timedelta(days=3)).timestamp()).queues[0]
    assert told.service is not None and told.service.seconds == pytest.approx(0.3, rel=0.01)


def test_a_stage_twice_as_fast_needs_fewer(folder: Path, neck: list[Flows]) -> None:
    told = capacity_report(folder, target="p95=40s", now=END.timestamp()).queues[0]
    faster = next(each for each in told.options if each.name == "make 1:map twice as fast")
    stay = next(each for each in told.options if each.keeps >= 0.99 and each is not faster and "–" not in each.consumers)
    assert int(faster.consumers) < int(stay.consumers) and "100%" in faster.why


def test_consumers_are_told_from_who_recorded(tmp_path: Path) -> None:
    for _ in range(3):
        record(tmp_path, counts(2), service=0.5)
    assert capacity_report(tmp_path, now=(START + timedelta(days=2)).timestamp()).queues[0].consumers == 1
    for place in (tmp_path / "stages").rglob("made-*.parquet"):
        place.rename(place.with_name(f"20260105T000000-{place.stem[-1]}-abcdef-0.parquet"))
    told = capacity_report(tmp_path, now=(START + timedelta(days=2)).timestamp()).queues[0]
    assert told.consumers == 3 and told.consumers_from == "told from the recording"


def test_prices_of_one_pipeline_differ(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('currency = "EUR"\nconsumer_hour = 0.04\n[pipelines.orders]\nconsumer_hour = 1\nfixed_hour = 2\n')
    told = read_prices(file)
    assert told.currency == "EUR"
    assert told.of("orders") == Prices(1.0, fixed_hour=2.0) and told.of("bills") == Prices(0.04)
    other = tmp_path / "prices.json"
    other.write_text('{"consumer_hour": 0.5, "start": 0.1}')
    assert read_prices(other).of("x") == Prices(0.5, start=0.1)


def test_days_are_those_of_the_zone(tmp_path: Path) -> None:
    # Four weeks of days that begin and end by the clocks of Berlin, through the night in which these change.
    hours = [datetime(2026, 3, 9, tzinfo=UTC) + timedelta(hours=each) for each in range(28 * 24)]
    local = np.array([each.astimezone(ZoneInfo("Europe/Berlin")).hour for each in hours])
    record(tmp_path, np.where((local >= 8) & (local < 18), 90, 30), start=hours[0], service=0.5)
    now = (hours[-1] + timedelta(hours=1)).timestamp()
    told = capacity_report(tmp_path, zone="Europe/Berlin", horizon="2d", now=now).queues[0]
    ahead = {
        at.astimezone(ZoneInfo("Europe/Berlin")).hour: rate * 3600
        for at, rate in zip(told.hours.ahead, told.hours.p50, strict=True)
    }
    assert ahead[8] == pytest.approx(90, abs=5) and ahead[7] == pytest.approx(30, abs=5)
    assert ahead[17] == pytest.approx(90, abs=5) and ahead[18] == pytest.approx(30, abs=5)
