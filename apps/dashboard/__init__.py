"""A web page that shows pipelines at work: ``warren dashboard``, and ``warren run --dashboard``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warren.core.clock import Duration
    from warren.pipelines import Pipeline

__all__ = ["reported"]


def reported(pipeline: Pipeline, address: str, *, every: Duration = "1s") -> Pipeline:
    """The same pipeline, which tells a dashboard how it fares: a small report ``every`` second to the queue at ``address``.

    Any number of workers report to one address, and ``warren dashboard ADDRESS`` shows them together. A queue has one
    dashboard, an exchange of RabbitMQ as many as there are. Where none listens, nothing piles up.

    Delivery: the pipeline's guarantees do not depend on it; a report that cannot be sent is dropped, and logged the first
    time. Raises `AddressError` where the address leads nowhere, and `GraphError` where ``every`` is no length of time.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> reported(Pipeline("squares", memory.items([1, 2]) | memory.into([])), "memory:reports").run()
    >>> memory.Queue("reports").broker.depth("reports")
    1
    """
    from warren.apps.dashboard.graph import graph_of
    from warren.apps.dashboard.reporting import Reporting
    from warren.apps.dashboard.telling import Over

    return pipeline.observed(Reporting(graph_of(pipeline), Over(address), every=every))
