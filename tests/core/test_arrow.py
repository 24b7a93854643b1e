"""Frames on the wire: any Arrow reader reads them, and a corrupt body is an error, not a crash."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from warren.core.arrow import ARROW, ARROW_LZ4, ARROW_ZSTD, frame_of, is_frame
from warren.core.codecs import decoder, encode
from warren.core.errors import EncodeError

FRAME = pl.DataFrame(
    {
        "n": [1, None, 3],
        "text": ["x", None, "z"],
        "list": [[1], [2, None], None],
        "struct": [{"q": 1}, None, {"q": None}],
        "category": pl.Series(["u", "v", "u"], dtype=pl.Categorical),
        "bytes": [b"x", None, b"\xff"],
        "flag": [True, None, False],
    }
)


@pytest.mark.parametrize("content_type", [ARROW, ARROW_ZSTD, ARROW_LZ4])
@pytest.mark.parametrize("frame", [FRAME, FRAME[:0], pl.DataFrame(), pl.concat([FRAME, FRAME], rechunk=False)])
def test_a_frame_comes_back_as_it_went(frame: pl.DataFrame, content_type: str) -> None:
    body, sent_as = encode(frame, content_type)
    assert sent_as == ARROW
    back = decoder(pl.DataFrame, ARROW)(body)
    assert back.equals(frame) and back.schema == frame.schema


@pytest.mark.parametrize("content_type", [ARROW, ARROW_ZSTD, ARROW_LZ4])
def test_any_arrow_reader_reads_it(content_type: str) -> None:
    body, _ = encode(FRAME, content_type)
    with pa.ipc.open_stream(body) as reader:
        table = reader.read_all()
    assert table.to_pylist() == FRAME.to_dicts()
    # The layouts that came to Arrow last are not written, as not every reader has them.
    assert "view" not in str(table.schema)


def test_a_stream_of_many_batches_is_one_frame() -> None:
    table = pa.table({"n": list(range(10))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table, max_chunksize=3)
    assert list(decoder(pl.DataFrame, ARROW)(sink.getvalue().to_pybytes())["n"]) == list(range(10))


def test_what_is_a_frame() -> None:
    table = pa.table({"n": [1]})
    assert [is_frame(type(each)) for each in (FRAME, table, table.to_batches()[0], [1])] == [True, True, True, False]
    assert frame_of(FRAME) is FRAME
    assert [frame_of(each) is not None for each in (table, table.to_batches()[0], {"n": 1}, b"")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_compression_nobody_knows() -> None:
    with pytest.raises(EncodeError, match=r"'application/vnd.apache.arrow.stream; compression=gzip': Arrow is packed with"):
        encode(FRAME, f"{ARROW}; compression=gzip")


# In a process of its own, as what goes wrong here ends a process.
CORRUPT = """
import random, sys
import polars as pl
from warren.core.codecs import ARROW, ARROW_ZSTD, decoder, encode

draw = random.Random(int(sys.argv[1]))
frame = pl.DataFrame({
    "text": ["x" * (i % 7) for i in range(40)],
    "category": pl.Series(["u", "v"] * 20, dtype=pl.Categorical),
    "list": [[i] * (i % 3) for i in range(40)],
    "struct": [{"a": str(i), "b": None} for i in range(40)],
    "number": [i / 2 for i in range(40)],
    "bytes": [bytes([i]) for i in range(40)],
})
read, refused = decoder(pl.DataFrame, ARROW), 0
for _ in range(400):
    body = bytearray(encode(frame, draw.choice([ARROW, ARROW_ZSTD]))[0])
    for _ in range(draw.randint(1, 6)):
        body[draw.randrange(len(body))] = draw.randrange(256)
    if draw.random() < 0.2:
        del body[draw.randrange(len(body)):]
    try:
        read(bytes(body)).to_dicts()
    except Exception:
        refused += 1
print(refused)
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_corrupt_body_is_an_error_and_ends_nothing(seed: str) -> None:
    environment: dict[str, Any] = {"PYTHONPATH": "src", "RUST_BACKTRACE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", CORRUPT, seed], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 100
