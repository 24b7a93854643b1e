"""Advice on policies that watch: what they decided in the shadow, and would have gained."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from math import inf, isfinite
from typing import Any

import msgspec
import polars as pl

from warren.analytics import gains
from warren.analytics.advice.contents import Advice, part, times
from warren.analytics.advice.steps import Seen
from warren.analytics.gains import recorded
from warren.analytics.retries.replay import replay as replayed_retries
from warren.analytics.routing.replay import replay as replayed_routes
from warren.analytics.tuning.replay import replay as replayed_knobs
from warren.core.clock import seconds
from warren.core.policies import Decision

__all__ = ["shadows"]

_LONGEST = 300.0
"""The longest delay of a policy for retries, where nothing else is said."""
_PROVEN = 3
_RETRIES = re.compile(r"adaptive\((.+)\)")
_REMEDIES = "remedies"


def shadows(known: Seen) -> Iterator[Advice]:
    """What policies in the shadow have shown: let them act where that gains, for sure, and leave them where it does not."""
    rows = known.flows.decisions.filter(pl.col("pipeline").cast(pl.String) == known.name).collect()
    for (stage, policy), some in rows.group_by(pl.col("stage", "policy").cast(pl.String), maintain_order=True):
        made = list(recorded(some))
        watched = [each for each in made if each.mode == "shadow" and each.success is not None]
        if not watched:
            continue
        about: dict[str, Any] = {"pipeline": known.name, "stage": str(stage), "setting": str(policy)}
        yield _remedy(about, watched) if stage == _REMEDIES else _shown(about, str(policy), made, watched)


def _shown(about: dict[str, Any], policy: str, made: Sequence[Decision], watched: Sequence[Decision]) -> Advice:
    differ = sum(each.choice != each.static for each in watched) / len(watched)
    evidence = f"{len(watched):,} decisions in the shadow, of which {part(differ)} would have been others"
    replay = _replay(policy)
    if replay is None:
        return Advice(**about, evidence=evidence, expected="What it would gain is known to itself alone: ask its gain().")
    gain = replay(made)
    if not gain.least > 0:
        guess = f"the best guess is {part(gain.share)}" if isfinite(gain.least) else "there is too little to compare"
        more = "It is not sure that it gains anything: leave it in the shadow, and let it watch for longer"
        return Advice(**about, evidence=f"{evidence}; {guess}", expected=f"{more}.")
    ratio = 1 / (1 - min(gain.share, 0.999))
    return Advice(
        **about,
        now=f'{policy}: mode="shadow"',
        proposed=f'{policy}: mode="act"',
        gain=ratio,
        of="time",
        expected=f"{times(ratio)} less time for a message, {part(gain.least)} less at least (97.5 % sure).",
        evidence=f"{evidence}; {gain.matched:,} happened to be done as it would have them",
        risk="where all messages go by it, others wait than those that were watched: look at it when it acts",
    )


def _replay(policy: str) -> Callable[[Sequence[Decision]], gains.Gain] | None:
    if policy == "EarliestFinish":
        return replayed_routes
    if policy.startswith("Tuner("):
        return replayed_knobs
    found = _RETRIES.fullmatch(policy)
    if found is None:
        return None
    initial = seconds(found[1])

    def replay(made: Sequence[Decision]) -> gains.Gain:
        # A recording has choices as texts.
        delays = [msgspec.structs.replace(each, static=_number(each.static)) for each in made]
        return replayed_retries([each for each in delays if each.static < inf], initial, _LONGEST)

    return replay


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return inf


def _remedy(about: dict[str, Any], watched: Sequence[Decision]) -> Advice:
    lasted = sum(not each.success for each in watched)
    evidence = f"{len(watched):,} time(s) in the dry run there was trouble, and {lasted:,} time(s) it outlasted the remedy"
    if lasted < max(_PROVEN, len(watched) / 2):
        return Advice(**about, evidence=evidence, expected="It mostly goes away by itself: leave the remedy a dry run.")
    return Advice(
        **about,
        now="warren run --remedies FILE",
        proposed="warren run --remedies FILE --act",
        evidence=evidence,
        expected="The trouble that it is for does not go away by itself.",
        risk="that it helps is known only once it has acted: compare how often trouble is over by then",
    )
