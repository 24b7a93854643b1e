"""Where spans go: a collector that takes OTLP over HTTP."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from warren.core.errors import AddressError

__all__ = ["Export", "endpoint_of"]

_FLUSH = 5.0
"""Seconds that the last spans have to get away."""


class Export:
    """What sends spans to a collector, in a thread of its own."""

    def __init__(self, endpoint: str, service: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
            # The environment does not name it.
            resource = resource.merge(Resource({SERVICE_NAME: service}))
        self.exporter = OTLPSpanExporter(endpoint)
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(self.exporter))

    def close(self) -> None:
        """Send what is left; a collector that is away is not waited for long."""
        closing = threading.Thread(target=self.provider.shutdown, name="warren-traces", daemon=True)
        closing.start()
        closing.join(_FLUSH)
        if closing.is_alive():
            self.exporter.shutdown()  # type: ignore[no-untyped-call]  # it ships none for this


def endpoint_of(given: str) -> str:
    """Where spans go, as an address that ends in the path that OTLP has for them."""
    try:
        url = urlsplit(str(given))
        fine = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        fine = False
    if not fine:
        # What was given may have a password in it.
        raise AddressError("the endpoint of Traces must be an address such as http://localhost:4318, where OTLP is taken")
    return given if given.endswith("/v1/traces") else f"{given.rstrip('/')}/v1/traces"
