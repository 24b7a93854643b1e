"""The tables and figures of a queue, as words: the page and the paper both show these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from warren.analytics.report.contents import Queue, Report
from warren.analytics.report.words import NONE, date, length, moment, number, part, rate

__all__ = ["STATES", "Table", "figures", "tables"]

STATES = {"out": "has run out", "soon": "runs out", "well": "enough", "unknown": "unknown"}


class Table(NamedTuple):
    """A title, a sentence or none, the names of the columns, and rows."""

    title: str
    note: str
    columns: list[str]
    rows: list[list[str]]


def figures(queue: Queue) -> Iterator[tuple[str, str, str]]:
    """What it is called, the figure, and what belongs to it."""
    if (told := queue.arrival) is not None:
        yield "Arrival, last hour", rate(told.now), f"P95 {rate(told.p95)}, peak {rate(told.peak)}"
    if (service := queue.service) is not None:
        yield "Service time", length(service.seconds), f"squared variation {number(service.cv2)}"
    if queue.utilisation is not None:
        yield "Utilisation, last hour", part(queue.utilisation), f"{part(queue.busy_utilisation)} in busy hours"
    yield "Consumers", str(queue.consumers), queue.consumers_from
    if (depth := queue.depth) is not None:
        yield "Depth, last hour", number(depth.now), f"P95 {number(depth.p95)}, peak {number(depth.peak)}"
    if (age := queue.age) is not None:
        yield "Age when read, P95", length(age.now), f"busy {length(age.p95)}, longest {length(age.longest)}"
    if queue.latency is not None:
        yield "Latency, P95", length(queue.latency), f"{part(queue.kept)} within the target"
    if queue.retried is not None:
        yield "Retried", part(queue.retried), f"{part(queue.dead)} dead-lettered"


def tables(queue: Queue, report: Report) -> Iterator[Table]:
    """Everything else that is known, in the order in which one asks."""
    zone = report.zone
    if queue.demand:
        rows = [
            [
                length(each.seconds),
                moment(each.until, zone),
                rate(each.mean),
                rate(each.p50),
                rate(each.p95),
                f"{part(each.covered_p50)}, {part(each.covered_p95)}" if each.count else "beyond what can be tested",
                f"{each.count:,}" if each.count else NONE,
            ]
            for each in queue.demand
        ]
        note = f"The busiest hour at P50 and P95, by the forecaster {queue.method}; covered: how much of the past was below."
        columns = ["horizon", "until", "mean", "busiest, P50", "busiest, P95", "covered (P50, P95)", "tested hours"]
        yield Table("Demand", note, columns, rows)
    if (limit := queue.bottleneck) is not None:
        yield Table("Bottleneck", limit.sentence, limit.columns, limit.rows)
    if queue.failures:
        rows = [
            [
                str(each.lost),
                str(each.consumers),
                part(each.utilisation),
                length(each.latency) if each.latency is not None else "grows",
                "kept" if each.keeps else "missed",
                rate(each.backlog) if each.backlog else NONE,
                length(each.drain) if each.drain is not None else "never",
            ]
            for each in queue.failures
        ]
        latency = f"latency, {_quantile(report)}"
        columns = [
            "nodes lost",
            "consumers left",
            "utilisation",
            latency,
            "target",
            "backlog grows",
            "drains an hour's outage in",
        ]
        yield Table("When nodes fail, in busy hours", "", columns, rows)
    if queue.options:
        rows = [
            [
                each.name,
                each.consumers,
                f"{number(each.cost)} {report.currency}".strip(),
                number(each.per_million),
                part(each.keeps),
                f"{each.risk}: {each.why}",
            ]
            for each in queue.options
        ]
        columns = ["option", "consumers", "cost in 30 days", "per million", "hours kept at P95", "risk"]
        yield Table("What can be done", "Those that keep the target first, the cheapest at the top.", columns, rows)
    if (told := queue.review) is not None:
        off = f", off by {part(told.error)} of it on average" if told.error is not None else ""
        note = (
            f"The report of {moment(told.made, zone)} forecast {rate(told.forecast)} for the {told.hours} hour(s) since, "
            f"and {rate(told.happened)} came{off}; {part(told.above_p50)} of the hours were above P50 and "
            f"{part(told.above_p95)} above P95. It saw the capacity run out on {date(told.ran_out, zone)}."
        )
        yield Table("The last report", note.replace(f"on {NONE}.", "on no date."), [], [])
    if queue.gaps:
        rows = [[moment(each.first, zone), moment(each.last, zone), each.what] for each in queue.gaps]
        yield Table("Gaps in the data", "", ["from", "to", "what"], rows)


def _quantile(report: Report) -> str:
    return f"P{100 * report.target.quantile:g}"
