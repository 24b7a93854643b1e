"""Forecasts of many series at once, with quantiles and the coverage that they had on the past."""

from typing import TYPE_CHECKING

from warren.core.lazy import lazily

if TYPE_CHECKING:
    from warren.analytics.forecasts.contract import Forecaster, check, find, names
    from warren.analytics.forecasts.model import Forecast, Model, fit, forecast, load
    from warren.analytics.forecasts.panels import Panel, panel
    from warren.analytics.forecasts.recorded import measures

__all__ = [
    "Forecast",
    "Forecaster",
    "Model",
    "Panel",
    "check",
    "find",
    "fit",
    "forecast",
    "load",
    "measures",
    "names",
    "panel",
]

_HOMES = {
    **dict.fromkeys(("Forecaster", "check", "find", "names"), "warren.analytics.forecasts.contract"),
    **dict.fromkeys(("Forecast", "Model", "fit", "forecast", "load"), "warren.analytics.forecasts.model"),
    **dict.fromkeys(("Panel", "panel"), "warren.analytics.forecasts.panels"),
    "measures": "warren.analytics.forecasts.recorded",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
