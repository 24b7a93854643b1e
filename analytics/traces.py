"""Follows messages from one system to the next by their headers, as spans of OpenTelemetry; few of them, as it is told."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

from warren.analytics.otlp import Export, endpoint_of
from warren.core.clock import Clock
from warren.core.errors import GraphError, fingerprint
from warren.core.handling import Around
from warren.core.hooks import Status
from warren.core.message import Outgoing
from warren.core.receipt import Delivery, Kind, Ledger, Merge, Outcome, Part, Parts, Share, Token

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider

__all__ = ["Traces"]

_SOURCE = "0:"
"""How the names of the stages begin that read."""
_REMEMBERED = 10_000
"""Messages that went back to their source whose traces are remembered, where their headers have none."""
_Found: TypeAlias = dict[int, list[int]]
"""By the places of values, the messages followed that they are of."""


class _Followed:
    """A message that is followed: its span, those of the batches that it is the first of, and where it came from."""

    __slots__ = ("batches", "key", "span")

    def __init__(self, span: Span, key: tuple[str, str] | None) -> None:
        self.span = span
        self.key = key
        self.batches: list[Merge] = []


class Traces:
    """Traces of one running pipeline for OpenTelemetry: what became of some messages, in it and in those before and after.

    It is an observer of a pipeline: ``pipeline.observed(Traces("http://localhost:4318"))``. The trace context travels in the
    headers ``traceparent`` and ``tracestate`` (W3C), into what sinks write and dead letters too; ``docs/traces.md`` says
    which spans there are. Needs ``pip install 'warren[traces]'``.

    - ``endpoint``: where a collector takes OTLP over HTTP; without it spans go to ``provider``
    - ``sample``: the share of messages that are followed of those that bring no trace context. One that brings it is
      followed if its context says so, and is passed on untouched if not
    - ``provider``: a ``TracerProvider`` of your own; the global one unless given

    Delivery: the pipeline's guarantees do not depend on it. Spans that a collector does not take in time are lost.

    Raises `GraphError` where OpenTelemetry is missing, a setting cannot work, or it is given to two pipelines that run;
    `AddressError` where the endpoint is none.

    >>> from opentelemetry.sdk.trace import TracerProvider
    >>> from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    >>> from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> provider, spans = TracerProvider(), InMemorySpanExporter()
    >>> provider.add_span_processor(SimpleSpanProcessor(spans))
    >>> traces = Traces(provider=provider, sample=1.0)
    >>> Pipeline("greet", memory.items(["a"]) | memory.into([]), observers=[traces]).run()
    >>> [span.name for span in spans.get_finished_spans()]
    ['send memory.into', 'process memory.items']
    """

    def __init__(
        self, endpoint: str | None = None, *, sample: float = 0.001, provider: TracerProvider | None = None
    ) -> None:
        try:
            import opentelemetry.exporter.otlp.proto.http
            import opentelemetry.sdk.trace  # noqa: F401 - both are to be missed here, not when the pipeline runs
        except ImportError as error:
            raise GraphError("Traces needs OpenTelemetry: pip install 'warren[traces]'") from error
        if isinstance(sample, bool) or not isinstance(sample, int | float) or not 0 <= sample <= 1:
            raise GraphError(f"Traces(sample={sample!r}): give the share of messages to follow, from 0 to 1")
        if endpoint is not None and provider is not None:
            raise GraphError("Traces(endpoint=..., provider=...): a provider knows where its spans go; give one of the two")
        self._endpoint = None if endpoint is None else endpoint_of(endpoint)
        self._sample = sample
        self._given = provider
        self._chance = random.Random()
        self._until = self._gap() - 1
        self._own: Export | None = None
        self._name = ""
        self._refused = 0
        self._run: Status | None = None
        self._followed: dict[int, _Followed] = {}
        self._by_delivery: dict[int, set[int]] = {}
        self._batches: dict[Merge, Span] = {}
        self._went_back: dict[tuple[str, str], SpanContext] = {}

    def started(self, run: Status) -> None:
        """A pipeline begins to open its ends."""
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        if self._run is not None:
            self._refused += 1
            raise GraphError(
                f"these Traces are of the running pipeline {self._name!r}, so they cannot be of {run.name!r} as well; give "
                f"each Traces of its own"
            )
        self._run, self._name = run, run.name
        self._clock: Clock = run.clock
        self._ledger: Ledger = run.ledger
        provider = self._given
        if self._endpoint is not None:
            self._own = Export(self._endpoint, run.name)
            provider = self._own.provider
        tracer = (provider or trace.get_tracer_provider()).get_tracer("warren", version("warren"))
        self._tracer: Tracer = tracer
        self._headers = TraceContextTextMapPropagator()

    def open(self, pipeline: str) -> None:
        """Its ends are open."""

    def read(self, source: str, delivery: Delivery) -> None:
        """A source has handed over messages: follow those that are to be."""
        batch, size = delivery.batch, len(delivery.batch)
        chosen = dict.fromkeys(batch.sampled(), True)
        if self._went_back and batch.attempts is not None:
            again = [i for i, attempt in enumerate(batch.attempts) if attempt > 1 and i not in chosen]
            chosen |= {i: False for i in again if (source, batch.metadata(i).id) in self._went_back}
        while self._until < size:
            chosen.setdefault(int(self._until), False)
            self._until += self._gap()
        self._until -= size
        for place, known in chosen.items():
            self._follow(source, delivery, place, known)

    def _gap(self) -> float:
        """How many messages on the next one to follow is, where each has the same chance."""
        if not 0 < self._sample < 1:
            return 1 if self._sample else math.inf
        return 1 + int(math.log(1 - self._chance.random()) / math.log(1 - self._sample))

    def _follow(self, source: str, delivery: Delivery, place: int, known: bool) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, get_current_span, set_span_in_context

        metadata = delivery.batch.metadata(place)
        parent, key = Context(), None
        if known:
            parent = self._headers.extract(metadata.headers, parent)
        elif metadata.trace is not None:
            return
        else:
            key = (source, metadata.id)
            before = self._went_back.pop(key, None)
            if before is not None:
                parent = set_span_in_context(NonRecordingSpan(before), parent)
        context = get_current_span(parent).get_span_context()
        about = {**_about(source, "process"), "messaging.message.id": metadata.id}
        if metadata.attempt > 1:
            about["warren.attempt"] = metadata.attempt
        span = self._tracer.start_span(
            f"process {about['messaging.destination.name']}",
            parent,
            SpanKind.CONSUMER,
            about,
            [Link(context)] if context.is_valid else (),
            _nanoseconds(delivery.received),
        )
        if span.is_recording():
            token = delivery.base + place
            self._followed[token] = _Followed(span, key)
            self._by_delivery.setdefault(delivery.base, set()).add(token)

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        """Messages of one delivery reached their end ``at`` seconds since 1970."""
        mine = self._by_delivery.get(delivery.base)
        if mine is None:
            return
        ended = [token for token in mine if token in tokens] if type(tokens) is range else mine.intersection(tokens)
        for token in ended:
            self._end(self._followed.pop(token), delivery, token, outcome, at)
        mine.difference_update(ended)
        if not mine:
            del self._by_delivery[delivery.base]

    def _end(self, followed: _Followed, delivery: Delivery, token: int, outcome: Outcome, at: float) -> None:
        span, end = followed.span, _nanoseconds(at)
        for batch in followed.batches:
            self._batches.pop(batch).end(end)
        span.set_attribute("warren.outcome", outcome.kind.name.lower())
        if retries := delivery.retries.get(token):
            span.set_attribute("warren.retries", retries)
        if outcome.failure is not None:
            _failed(span, outcome.failure.error)
            span.set_attribute("warren.error.fingerprint", fingerprint(outcome.failure.error))
        span.end(end)
        if outcome.kind >= Kind.PARKED and followed.key is not None:
            # Its headers are as they came and say nothing, so that it would not be known when it comes again.
            self._went_back[followed.key] = span.get_span_context()
            if len(self._went_back) > _REMEMBERED:
                del self._went_back[next(iter(self._went_back))]

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        """A step took a chunk."""

    def around(self, stage: str, tokens: Sequence[Token]) -> Around:
        """Spans for the calls with those of the messages that are followed."""
        if not self._followed or stage.startswith(_SOURCE):
            return {}
        return {
            place: partial(self._call, stage, self._parent(tokens[place], messages))
            for place, messages in self._found(tokens).items()
        }

    @contextmanager
    def _call(self, stage: str, parent: Context) -> Iterator[None]:
        from opentelemetry import context, trace

        span = self._tracer.start_span(
            stage.partition(":")[2],
            parent,
            attributes={"warren.pipeline": self._name, "warren.stage": stage},
            start_time=_nanoseconds(self._clock()),
        )
        mark = context.attach(trace.set_span_in_context(span))
        try:
            yield
        except BaseException as error:
            _failed(span, error)
            raise
        finally:
            context.detach(mark)
            span.end(_nanoseconds(self._clock()))

    def sending(self, sink: str, messages: Outgoing) -> _Sending | None:
        """Messages are about to be written: begin spans for those that are followed, and put them into their headers."""
        if not self._followed:
            return None
        from opentelemetry.trace import SpanKind, set_span_in_context

        sending, start, now = _Sending(self._clock), 0, _nanoseconds(self._clock())
        for tokens in messages.tokens:
            for place, found in self._found(tokens).items():
                about = {**_about(sink, "send"), "messaging.message.id": messages.metadata(start + place).id}
                span = self._tracer.start_span(
                    f"send {about['messaging.destination.name']}",
                    self._parent(tokens[place], found),
                    SpanKind.PRODUCER,
                    about,
                    start_time=now,
                )
                sending.spans[start + place] = span
                self._headers.inject(sending.headers.setdefault(start + place, {}), set_span_in_context(span))
            start += len(tokens)
        return sending if sending.spans else None

    def _parent(self, token: Token, messages: Sequence[int]) -> Context:
        """The context that spans of a value have: that of its message, or that of the batch that it is of."""
        from opentelemetry.trace import set_span_in_context

        while isinstance(token, Part):
            token = token.split.parent
        if isinstance(token, Merge) and (size := len(set(self._ledger.origins(token)))) > 1:
            span = self._batches.get(token) or self._batch(token, messages, size)
        else:
            span = self._followed[messages[0]].span
        return set_span_in_context(span)

    def _batch(self, batch: Merge, messages: Sequence[int], size: int) -> Span:
        from opentelemetry.context import Context
        from opentelemetry.trace import Link, SpanKind

        first = next(self._ledger.origins(batch))
        delivery = self._ledger.delivery(first)
        source = delivery.source.inlet.name if delivery is not None else self._name  # type: ignore[attr-defined]  # a Reader
        about = {**_about(source, "process"), "messaging.batch.message_count": size}
        span = self._batches[batch] = self._tracer.start_span(
            f"process {about['messaging.destination.name']}",
            Context(),
            SpanKind.CONSUMER,
            about,
            [Link(self._followed[message].span.get_span_context()) for message in messages],
            _nanoseconds(self._clock()),
        )
        self._followed[messages[0]].batches.append(batch)
        return span

    def _found(self, tokens: Sequence[Token]) -> _Found:
        """The values among these that are of messages that are followed."""
        followed = self._followed
        if type(tokens) is Share and not any(token in tokens.run for token in followed):
            return {}
        if type(tokens) is range:
            if len(followed) < len(tokens):
                return {token - tokens[0]: [token] for token in sorted(followed) if token in tokens}
            return {place: [token] for place, token in enumerate(tokens) if token in followed}
        if type(tokens) is Parts:
            return _spread(self._found(tokens.parents), tokens.counts)
        found: _Found = {}
        for place, token in enumerate(tokens):
            if type(token) is int:
                if token in followed:
                    found[place] = [token]
            elif messages := self._messages(token):
                found[place] = messages
        return found

    def _messages(self, token: Token) -> list[int]:
        """The messages followed that a value is of."""
        while isinstance(token, Part):
            token = token.split.parent
        if isinstance(token, Merge):
            segments: Iterable[list[int]] = (each for part in token.segments for each in self._found(part).values())
            return list(dict.fromkeys(message for each in segments for message in each))
        return [token] if token in self._followed else []

    def close(self) -> None:
        """The pipeline has ended: send what is left. Closing again does nothing."""
        if self._refused:
            self._refused -= 1
            return
        self._run = None
        own, self._own = self._own, None
        if own is not None:
            own.close()


class _Sending:
    """Messages on their way to a sink, of which some are followed."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.spans: dict[int, Span] = {}
        self.headers: dict[int, dict[str, str]] = {}

    def ended(self, errors: Mapping[int, BaseException]) -> None:
        end = _nanoseconds(self.clock())
        for place, span in self.spans.items():
            if place in errors:
                _failed(span, errors[place])
            span.end(end)


def _about(end: str, operation: str) -> dict[str, Any]:
    """What the conventions for messaging say of an operation on a source or sink."""
    system, _, destination = end.partition(":")
    return {
        "messaging.system": system.partition(".")[0],
        "messaging.destination.name": destination or end,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }


def _failed(span: Span, error: BaseException) -> None:
    """Say what kind of error it was, and not its text, which may show the message."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)
    span.set_attribute("error.type", type(error).__qualname__)


def _spread(found: _Found, counts: Sequence[int]) -> _Found:
    """What was found of values, for each of their parts."""
    if not found:
        return {}
    ends = list(accumulate(counts))
    return {place: found[i] for i in sorted(found) for place in range(ends[i] - counts[i], ends[i])}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
