"""Quantiles of forecasts from how wrong earlier ones were: conformal prediction, crossed over the times of forecasting.

Errors are measured in the unit of their series, and divided by how wrong forecasts of that series are at that time of the
day. What remains is alike for all series, so their quantiles are taken together, for each distance into the future.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from warren.analytics.forecasts.panels import Floats

__all__ = ["Calibration", "Tested", "calibrate", "spread"]

_OWN = 0.5  # how much the time of day counts beside the whole series: measured, docs/decisions/0021-forecasts.md
_TOGETHER = 400  # errors that a quantile is taken from, at least, where there are as many


@dataclass(frozen=True)
class Tested:
    """One time of forecasting in the past."""

    scale: Floats
    """Series by horizon: the usual error at the other times."""
    scores: Floats
    """Its own errors over that."""
    judges: list[Floats]
    """For each stretch of the horizon: the scores of the other times, sorted."""

    def quantile(self, level: float) -> Floats:
        """Series by horizon: how far from its forecast the quantile was, in the unit of the series."""
        return self.scale * _at(self.judges, level, self.scale.shape[1])


@dataclass(frozen=True)
class Calibration:
    """How wide forecasts are, and how that went on the past."""

    scale: Floats
    """Series by horizon: the usual error, in the unit of the series."""
    scores: list[Floats]
    """For each stretch of the horizon: errors over their scale, sorted."""
    tested: list[Tested]
    """Each time of forecasting, as the others judge it."""

    def quantile(self, level: float) -> Floats:
        """Series by horizon: how far from the forecast this quantile is, in the unit of the series."""
        return self.scale * _at(self.scores, level, self.scale.shape[1])

    def below(self, level: float) -> Floats:
        """For each series the share of its past values that were not above this quantile, none of which it was made from."""
        hits = np.zeros(len(self.scale))
        known = np.zeros(len(self.scale))
        for each in self.tested:
            with np.errstate(invalid="ignore"):
                hits += (each.scores <= _at(each.judges, level, each.scores.shape[1])).sum(1)
            known += (~np.isnan(each.scores)).sum(1)
        return np.where(known > 0, hits / np.maximum(known, 1), np.nan)


def calibrate(errors: Floats, origins: list[int], day: int) -> Calibration:
    """From errors (times of forecasting by series by horizon; NaN where nothing is known) made at these spans.

    What was forecast at one time is judged by the others whose horizon does not overlap it.
    """
    horizon = errors.shape[2]
    size = np.abs(errors)
    at = np.array(origins)
    apart = [np.abs(at - origin) >= horizon for origin in origins]
    scales = [spread(size[others], day) for others in apart]
    scored = [each / scale for each, scale in zip(errors, scales, strict=True)]
    bins = int(np.clip(np.isfinite(errors).sum() // _TOGETHER, 1, horizon))
    judges = [_sorted([scored[other] for other in np.flatnonzero(others)], bins) for others in apart]
    tested = [Tested(*each) for each in zip(scales, scored, judges, strict=True)]
    return Calibration(spread(size, day), _sorted(scored, bins), tested)


def spread(size: Floats, day: int) -> Floats:
    """The usual size of an error of each series at each horizon, never zero."""
    whole = _mean(size, (0, 2))
    middle = float(np.nanmedian(whole)) if np.isfinite(whole).any() else 0.0
    whole = 0.8 * np.where(np.isfinite(whole), whole, middle) + 0.2 * middle
    horizon = size.shape[2]
    phases = min(day, horizon)
    by_phase = np.stack([_mean(size[:, :, phase::phases], (0, 2)) for phase in range(phases)], 1)
    by_phase = np.where(np.isfinite(by_phase), by_phase, whole[:, None])
    if phases >= 12:
        by_phase = (np.roll(by_phase, 1, 1) + by_phase + np.roll(by_phase, -1, 1)) / 3
    told = by_phase[:, np.arange(horizon) % phases]
    return (1 - _OWN) * told + _OWN * whole[:, None] + 1e-9


def _mean(values: Floats, axes: tuple[int, int]) -> Floats:
    known = ~np.isnan(values)
    count = known.sum(axes)
    mean: Floats = np.where(count > 0, np.where(known, values, 0.0).sum(axes) / np.maximum(count, 1), np.nan)
    return mean


def _sorted(scores: list[Floats], bins: int) -> list[Floats]:
    stretches = np.array_split(np.arange(scores[0].shape[1]), bins)
    told = []
    for stretch in stretches:
        values = np.concatenate([each[:, stretch].ravel() for each in scores])
        told.append(np.sort(values[np.isfinite(values)]))
    return told


def _at(scores: list[Floats], level: float, horizon: int) -> Floats:
    """The quantile for each step of the horizon, a little outward, as few errors do not hold the furthest."""
    stretches = np.array_split(np.arange(horizon), len(scores))
    told = np.zeros(horizon)
    for stretch, values in zip(stretches, scores, strict=True):
        if len(values):
            outward = np.clip(0.5 + (level - 0.5) * (1 + 1 / len(values)), 0.0, 1.0)
            told[stretch] = np.quantile(values, outward)
    return told
