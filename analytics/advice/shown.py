"""Advice as a table and as a diff of settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from warren.analytics.advice.contents import Advice

__all__ = ["diff", "render_advice"]


def diff(advice: Sequence[Advice]) -> str:
    """The settings as they are and as they are proposed, in the form of a unified diff; empty where none is proposed.

    >>> more = {"now": "map(ask, concurrency=2)", "proposed": "map(ask, concurrency=4)"}
    >>> print(diff([Advice(pipeline="orders", stage="1:map(ask)", setting="concurrency", evidence="it is busy", **more)]))
    --- orders
    +++ orders, as advised
    @@ 1:map(ask) @@
    - map(ask, concurrency=2)
    + map(ask, concurrency=4)
    """
    lines: list[str] = []
    last = None
    for each in advice:
        if each.proposed is None:
            continue
        if each.pipeline != last:
            last = each.pipeline
            lines += [f"--- {last}", f"+++ {last}, as advised"]
        lines += [f"@@ {each.stage} @@", *([f"- {each.now}"] if each.now is not None else []), f"+ {each.proposed}"]
    return "\n".join(lines)


def render_advice(advice: Sequence[Advice]) -> RenderableType:
    """A table, the reasons, and the diff of settings, for ``rich``'s ``print``.

    >>> print(render_advice([]))
    There is nothing to advise: no limit, no wait and no failure that a setting would change was recorded.
    """
    if not advice:
        return Text("There is nothing to advise: no limit, no wait and no failure that a setting would change was recorded.")
    return Group(*_parts(advice))


def _parts(advice: Sequence[Advice]) -> Iterator[RenderableType]:
    table = Table(title="Advice", title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("", "pipeline", "stage", "setting", "gain"):
        table.add_column(name, overflow="fold")
    for number, each in enumerate(advice, 1):
        gain = "" if each.gain is None else f"{min(each.gain, 100):.3g} x {each.of}"
        table.add_row(f"{number}", Text(each.pipeline), Text(each.stage), each.setting, gain)
    yield table
    for number, each in enumerate(advice, 1):
        risk = f" Risk: {each.risk}." if each.risk else ""
        yield Text(f"{number}. {each.expected} Seen: {each.evidence.rstrip('.')}.{risk}")
    if text := diff(advice):
        yield Text(f"\n{text}")
