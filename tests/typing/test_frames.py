"""Rows know their type behind `explode`, and frames are frames."""

from typing import Any, assert_type

import msgspec
import polars as pl

from warren.connectors import memory
from warren.core.graph import Flow, Source
from warren.operators import bisect, encode, explode, frames, map


class Order(msgspec.Struct):
    id: str


def priced(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def check(order: Order) -> Order:
    return order


source = memory.queue("in", pl.DataFrame)
assert_type(source | explode(Order), Source[Order])
assert_type(source | explode(), Source[dict[str, Any]])
assert_type(source | explode(Order) | frames(10), Source[pl.DataFrame])
assert_type(source | bisect(priced), Source[pl.DataFrame])
assert_type(source | explode(Order) | map(check) | memory.queue("out"), Flow)
assert_type(source | encode("application/vnd.apache.arrow.stream; compression=zstd") | memory.queue("out"), Flow)
