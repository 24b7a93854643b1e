from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pytest

from tests.operators.fake import Bench
from warren import Pipeline
from warren.connectors import memory
from warren.core.codecs import ARROW, ARROW_LZ4, ARROW_ZSTD, MSGPACK
from warren.core.errors import EncodeError, GraphError
from warren.core.message import Encoded
from warren.operators import encode

FRAME = pl.DataFrame({"name": ["a", None] * 500, "n": range(1000)})


def test_values_are_encoded_and_keep_what_they_were() -> None:
    bench = Bench(encode(MSGPACK)).push({"a": 1}, [2], attempt=3)
    assert [(msgspec.msgpack.decode(each.body), each.content_type, each.value) for each in bench.values] == [
        ({"a": 1}, MSGPACK, {"a": 1}),
        ([2], MSGPACK, [2]),
    ]
    assert bench.out[0].attempt == 3
    bench.finish()


def test_bytes_get_the_content_type_and_stay_as_they_are() -> None:
    assert [repr(each) for each in Bench(encode("text/plain")).push(b"ab").values] == ["Encoded(b'ab', 'text/plain')"]


@pytest.mark.parametrize("content_type", [ARROW_ZSTD, ARROW_LZ4, ARROW, f"{ARROW};compression=ZSTD "])
def test_packed_frames_are_read_by_any_arrow_reader(content_type: str) -> None:
    (packed,) = Bench(encode(content_type)).push(FRAME).values
    # The stream itself says how it is packed, so its reader sees the plain content type.
    assert packed.content_type == ARROW
    assert pl.from_arrow(pa.ipc.open_stream(packed.body).read_all()).equals(FRAME)
    assert pl.read_ipc_stream(packed.body).equals(FRAME)
    plain = Bench(encode(ARROW)).push(FRAME).values[0]
    assert (len(packed.body) < len(plain.body) / 2) == (content_type != ARROW)


def test_a_value_that_cannot_be_encoded_fails_alone() -> None:
    bench = Bench(encode(ARROW_ZSTD)).push(FRAME, {"a": 1}, FRAME)
    assert len(bench.values) == 2
    assert [(type(f.error), f.value) for f in bench.failures] == [(EncodeError, {"a": 1})]
    assert "only a polars.DataFrame" in bench.errors[0]
    bench.finish()


@pytest.mark.parametrize("content_type", ["", None, 3])
def test_a_content_type_must_be_given(content_type: Any) -> None:
    with pytest.raises(GraphError, match="give a content type, such as"):
        encode(content_type)


def test_what_nobody_writes_is_refused_when_the_pipeline_is_built() -> None:
    with pytest.raises(GraphError, match=r"encode\('image/png'\): no codec writes .* use one of"):
        encode("image/png")
    with pytest.raises(GraphError, match="Arrow is packed with compression=zstd, with compression=lz4, or not at all"):
        encode(f"{ARROW}; compression=gzip")


def test_a_queue_stores_what_was_encoded_and_computes_from_the_values() -> None:
    broker = memory.Broker()
    into = memory.queue(
        "packed", broker=broker, key=lambda value: value["key"], headers=lambda value: {"n": str(value["n"])}
    )
    Pipeline("p", memory.items([{"key": "a", "n": 1}]) | encode(MSGPACK) | into).run()
    seen: list[Any] = []
    read = memory.queue("packed", dict[str, Any], broker=broker)
    Pipeline("q", read | memory.into(seen)).run(until_empty=True)
    assert seen == [{"key": "a", "n": 1}]


def test_nothing_encodes_it_again() -> None:
    with pytest.raises(TypeError):
        msgspec.json.encode(Encoded(b"", ARROW))
