"""Types through `anomalies`, as mypy and pyright see them."""

from typing import assert_type

import msgspec

from warren import Pipeline
from warren.analytics import Marked, Novelty, anomalies
from warren.connectors import memory
from warren.core.graph import Operator, Source
from warren.operators import map


class Call(msgspec.Struct):
    route: str
    ms: float


def latency(call: Call) -> float:
    return call.ms


def plain(marked: Marked[Call]) -> Call:
    return marked.value


watch: Operator[Call, Marked[Call]] = anomalies(Novelty(), value=latency)
assert_type(memory.queue("calls", Call) | watch, Source[Marked[Call]])
Pipeline("watch", memory.queue("calls", Call) | watch | map(plain) | memory.queue("out"))


def refused() -> None:
    anomalies(Novelty(), value=3)  # type: ignore[arg-type]
