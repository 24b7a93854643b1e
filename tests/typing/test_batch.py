"""A batch knows its values where something says what they are, and takes anything where nothing does."""

from typing import Any, assert_type

from warren.connectors import memory
from warren.core.graph import Sink, Source
from warren.operators import batch, route

numbers = memory.queue("numbers", int)
sink = batch(500, "1s") | memory.queue("out")

# mypy knows that it is a list of int; pyright, of anything.
batches: Source[list[int]] = numbers | batch(5)
assert_type(sink, Sink[Any])
routed = numbers | route(lambda number: number > 0, {True: batch(5) | memory.queue("positive")}, default=sink)
