"""A report as one page that needs neither scripts nor a network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from warren.analytics.report import words
from warren.analytics.report.contents import Queue, Report
from warren.analytics.report.plots import PLOTS, svg
from warren.analytics.report.tables import STATES, figures, tables

__all__ = ["html"]


def html(report: Report) -> str:
    """The page; every text of the recording is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def drawings(queue: Queue, number: int) -> Iterator[tuple[str, Markup]]:
        for name, (title, draw, shown) in PLOTS.items():
            if shown(queue):
                # What matplotlib wrote; it escapes the texts in it.
                yield title, Markup(svg(draw, queue, report, f"{number}-{name}"))

    names = Environment(
        loader=PackageLoader("warren.analytics.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return names.get_template("page.html").render(
        report=report,
        none=words.NONE,
        number=words.number,
        rate=words.rate,
        part=words.part,
        length=words.length,
        moment=partial(words.moment, zone=report.zone),
        runs_out=partial(words.runs_out, made=report.made, zone=report.zone),
        limited_by=words.limited_by,
        state=partial(words.state, report=report),
        states=STATES,
        verdict=partial(words.verdict, report=report),
        figures=figures,
        tables=partial(tables, report=report),
        plots=drawings,
    )
