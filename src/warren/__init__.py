"""Compose message-processing pipelines from small operators: nothing lost, easy to read, fast.

>>> from warren import Pipeline
>>> from warren.connectors import memory
>>> from warren.operators import map
>>> out = []
>>> Pipeline("hello", memory.items(["world"]) | map(lambda name: f"hello {name}") | memory.into(out)).run()
>>> out
['hello world']
"""

from typing import TYPE_CHECKING

from warren.core.lazy import lazily

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

__getattr__, __dir__ = lazily(__name__, _HOMES)
