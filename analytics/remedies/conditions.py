"""Rules over a figure or a metric: beyond a bound, or unusual."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from math import isfinite
from typing import Any

import msgspec

from warren.analytics.alarms import Alarms
from warren.analytics.detectors import Detector, detector
from warren.analytics.metrics import FAMILIES
from warren.analytics.remedies.figures import Figures
from warren.core.errors import GraphError

__all__ = ["Condition", "Rule", "beyond", "unusual"]

_log = logging.getLogger("warren.remedies")

Rule = Callable[[Figures], "str | bool | None"]
"""Given the latest figures, whether something is wrong: a reason in words, or just ``True``."""

_OTHERS = ("at", "seconds", "health", "metrics")
_FIGURES = tuple(field for field in Figures.__struct_fields__ if field not in _OTHERS)
_PREFIX = "warren_"


def beyond(
    figure: str,
    *,
    above: float | None = None,
    below: float | None = None,
    labels: Mapping[str, str] | None = None,
    quantile: float | None = None,
) -> Rule:
    """A rule that fires while a figure is above a bound, or below one.

    ``figure`` is one of `Figures`, or the name of a metric: a gauge as it is, a counter as how much came in a second, a
    histogram as the ``quantile`` of what came since the last look, or the mean. Of those that have the ``labels`` one is
    enough. What is missing or no number fires nothing.

    Raises `GraphError` for a figure or a label that there is not, and where no bound is given.

    >>> beyond("dead_share", above=0.2)(Figures(at=0.0, seconds=5.0, dead_share=0.25))
    'dead_share is 0.25, above 0.2'
    """
    title = f"beyond({figure!r}, above={above!r}, below={below!r})"
    read = _reader(figure, labels, quantile, "beyond")
    if not any(map(_is_number, (above, below))) or not all(bound is None or _is_number(bound) for bound in (above, below)):
        raise GraphError(f"{title}: give a number that the figure is not to be above, or below")

    def rule(figures: Figures) -> str | None:
        found = read(figures)
        if not found:
            return None
        most, least = max(found, key=found.__getitem__), min(found, key=found.__getitem__)
        if above is not None and found[most] > above:
            return f"{_named(figure, most)} is {found[most]:.4g}, above {above:.4g}"
        if below is not None and found[least] < below:
            return f"{_named(figure, least)} is {found[least]:.4g}, below {below:.4g}"
        return None

    return rule


def unusual(
    figure: str,
    detector: Detector,
    alarms: Alarms | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    quantile: float | None = None,
) -> Rule:
    """A rule that fires where a detector finds a figure unusual: one alarm for an incident, as `Alarms` says.

    The detector learns every value; of a metric each label has a copy of it. ``figure``, ``labels`` and ``quantile`` are
    those of `beyond`. Raises `GraphError` for a figure that there is not.

    >>> from warren.analytics import Deviation
    >>> unusual("failed", Deviation())(Figures(at=0.0, seconds=5.0, failed=0.1)) is None
    True
    """
    read = _reader(figure, labels, quantile, "unusual")
    given = (detector, alarms or Alarms(detector.threshold))
    models = {"": given}
    fresh = deepcopy(given)

    def rule(figures: Figures) -> str | None:
        reasons = []
        for words, value in read(figures).items():
            if words not in models:
                models[words] = deepcopy(fresh)
            model, chosen = models[words]
            score = model.score_one(value, figures.at)
            model.learn_one(value, figures.at)
            if chosen.step(score):
                reasons.append(f"{_named(figure, words)} is unusual: {value:.4g}, with a score of {score:.3g}")
        return "; ".join(reasons) or None

    return rule


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule as plain values, as a file has it: that of `beyond`, or with the name of a detector that of `unusual`.

    >>> Condition("dead_share", above=0.2).rule()(Figures(at=0.0, seconds=5.0, dead_share=0.1)) is None
    True
    """

    figure: str
    above: float | None = None
    below: float | None = None
    labels: dict[str, str] = {}
    quantile: float | None = None
    unusual: str | None = None

    def rule(self) -> Rule:
        """The rule. Raises `GraphError` where it cannot be one, and `PluginError` for a detector that there is not."""
        if self.unusual is None:
            return beyond(self.figure, above=self.above, below=self.below, labels=self.labels, quantile=self.quantile)
        if self.above is not None or self.below is not None:
            raise GraphError(f"{self.figure}: give bounds, or unusual = {self.unusual!r}, not both")
        return unusual(self.figure, detector(self.unusual)(), labels=self.labels, quantile=self.quantile)


def _reader(
    figure: str, labels: Mapping[str, str] | None, quantile: float | None, title: str
) -> Callable[[Figures], Mapping[str, float]]:
    """What gives the values of a figure or a metric, by their labels in words."""
    wanted = dict(labels or {})
    if quantile is not None and not (_is_number(quantile) and 0 < quantile < 1):
        raise GraphError(f"{title}({figure!r}, quantile={quantile!r}): a quantile lies between 0 and 1")
    if figure in _FIGURES:
        if wanted or quantile is not None:
            raise GraphError(f"{title}({figure!r}): labels and quantiles are of metrics, which {figure} is none of")
        return lambda figures: {} if not _is_number(value := getattr(figures, figure)) else {"": value}
    family = FAMILIES.get(figure.removesuffix("_total"))
    if family is None and (figure.startswith(_PREFIX) or "_" not in figure or figure in _OTHERS):
        raise GraphError(
            f"{title}({figure!r}): there is no such figure; there are {', '.join(_FIGURES)} and what /metrics shows"
        )
    if family is not None and (unknown := wanted.keys() - {"pipeline", *family.labels}):
        known = ", ".join(("pipeline", *family.labels))
        raise GraphError(f"{title}({figure!r}): it has no label {min(unknown)!r}; it has {known}")

    def read(figures: Figures) -> Mapping[str, float]:
        if figures.metrics is None:
            raise GraphError(f"{title}({figure!r}): no metrics are known; give metrics=Metrics() where this rule is used")
        return figures.metrics.each(figure, wanted, quantile)

    return read


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _named(figure: str, words: str) -> str:
    return f"{figure} of {words}" if words else figure
