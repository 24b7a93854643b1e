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

from typing import TYPE_CHECKING

from warren.core.lazy import lazily

if TYPE_CHECKING:
    from warren.analytics.alarms import Alarms
    from warren.analytics.bottlenecks import Bottleneck, bottleneck, limits
    from warren.analytics.checking import check_detector
    from warren.analytics.detectors import Detector, detector, detector_names, load
    from warren.analytics.deviation import Deviation
    from warren.analytics.errors import ErrorClasses
    from warren.analytics.flows import Flows
    from warren.analytics.intervals import incidents, measured
    from warren.analytics.logs import Logs
    from warren.analytics.marking import Marked, anomalies
    from warren.analytics.metrics import Metrics
    from warren.analytics.novelty import Novelty
    from warren.analytics.outliers import Outliers
    from warren.analytics.recorder import Recorder
    from warren.analytics.retries import AdaptiveBackoff
    from warren.analytics.summary import render, render_bottlenecks
    from warren.analytics.traces import Traces
    from warren.analytics.tuning import Tuner
    from warren.analytics.upkeep import compact, expire

__all__ = [
    "AdaptiveBackoff",
    "Alarms",
    "Bottleneck",
    "Detector",
    "Deviation",
    "ErrorClasses",
    "Flows",
    "Logs",
    "Marked",
    "Metrics",
    "Novelty",
    "Outliers",
    "Recorder",
    "Traces",
    "Tuner",
    "anomalies",
    "bottleneck",
    "check_detector",
    "compact",
    "detector",
    "detector_names",
    "expire",
    "incidents",
    "limits",
    "load",
    "measured",
    "render",
    "render_bottlenecks",
]

_HOMES = {
    "AdaptiveBackoff": "warren.analytics.retries",
    "Alarms": "warren.analytics.alarms",
    "Bottleneck": "warren.analytics.bottlenecks",
    "Detector": "warren.analytics.detectors",
    "Deviation": "warren.analytics.deviation",
    "ErrorClasses": "warren.analytics.errors",
    "Flows": "warren.analytics.flows",
    "Logs": "warren.analytics.logs",
    "Marked": "warren.analytics.marking",
    "Metrics": "warren.analytics.metrics",
    "Novelty": "warren.analytics.novelty",
    "Outliers": "warren.analytics.outliers",
    "Recorder": "warren.analytics.recorder",
    "Traces": "warren.analytics.traces",
    "Tuner": "warren.analytics.tuning",
    "anomalies": "warren.analytics.marking",
    "bottleneck": "warren.analytics.bottlenecks",
    "check_detector": "warren.analytics.checking",
    "compact": "warren.analytics.upkeep",
    "detector": "warren.analytics.detectors",
    "detector_names": "warren.analytics.detectors",
    "expire": "warren.analytics.upkeep",
    "incidents": "warren.analytics.intervals",
    "limits": "warren.analytics.bottlenecks",
    "load": "warren.analytics.detectors",
    "measured": "warren.analytics.intervals",
    "render": "warren.analytics.summary",
    "render_bottlenecks": "warren.analytics.summary",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
