"""What traces cost: the share of the throughput that is left with them, by processor time and how many are followed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Bar, Benchmark, Case, main
from benchmarks.observers import SHARE, in_memory, sides, through_sqlite

if TYPE_CHECKING:
    from warren import Pipeline

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


def case(name: str, build: Callable[[int, Path], Pipeline], sample: float, note: str) -> Case:
    @contextmanager
    def traced(pipeline: Pipeline, folder: Path) -> Iterator[Pipeline]:
        from warren.analytics import Traces

        spans = provider()
        yield pipeline.observed(Traces(provider=spans, sample=sample))
        spans.shutdown()

    return Case(name, SHARE, sides(build, traced), size=500_000, quick_size=50_000, note=note)


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
