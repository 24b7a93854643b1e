"""Advice on retries and dead letters, from what became of failed messages."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Iterator
from typing import Any

import polars as pl

from warren.analytics.advice.contents import Advice, part, times
from warren.analytics.advice.steps import Seen
from warren.analytics.errors import ErrorClasses
from warren.analytics.report.hours import Part

__all__ = ["failures"]

_HOPE = 0.05
_HELPED = 0.25
_LEFT = 0.1
_FEW = 20
_SURE = 1.96
_CLASSES = 5
_LONGEST = 100
_BETTER = 1.25
_REMEDIES = {
    "transient": "replay them, and retry longer",
    "overload": "replay them slowly, and retry with longer delays or a budget",
    "permanent": "put right what they need, then replay them; retries do not help",
    "poison": "mend the messages or the step that refuses them; retries do not help",
}


def failures(known: Seen) -> Iterator[Advice]:
    """What to change in retries, and what to do about dead letters."""
    trips = known.flows.trips.filter(pl.col("pipeline").cast(pl.String) == known.name)
    words = pl.col("outcome", "error").cast(pl.String)
    rows = trips.group_by(words, "attempts").agg(pl.len().alias("messages")).collect()
    if rows.filter(pl.col("error").is_not_null()).is_empty():
        return
    classes = ErrorClasses()
    classes.add_flows(Part(known.flows, known.name))
    table = classes.table().with_columns(kind=pl.col("example").str.split(":").list.first())
    hopeless = yield from _hopeless(known, rows, table)
    yield from _attempts(known, rows, hopeless)
    yield from _delays(known, classes, table, hopeless)
    yield from _letters(known, rows, table)


def _hopeless(known: Seen, rows: pl.DataFrame, table: pl.DataFrame) -> Generator[Advice, None, set[str]]:
    """Give up at once on errors that hardly ever go away; returns their types."""
    good = rows.filter(pl.col("outcome").is_in(["delivered", "filtered"]), pl.col("attempts") > 1)
    # A message that went well in the end does not say with which error it failed before: it may have been any.
    unknown = int(good["messages"].sum())
    every = int((rows["messages"] * rows["attempts"]).sum())
    found: set[str] = set()
    for (kind,), some in table.sort("messages", descending=True).group_by("kind", maintain_order=True):
        messages, tries, helped = (int(some[name].sum()) for name in ("messages", "retried", "recovered"))
        if not tries:
            continue
        hope, possible = _most(helped, tries), _most(helped + unknown, tries + unknown)
        about: dict[str, Any] = {"pipeline": known.name, "stage": some["stage"][0] or str(kind), "setting": "retry"}
        evidence = f"{messages:,} message(s) failed with {kind}, and {helped:,} of {tries:,} retries helped"
        if possible < _HOPE:
            found.add(str(kind))
            gain = every / max(1, every - tries)
            saved = f"{tries:,} of {every:,} attempts are saved, {times(gain)} fewer for the same messages"
            yield Advice(
                **about, now=_retry(known), proposed=_rule(known, str(kind), 'constant("1s", attempts=1)'), gain=gain,
                of="attempts", expected=f"{saved}.", risk=f"a {kind} that would have gone away becomes a dead letter too",
                evidence=f"{evidence}; at most {part(possible)} can help (97.5 % sure), {unknown:,} of unknown error",
            )  # fmt: skip
        elif hope < _HOPE:
            yield Advice(
                **about,
                evidence=f"{evidence}; {unknown:,} retried message(s) went well, and flows do not say after which error",
                expected="Too little is known to give it up at once; AdaptiveBackoff in its shadow mode tells each class.",
            )
    return found


def _attempts(known: Seen, rows: pl.DataFrame, hopeless: set[str]) -> Iterator[Advice]:
    """More attempts, where the last one still helps often."""
    hoping = rows.filter(
        pl.col("outcome") == "dead_lettered", ~pl.col("error").is_in(sorted(hopeless)), pl.col("attempts") > 1
    )
    dead = int(hoping["messages"].sum())
    if dead < _FEW:
        return
    last = int(hoping["attempts"].max())  # type: ignore[arg-type]  # there are some
    ended = rows.filter(pl.col("attempts") == last, pl.col("outcome").is_in(["delivered", "filtered"]))
    good, lost = int(ended["messages"].sum()), int(hoping.filter(pl.col("attempts") == last)["messages"].sum())
    chance = good / (good + lost)
    if lost < _FEW or chance < _HELPED or lost < dead / 2:
        return
    more = min(_LONGEST, math.ceil(math.log(_LEFT) / math.log(1 - chance)))
    gain = (1 - chance) ** -more
    fewer = f"{dead:,} dead letters become about {dead * (1 - chance) ** more:.0f}"
    yield Advice(
        pipeline=known.name,
        stage=_retry(known),
        setting="attempts",
        now=f"retry(..., attempts={last})",
        proposed=f"retry(..., attempts={last + more})",
        gain=gain,
        of="dead letters",
        expected=f"{fewer}, {times(gain)} fewer, if later attempts go well as often as the last one.",
        evidence=f"{part(chance)} of {good + lost:,} messages went well at attempt {last}, the last one",
        risk="messages that fail for good are kept longer, and whatever is down gets more calls",
    )


def _delays(known: Seen, classes: ErrorClasses, table: pl.DataFrame, hopeless: set[str]) -> Iterator[Advice]:
    """Another delay, where the retries of a class went well more often after it."""
    for row in table.filter(~pl.col("kind").is_in(sorted(hopeless))).iter_rows(named=True):
        curve = classes.curve(row["class"]).filter(pl.col("retried") >= _FEW, pl.col("recovered") > 0)
        if curve.height < 2:
            continue
        costs = curve.with_columns(cost=pl.col("delay_s") / pl.col("success"))
        usual, best = costs.sort("retried").row(-1, named=True), costs.sort("cost").row(0, named=True)
        if best["delay_s"] == usual["delay_s"] or usual["cost"] < _BETTER * best["cost"]:
            continue
        delay, gain = best["delay_s"], usual["cost"] / best["cost"]
        # So many that one in a hundred is left.
        attempts = 1 + min(_LONGEST, math.ceil(math.log(0.01) / math.log(1 - min(best["success"], 0.99))))
        yield Advice(
            pipeline=known.name,
            stage=row["stage"] or row["kind"],
            setting="retry",
            now=_retry(known),
            proposed=_rule(known, row["kind"], f'constant("{delay:g}s", attempts={attempts})'),
            gain=gain,
            of="wait",
            expected=f"A success costs {best['cost']:.3g} s of waiting, not {usual['cost']:.3g} s: {times(gain)} less.",
            evidence=f"of {best['retried']:,} retries after about {delay:g} s {part(best['success'])} went well, of "
            f"{usual['retried']:,} after about {usual['delay_s']:g} s {part(usual['success'])}",
            risk="what failed in the same moment is tried again in the same moment; add jitter=... where that is much",
        )


def _letters(known: Seen, rows: pl.DataFrame, table: pl.DataFrame) -> Iterator[Advice]:
    """What to do about the most frequent classes of dead letters."""
    dead = rows.filter(pl.col("outcome") == "dead_lettered").group_by("error").agg(pl.col("messages").sum())
    counts: dict[str, int] = defaultdict(int, dead.iter_rows())
    for row in table.head(_CLASSES).iter_rows(named=True):
        if not counts[row["kind"]]:
            continue
        yield Advice(
            pipeline=known.name,
            stage=row["stage"] or row["kind"],
            setting="dead letters",
            expected=f"It looks {row['suggestion']}: {_REMEDIES[row['suggestion']]}.",
            evidence=f"{row['messages']:,} failure(s) with {row['kind']}; {row['reason']}",
        )


def _most(good: int, all: int) -> float:
    """The most that a probability can be, 97.5 % sure (Wilson's bound).

    >>> round(_most(0, 100), 3)
    0.037
    """
    share, square = good / all, _SURE**2
    root = _SURE * math.sqrt(share * (1 - share) / all + square / (4 * all * all))
    return (share + square / (2 * all) + root) / (1 + square / all)


def _retry(known: Seen) -> str:
    """The step that tries again, as far as it is known."""
    found = [name for name in known.graph if name.startswith("retry(")]
    return found[0] if len(found) == 1 else "retry(...)"


def _rule(known: Seen, kind: str, policy: str) -> str:
    step = known.graph.get(_retry(known))
    # Of several policies the names do not say which is for what.
    now = step.name[len("retry(") : -1] if step is not None and len(getattr(step, "backoffs", ())) == 1 else "..."
    return f"retry({{{kind}: {policy}, Exception: {now}}})"
