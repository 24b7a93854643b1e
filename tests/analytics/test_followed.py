"""Random pipelines with traces and logs: their promises hold all the same, each span ends once, and nothing stays behind."""

from __future__ import annotations

import io
import logging
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.pipelines.graphs import Story
from tests.pipelines.world import virtually
from warren import Pipeline
from warren.analytics import Logs, Traces
from warren.core.handling import here


class Watched(logging.Handler):
    """Whatever libraries complain of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.1, 1.0]))
def test_random_pipelines_keep_their_promises_while_they_are_followed(seed: int, share: float) -> None:
    provider, exported = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    traces, watched = Traces(provider=provider, sample=share), Watched()

    class Followed(Story):
        def pipeline(self) -> Pipeline:
            return super().pipeline().observed(traces, Logs(stream=io.StringIO()))

    logging.getLogger("opentelemetry").addHandler(watched)
    try:
        virtually(Followed(random.Random(seed)).live)
    finally:
        logging.getLogger("opentelemetry").removeHandler(watched)
    spans = exported.get_finished_spans()
    ids = [span.context.span_id for span in spans if span.context is not None]
    assert len(ids) == len(set(ids)) and watched.said == []
    assert {span.parent.span_id for span in spans if span.parent is not None and not span.parent.is_remote} <= {0, *ids}
    assert not traces._followed and not traces._by_delivery and not traces._batches
    assert here.get() is None
