"""Compose message-processing pipelines from small operators: nothing lost, easy to read, fast.

>>> from warren import Pipeline
>>> from warren.connectors import memory
>>> from warren.operators import map
>>> out = []
>>> Pipeline("hello", memory.items(["world"]) | map(lambda name: f"hello {name}") | memory.into(out)).run()
>>> out
['hello world']
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warren.core.errors import WarrenError
    from warren.core.message import Metadata
    from warren.operators.backoff import constant, decorrelated, exponential, linear
    from warren.pipelines.observe import observe
    from warren.pipelines.pipeline import Pipeline

__all__ = ["Metadata", "Pipeline", "WarrenError", "constant", "decorrelated", "exponential", "linear", "observe"]

_HOMES = {
    "Metadata": "warren.core.message",
    "Pipeline": "warren.pipelines.pipeline",
    "WarrenError": "warren.core.errors",
    "constant": "warren.operators.backoff",
    "decorrelated": "warren.operators.backoff",
    "exponential": "warren.operators.backoff",
    "linear": "warren.operators.backoff",
    "observe": "warren.pipelines.observe",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import warren`` stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module 'warren' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
