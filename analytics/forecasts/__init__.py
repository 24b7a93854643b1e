"""Forecasts of many series at once, with quantiles and the coverage that they had on the past."""

import importlib
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: Polars takes a while."""
    if name not in _HOMES:
        raise AttributeError(f"module 'warren.analytics.forecasts' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
