"""What traces cost: processor time with them (``warren``) and without (``limit``), by the share of messages followed."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Benchmark, Case, Subject, main
from benchmarks.recording import in_memory, through_sqlite

__all__ = ["BENCHMARK"]


def provider() -> Any:
    """What makes of spans what would be sent, and sends nothing."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Encodes(SpanExporter):
        def export(self, spans: Sequence[Any]) -> SpanExportResult:
            encode_spans(spans).SerializeToString()
            return SpanExportResult.SUCCESS

    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(Encodes()))
    return made


def costs(build: Callable[[int, Path], Any], sample: float | None) -> Callable[[int], float]:
    """A subject that runs a pipeline until its source is empty; messages for each second of the processor."""

    def run(size: int) -> float:
        from warren.analytics import Traces

        with tempfile.TemporaryDirectory() as folder:
            pipeline, spans = build(size, Path(folder)), provider()
            if sample is not None:
                pipeline = pipeline.observed(Traces(provider=spans, sample=sample))
            start = time.process_time()
            pipeline.run(until_empty=True)
            spans.shutdown()
            return size / (time.process_time() - start)

    return run


def case(name: str, build: Callable[[int, Path], Any], sample: float, note: str) -> Case:
    subjects = [Subject("warren", costs(build, sample)), Subject("limit", costs(build, None))]
    return Case(name, "messages/s", subjects, size=1_000_000, quick_size=200_000, note=f"{note}; limit: without traces")


BENCHMARK = Benchmark(
    "traces",
    cases=[
        case("memory", in_memory, 0.0, "nothing is followed; the worst case: cheap steps in memory"),
        case("sqlite", through_sqlite, 0.0, "nothing is followed; durable queue to durable queue"),
        case("thousandth", through_sqlite, 0.001, "one in a thousand is followed, three spans each"),
        case("hundredth", through_sqlite, 0.01, "one in a hundred is followed, three spans each"),
    ],
    bars=[Bar("sqlite", "limit", 0.98)],
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
