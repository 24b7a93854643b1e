"""The plots of the page, as the plotting library's own data; colours are names that the page resolves."""

from __future__ import annotations

from html import escape
from typing import Any, TypeAlias

import polars as pl

from warren.apps.demo.totals import Totals
from warren.apps.demo.traffic import Traffic

__all__ = ["dead", "hours", "latency", "routes", "seconds"]

Plot: TypeAlias = dict[str, Any]

_LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}
_OUTCOMES = {
    "delivered": "--blue",
    "dead_lettered": "--red",
    "filtered": "--soft",
    "parked": "--amber",
    "released": "--amber",
}
_MARKED = 6.0


def hours(local: pl.DataFrame, scored: pl.DataFrame, ten: pl.DataFrame) -> Plot:
    """A calendar of hours in three layers, with the unusual ones marked. Times are New York's."""
    cells = local.group_by(day=pl.col("hour").dt.date(), at=pl.col("hour").dt.hour()).agg(
        pl.col("departures", "cancelled").sum(),
        delay=(pl.col("delay").fill_null(0) * pl.col("departures")).sum() / pl.col("departures").sum(),
    )
    days = sorted(cells["day"].unique().to_list())
    blues = [[0, "--low"], [0.5, "--middle"], [1, "--high"]]
    reds = [[0, "--calm"], [0.5, "--red"], [1, "--deep"]]
    layers = [
        _layer(0, cells, "departures", "departures", blues, None),
        _layer(1, cells.with_columns(pl.col("delay").fill_nan(None).round(1)), "delay", "minutes late", reds, 120),
        _layer(2, cells.with_columns(pl.col("cancelled").replace(0, None)), "cancelled", "cancelled", reds, None),
    ]
    rings = scored.filter(pl.col("score") > _MARKED)
    marks = {
        "type": "scatter",
        "mode": "markers",
        "meta": {},
        "x": rings["hour"].dt.date().dt.to_string().to_list(),
        "y": rings["hour"].dt.hour().to_list(),
        "marker": {"symbol": "circle-open", "size": 7, "color": "--amber", "line": {"width": 1.5}},
        "text": [
            f"{row['cancelled']} of {row['flights']} cancelled<br>score {row['score']:.1f}"
            for row in rings.iter_rows(named=True)
        ],
        "hovertemplate": "%{x|%d %B}, %{y}:00<br>%{text}<extra></extra>",
        "showlegend": False,
    }
    labels = [
        {
            "x": f"{row['hour']:%Y-%m-%d}",
            "y": row["hour"].hour,
            "text": f"<b>{number}</b>",
            "showarrow": True,
            "arrowhead": 0,
            "arrowcolor": "--amber",
            "ax": 16,
            "ay": -16,
            "font": {"color": "--ink", "size": 12},
            "bgcolor": "--card",
            "bordercolor": "--amber",
            "borderpad": 2,
        }
        for number, row in enumerate(ten.iter_rows(named=True), 1)
        if row["score"] > _MARKED
    ]
    return {
        "data": [*layers, marks],
        "layout": {
            "annotations": labels,
            "xaxis": {
                "showgrid": False,
                "tickformat": "%b" if len(days) > 60 else "%d %b",
                "dtick": "M1" if len(days) > 60 else None,
                "ticklabelmode": "period" if len(days) > 60 else "instant",
                "range": [f"{days[0]} 00:00", f"{days[-1]} 00:00"] if len(days) > 60 else None,
            },
            "yaxis": {
                "showgrid": False,
                "range": [23.6, 4.4],
                "tickvals": [6, 9, 12, 15, 18, 21],
                "ticktext": ["06:00", "09:00", "12:00", "15:00", "18:00", "21:00"],
            },
        },
    }


def _layer(number: int, cells: pl.DataFrame, column: str, unit: str, scale: list[Any], top: int | None) -> Plot:
    return {
        "type": "heatmap",
        "meta": {"layer": number},
        "x": cells["day"].dt.to_string().to_list(),
        "y": cells["at"].to_list(),
        "z": cells[column].to_list(),
        "colorscale": scale,
        "zmin": 0,
        **({} if top is None else {"zmax": top}),
        "hovertemplate": f"%{{x|%A, %d %B}}, %{{y}}:00<br>%{{z}} {unit}<extra></extra>",
        "colorbar": {"thickness": 10, "len": 0.9, "outlinewidth": 0, "title": {"text": unit, "side": "right"}},
    }


def latency(traffic: Traffic) -> Plot:
    """Which share of the messages was settled within which time."""
    marked = [(0.5, traffic.p50, "p50"), (0.99, traffic.p99, "p99")]
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "x": traffic.spread["latency"].to_list(),
                "y": traffic.spread["share"].to_list(),
                "line": {"color": "--blue", "width": 2},
                "hovertemplate": "%{y:.1%} within %{x:,.0f} ms<extra></extra>",
            },
            {
                "type": "scatter",
                "mode": "markers",
                "x": [value for _, value, _ in marked],
                "y": [share for share, _, _ in marked],
                "marker": {"size": 9, "color": "--blue", "line": {"color": "--card", "width": 2}},
                "hoverinfo": "skip",
                "cliponaxis": False,
            },
        ],
        "layout": {
            "showlegend": False,
            "annotations": [
                {
                    "x": value,
                    "y": share,
                    "text": f"{name} {value:,.0f} ms",
                    "xanchor": anchor,
                    "yanchor": "top",
                    "yshift": -6,
                    "xshift": 8 if anchor == "left" else 0,
                    "showarrow": False,
                    "font": {"color": "--ink"},
                }
                for (share, value, name), anchor in zip(marked, ("left", "right"), strict=True)
            ],
            "xaxis": {"title": {"text": "milliseconds"}, "rangemode": "tozero"},
            "yaxis": {"tickformat": ".0%", "range": [0, 1.02]},
        },
    }


def seconds(traffic: Traffic) -> Plot:
    """How many messages were settled in each second."""
    table = traffic.seconds.with_columns(after=(pl.col("second") - pl.col("second").min()).dt.total_seconds())
    data = []
    for outcome in [name for name in _OUTCOMES if name in set(table["outcome"])]:
        rows = table.filter(pl.col("outcome") == outcome)
        data.append(
            {
                "type": "bar",
                "name": escape(outcome.replace("_", "-")),
                "x": rows["after"].to_list(),
                "y": rows["len"].to_list(),
                "marker": {"color": _OUTCOMES[outcome], "line": {"color": "--card", "width": 1}},
                "hovertemplate": "second %{x}: %{y:,}<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": {
            "barmode": "stack",
            "bargap": 0.1,
            "showlegend": True,
            "legend": _LEGEND,
            "xaxis": {"title": {"text": "seconds"}},
            "yaxis": {"tickformat": ",d"},
        },
    }


def routes(totals: Totals) -> Plot:
    """What each airport's messages became."""
    table = totals.airports.reverse()
    kinds = {"departures": "--blue", "cancelled": "--amber", "undecodable": "--red"}
    names = [escape(name) for name in table["airport"]]
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "name": kind,
                "x": table[kind].to_list(),
                "y": names,
                "marker": {"color": colour, "line": {"color": "--card", "width": 1}},
                "hovertemplate": f"%{{y}}: %{{x:,}} {kind}<extra></extra>",
            }
            for kind, colour in kinds.items()
        ],
        "layout": {"barmode": "stack", "bargap": 0.4, "legend": _LEGEND, "xaxis": {"tickformat": ",d"}},
    }


def dead(totals: Totals) -> Plot:
    """How many dead letters have which reason."""
    reasons = list(reversed(totals.dead.items()))
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": [count for _, count in reasons],
                "y": list(range(len(reasons))),
                "text": [f"{escape(reason)}: <b>{count:,}</b>" for reason, count in reasons],
                "textposition": "none",
                "marker": {"color": "--red"},
                "hovertemplate": "%{text}<extra></extra>",
            }
        ],
        "layout": {
            "bargap": 0.72,
            "xaxis": {"tickformat": ",d"},
            "yaxis": {"showticklabels": False, "range": [-0.6, len(reasons) - 0.2]},
            # Reasons are sentences, so each stands above its bar.
            "annotations": [
                {
                    "x": 0,
                    "y": place,
                    "yshift": 16,
                    "xanchor": "left",
                    "text": f"{escape(reason)}  <b>{count:,}</b>",
                    "showarrow": False,
                    "font": {"color": "--ink"},
                }
                for place, (reason, count) in enumerate(reasons)
            ],
        },
    }
