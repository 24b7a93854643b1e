"""Feeds a recorder as a pipeline would, through a real ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from warren.analytics.recorder import Recorder
from warren.core.message import Batch
from warren.core.receipt import Delivery, Ledger, Outcome

NOW = 1_700_000_000.0


class Feed:
    """Notes beside the recorder what every row must be."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.now = NOW
        self.expected: list[dict[str, Any]] = []
        self.ledger = Ledger(self._settled)

    def accept(self, batch: Batch, source: object = "orders") -> Delivery:
        return self.ledger.accept(source, batch, self.now)

    def _settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        self.recorder.settled(delivery, tokens, outcome, self.now)
        for token in tokens:
            metadata = delivery.batch.metadata(token - delivery.base)
            body = delivery.batch.bodies[token - delivery.base]
            self.expected.append(
                {
                    "size": len(body) if isinstance(body, bytes) else None,
                    "enqueued": metadata.timestamp or None,
                    "received": delivery.received,
                    "settled": self.now,
                    "attempts": delivery.attempt(token),
                    "outcome": outcome.kind.name.lower(),
                    "route": outcome.route or None,
                    "tenant": metadata.tenant,
                    "trace": metadata.trace[3:35] if metadata.trace else None,
                    "key": metadata.key,
                    "error": type(outcome.failure.error).__name__ if outcome.failure else None,
                    "stage": outcome.failure.stage if outcome.failure else None,
                }
            )


def feed(recorder: Recorder, messages: int, chunk: int = 1000) -> None:
    """Deliver so many plain messages and tell of one stage."""
    ledger = Ledger(lambda delivery, tokens, outcome: recorder.settled(delivery, tokens, outcome, NOW))
    from warren.core.receipt import DELIVERED

    for start in range(0, messages, chunk):
        count = min(chunk, messages - start)
        ledger.settle(ledger.accept("orders", Batch([b"x" * 50] * count, range(count)), NOW).tokens, DELIVERED)
        recorder.handled("1:map", count, count, 0, NOW, NOW + 0.001, count, None)
