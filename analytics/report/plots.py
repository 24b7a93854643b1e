"""The plots of a report. Colours are stand-ins: the page puts its own in their place, for light and dark; paper has ink."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from warren.analytics.report.contents import Queue, Report
from warren.analytics.report.words import date

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PLOTS", "png", "svg"]

_PAST = timedelta(days=21)


@dataclass(frozen=True)
class Ink:
    """The colours of a plot."""

    ink: str
    soft: str
    grid: str
    blue: str
    amber: str
    red: str


_PAPER = Ink("#1c2733", "#5b6b7a", "#dde3e9", "#2563a8", "#b86e00", "#c0332b")
_STAND_INS = Ink(*(f"#0{each}0{each}0{each}" for each in range(1, 7)))
_NAMES = {colour: f"var(--{name})" for name, colour in asdict(_STAND_INS).items()}
Draw: TypeAlias = "Callable[[Axes, Queue, Report, Ink], None]"


def _style(ink: Ink) -> dict[str, Any]:
    return {
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.parse_math": False,
        "text.color": ink.ink,
        "axes.edgecolor": ink.grid,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlecolor": ink.soft,
        "axes.titlelocation": "left",
        "axes.titlesize": 9,
        "grid.color": ink.grid,
        "grid.linewidth": 0.6,
        "xtick.color": ink.soft,
        "ytick.color": ink.soft,
        "lines.linewidth": 1.1,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "figure.figsize": (5.2, 2.7),
        "figure.constrained_layout.use": True,
    }


@contextmanager
def _figure(draw: Draw, queue: Queue, report: Report, ink: Ink, **options: Any) -> Iterator[Figure]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {**_style(ink), **options}
    with mpl.rc_context(style):
        # Not by pyplot: it would look for a screen and keep every figure.
        figure = Figure()
        draw(figure.subplots(), queue, report, ink)
        yield figure


def svg(draw: Draw, queue: Queue, report: Report, salt: str) -> str:
    """A plot to stand in a page; ``salt`` keeps its names apart from those of the other plots."""
    out = io.StringIO()
    with _figure(draw, queue, report, _STAND_INS, **{"svg.hashsalt": salt}) as figure:
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r"^.*?(?=<svg)|<metadata>.*?</metadata>", "", out.getvalue(), flags=re.DOTALL)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text, count=1)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL).replace("xlink:href", "href")
    # Names of parts, which nothing refers to and which every plot has.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    return re.sub("|".join(_NAMES), lambda match: _NAMES[match[0]], text)


def png(draw: Draw, queue: Queue, report: Report, height: float) -> bytes:
    """A plot for paper, so many inches high where it is 7.2 wide."""
    out = io.BytesIO()
    with _figure(draw, queue, report, _PAPER, **{"figure.figsize": (7.2, height)}) as figure:
        figure.savefig(out, format="png", dpi=200)
    return out.getvalue()


def _unit(queue: Queue) -> tuple[float, str]:
    """What to multiply rates by, and what they then count."""
    most = max((each for each in [*queue.hours.rate, *queue.hours.p95] if each is not None), default=0.0)
    return (1.0, "messages a second") if most >= 1 else (3600.0, "messages an hour")


def _demand(axes: Axes, queue: Queue, report: Report, ink: Ink) -> None:
    """The last weeks, the weeks ahead with their band, and what today's consumers can take."""
    hours = queue.hours
    times, unit = _unit(queue)
    at, rate = _recent(hours.rate, queue, report)
    axes.plot(at, rate * times, color=ink.ink, linewidth=1, label="recorded")
    if hours.ahead:
        ahead = _times(hours.ahead, report)
        _band(axes, ahead, times * np.array(hours.p50), times * np.array(hours.p95), ink, "up to P95")
        axes.plot(ahead, times * np.array(hours.p50), color=ink.blue, linewidth=1, label="P50")
    if queue.headroom is not None:
        axes.axhline(
            times * queue.headroom.capacity,
            color=ink.red,
            linewidth=1.2,
            linestyle="--",
            label=f"capacity of {queue.consumers}",
        )
    _finish(axes, unit)


def _growth(axes: Axes, queue: Queue, report: Report, ink: Ink) -> None:
    """Busy hours week by week, the growth through them, and where it meets the capacity."""
    told, hours = queue.headroom, queue.hours
    assert told is not None and told.yearly is not None
    times, unit = _unit(queue)
    weeks = _busy_weeks(hours.at, hours.rate)
    last = hours.at[-1]
    axes.plot(
        _times([at for at, _ in weeks], report),
        [times * rate for _, rate in weeks],
        "o",
        color=ink.ink,
        markersize=4,
        label="busy hours",
    )
    until = max(report.made + timedelta(seconds=report.horizon), last + (last - hours.at[0]) / 2)
    if told.at is not None:
        late = (told.latest or told.at) + timedelta(days=7)
        until = min(max(until, late), last + timedelta(days=3 * 365))
    steps = [hours.at[0] + (until - hours.at[0]) * step / 60 for step in range(61)]
    growing = [times * told.busy * (1 + told.yearly) ** ((at - last).total_seconds() / (365.25 * 86_400)) for at in steps]
    axes.plot(_times(steps, report), growing, color=ink.blue, linewidth=1.2, label=f"{told.yearly:+.0%} a year")
    axes.axhline(times * told.capacity, color=ink.red, linewidth=1.2, linestyle="--", label=f"capacity of {queue.consumers}")
    if told.earliest is not None and told.earliest < until:
        ends = _times([told.earliest, min(told.latest or until, until)], report)
        axes.axvspan(ends[0], ends[1], color=ink.amber, alpha=0.18, linewidth=0, label="runs out")
    if told.at is not None and told.at < until:
        axes.axvline(_times([told.at], report)[0], color=ink.amber, linewidth=1.2)
        axes.annotate(
            date(told.at, report.zone),
            (_times([told.at], report)[0], 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            color=ink.ink,
            fontsize=9,
        )
    _finish(axes, unit)


def _latency(axes: Axes, queue: Queue, report: Report, ink: Ink) -> None:
    """P95 of the latency of each hour, and the target."""
    axes.plot(*_recent(queue.hours.latency, queue, report), color=ink.ink, linewidth=1, label="P95 of an hour")
    axes.axhline(report.target.seconds, color=ink.red, linewidth=1.2, linestyle="--", label="target")
    _finish(axes, "seconds from enqueued to settled")


def _depth(axes: Axes, queue: Queue, report: Report, ink: Ink) -> None:
    """The most messages that waited in each hour."""
    at, depth = _recent(queue.hours.depth, queue, report)
    axes.fill_between(at, depth, color=ink.blue, alpha=0.35, linewidth=0, step="mid", label="most in an hour")
    _finish(axes, "messages waiting")


def _schedule(axes: Axes, queue: Queue, report: Report, ink: Ink) -> None:
    """The cheapest consumers of the week ahead."""
    hours = queue.hours
    count = min(len(hours.consumers), 168)
    at = _times([*hours.ahead[:count], hours.ahead[count - 1] + timedelta(hours=1)], report)
    axes.stairs(hours.consumers[:count], at, color=ink.blue, fill=True, alpha=0.35, label="cheapest that keep the target")
    axes.axhline(queue.consumers, color=ink.ink, linewidth=1.2, linestyle="--", label="today")
    _finish(axes, "consumers")


def _review(axes: Axes, queue: Queue, report: Report, ink: Ink) -> None:
    """What the last report forecast, and what came."""
    told = queue.review
    assert told is not None
    times, unit = _unit(queue)
    at = _times(told.at, report)
    _band(axes, at, times * np.array(told.p50), times * np.array(told.p95), ink, "forecast, P50 to P95")
    axes.plot(at, times * np.array(told.actual), color=ink.ink, linewidth=1, label="happened")
    _finish(axes, unit)


PLOTS: dict[str, tuple[str, Draw, Callable[[Queue], bool]]] = {
    "demand": ("Demand: the last three weeks and what comes", _demand, lambda queue: bool(queue.hours.at)),
    "growth": (
        "Growth: busy hours against capacity",
        _growth,
        lambda queue: bool(queue.headroom and queue.headroom.yearly is not None),
    ),
    "latency": ("Latency against the target", _latency, lambda queue: any(each is not None for each in queue.hours.latency)),
    "depth": ("Depth of the queue", _depth, lambda queue: any(each is not None for each in queue.hours.depth)),
    "schedule": ("Consumers by the hour, the week ahead", _schedule, lambda queue: len(set(queue.hours.consumers)) > 1),
    "review": ("The last forecast and what happened", _review, lambda queue: queue.review is not None),
}
"""By name: the title, what draws it, and whether a queue has what it shows."""


def _busy_weeks(at: list[datetime], rates: list[float | None]) -> list[tuple[datetime, float]]:
    """The P95 of each week, counted back from the last hour as the growth is."""
    found = []
    for end in range(len(at), 167, -168):
        known = [rate for rate in rates[end - 168 : end] if rate is not None]
        if len(known) >= 84:
            found.append((at[end - 84], float(np.quantile(known, 0.95))))
    return found[::-1]


def _band(axes: Axes, at: Any, low: Any, high: Any, ink: Ink, label: str) -> None:
    """What was forecast, from one quantile to another."""
    axes.fill_between(at, low, high, color=ink.blue, alpha=0.25, linewidth=0, label=label)


def _times(at: Sequence[datetime], report: Report) -> Any:
    """Days as matplotlib counts them, by the clocks of the zone."""
    from matplotlib.dates import date2num

    zone = ZoneInfo(report.zone)
    convert: Any = date2num
    return convert([each.astimezone(zone).replace(tzinfo=None) for each in at])


def _recent(values: Sequence[float | None], queue: Queue, report: Report) -> tuple[Any, Any]:
    """Times and values of the last weeks; what is unknown leaves a gap."""
    start = queue.hours.at[-1] - _PAST
    rows = [(at, value) for at, value in zip(queue.hours.at, values, strict=True) if at >= start]
    known = np.array([np.nan if value is None else value for _, value in rows])
    return _times([at for at, _ in rows], report), known


def _finish(axes: Axes, unit: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.xaxis_date()
    axes.set_title(unit, loc="left", pad=18)
    locator: Any = AutoDateLocator
    formatter: Any = ConciseDateFormatter
    where = locator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(where)
    axes.xaxis.set_major_formatter(formatter(where))
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0.1, handlelength=1.4, columnspacing=1)
