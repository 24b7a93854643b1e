"""A report on paper: the same figures, plots and tables."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from warren.analytics.report import words
from warren.analytics.report.contents import Queue, Report
from warren.analytics.report.plots import PLOTS, png
from warren.analytics.report.tables import STATES, Table, figures, tables

if TYPE_CHECKING:
    from fpdf import FPDF

__all__ = ["pdf"]

_SOFT, _INK = (91, 107, 122), (28, 39, 51)
_COLOURS = {"out": (192, 51, 43), "soon": (184, 110, 0), "well": (44, 122, 75), "unknown": _SOFT}
_FAMILY = "report"
_HEIGHT = 2.2


def pdf(report: Report) -> bytes:
    """The pages, A4."""
    from fpdf import FPDF

    class Paper(FPDF):
        def footer(self) -> None:
            self.set_y(-14)
            self.set_font(_FAMILY, size=8)
            self.set_text_color(*_SOFT)
            self.cell(0, 6, f"Capacity report, {words.moment(report.made, report.zone)} ({report.zone})")
            self.cell(0, 6, f"{self.page_no()}/{{nb}}", align="R")

    paper = Paper(format="A4")
    for style, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
        paper.add_font(_FAMILY, style, _font(file))
    paper.set_title("Capacity report")
    paper.set_creation_date(report.made)
    paper.set_margins(15, 15)
    paper.set_auto_page_break(True, margin=18)
    paper.add_page()
    _line(paper, "Capacity report", 18, bold=True)
    about = (
        f"{words.moment(report.made, report.zone)} ({report.zone}), from the flows in {report.flows}. The target: "
        f"{words.part(report.target.quantile)} of the messages within {words.length(report.target.seconds)}. "
        f"Horizon: {words.length(report.horizon)}."
    )
    _line(paper, about, 9, colour=_SOFT)
    for each in report.problems:
        _line(paper, f"• {each}", 9)
    _table(paper, _overview(report))
    for queue in report.queues:
        _queue(paper, queue, report)
    return bytes(paper.output())


def _font(file: str) -> str:
    """A font that knows most alphabets: the one that matplotlib brings."""
    from matplotlib import get_data_path

    return f"{get_data_path()}/fonts/ttf/{file}"


def _overview(report: Report) -> Table:
    rows = [
        [
            queue.pipeline,
            STATES[words.state(queue, report)],
            words.rate(queue.arrival.now) if queue.arrival else words.NONE,
            words.rate(queue.headroom.busy) if queue.headroom else words.NONE,
            words.part(queue.busy_utilisation),
            words.runs_out(queue.headroom, report.made, report.zone),
            words.limited_by(queue),
        ]
        for queue in report.queues
    ]
    return Table("", "", ["Queue", "State", "Now", "Busy hours", "In use when busy", "Runs out", "Limited by"], rows)


def _queue(paper: FPDF, queue: Queue, report: Report) -> None:
    paper.add_page()
    _line(paper, queue.pipeline, 15, bold=True)
    state = words.state(queue, report)
    _line(paper, STATES[state], 10, bold=True, colour=_COLOURS[state])
    _line(paper, words.verdict(queue, report), 10)
    for each in queue.problems:
        _line(paper, f"• {each}", 9, colour=_SOFT)
    if queue.sources:
        rows = [list(each) for each in figures(queue)]
        _table(paper, Table("", "", ["figure", "value", ""], rows))
    for title, draw, shown in PLOTS.values():
        if not shown(queue):
            continue
        height = paper.epw * _HEIGHT / 7.2
        if paper.will_page_break(height + 8):
            paper.add_page()
        _line(paper, title, 10, bold=True, above=3)
        paper.image(io.BytesIO(png(draw, queue, report, _HEIGHT)), w=paper.epw, alt_text=title)
    for table in tables(queue, report):
        _table(paper, table)


def _line(
    paper: FPDF, text: str, size: float, *, bold: bool = False, colour: tuple[int, int, int] = _INK, above: float = 0
) -> None:
    paper.ln(above)
    paper.set_font(_FAMILY, "B" if bold else "", size)
    paper.set_text_color(*colour)
    paper.multi_cell(0, size * 0.52, text, align="L", new_x="LMARGIN", new_y="NEXT")
    paper.ln(1)


def _table(paper: FPDF, table: Table) -> None:
    from fpdf.enums import TableBordersLayout
    from fpdf.fonts import FontFace

    if paper.will_page_break(30):
        paper.add_page()
    if table.title:
        _line(paper, table.title, 11, bold=True, above=4)
    if table.note:
        _line(paper, table.note, 9)
    if not table.rows:
        return
    paper.set_font(_FAMILY, "", 8)
    paper.set_text_color(*_INK)
    paper.set_draw_color(221, 227, 233)
    everything = [table.columns, *table.rows]
    columns = [[row[each] for row in everything] for each in range(len(table.columns))]
    # No word is broken, and none is as wide as a sentence would be.
    longest = [max(len(word) for cell in column for word in [*cell.split(), ""]) for column in columns]
    widths = [
        4 + max(6, min(word, 24), min(45, max(map(len, column)))) for word, column in zip(longest, columns, strict=True)
    ]
    heading = FontFace(emphasis="BOLD", color=_SOFT)
    with paper.table(
        everything,
        col_widths=tuple(widths),
        headings_style=heading,
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        text_align="LEFT",
        line_height=4.2,
        padding=(0.8, 1.5),
    ):
        pass
    paper.ln(2)
