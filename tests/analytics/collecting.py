"""A collector of ours: takes spans as OTLP over HTTP does, protobuf and all, and keeps them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status


class Span(NamedTuple):
    """A span as it came over the wire; ids are hexadecimal, ``parent`` is empty at a root."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    about: dict[str, Any]
    failed: bool
    service: str
    start: int
    end: int


class Collector:
    """Spans that came, in the order of their starts."""

    def __init__(self) -> None:
        self.address = ""
        self.paths: list[str] = []
        self._spans: list[Span] = []
        self._guard = threading.Lock()

    @property
    def spans(self) -> list[Span]:
        with self._guard:
            return sorted(self._spans, key=lambda span: span.start)

    def named(self, *names: str) -> list[Span]:
        return [span for span in self.spans if span.name in names]

    def take(self, path: str, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        found = []
        for resource in request.resource_spans:
            service = {each.key: each.value.string_value for each in resource.resource.attributes}.get("service.name", "")
            found += [_span(sent, service) for scope in resource.scope_spans for sent in scope.spans]
        with self._guard:
            self.paths.append(path)
            self._spans += found


def _span(sent: Sent, service: str) -> Span:
    about = {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in sent.attributes}
    links = tuple((each.trace_id.hex(), each.span_id.hex()) for each in sent.links)
    return Span(
        sent.name,
        Sent.SpanKind.Name(sent.kind).removeprefix("SPAN_KIND_"),
        sent.trace_id.hex(),
        sent.span_id.hex(),
        sent.parent_span_id.hex(),
        links,
        about,
        sent.status.code == Status.STATUS_CODE_ERROR,
        service,
        sent.start_time_unix_nano,
        sent.end_time_unix_nano,
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens while this lasts."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(self.path, body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        collector.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
