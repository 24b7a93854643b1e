"""Recording flows and reading the recordings.

>>> import tempfile
>>> from warren import Pipeline
>>> from warren.analytics import Flows, Recorder
>>> from warren.connectors import memory
>>> from warren.operators import map
>>> folder, out = tempfile.mkdtemp(), []
>>> squares = Pipeline("squares", memory.items(range(3)) | map(lambda x: x * x) | memory.into(out))
>>> squares.observed(Recorder(folder)).run()
>>> Flows(folder).summary()["messages"].to_list()
[3]
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warren.analytics.detectors import detector
    from warren.analytics.flows import Flows
    from warren.analytics.recorder import Recorder
    from warren.analytics.summary import render

__all__ = ["Flows", "Recorder", "detector", "render"]

_HOMES = {
    "Flows": "warren.analytics.flows",
    "Recorder": "warren.analytics.recorder",
    "detector": "warren.analytics.detectors",
    "render": "warren.analytics.summary",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: Arrow and Polars take a while."""
    if name not in _HOMES:
        raise AttributeError(f"module 'warren.analytics' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
