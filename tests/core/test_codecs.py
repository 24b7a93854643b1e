from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any, TypedDict

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.packages import Packages
from warren.core import codecs
from warren.core.codecs import ARROW, BYTES, JSON, MSGPACK, TEXT, decode_error, decoder, encode, encoder, register
from warren.core.errors import DecodeError, EncodeError, GraphError, PluginError


class Order(msgspec.Struct):
    id: str
    amount: float


@dataclasses.dataclass
class Line:
    number: int


class Point(TypedDict):
    x: int


class Model(pydantic.BaseModel):
    id: str
    at: dt.datetime
    lines: list[int] = []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def failure(body: bytes, type: Any, content_type: str = JSON) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  codecs raise what they like
        decoder(type, content_type)(body)
    return str(decode_error(caught.value, body, "orders"))


@given(json_values, st.sampled_from([JSON, MSGPACK, "", "application/hal+json", "Application/JSON; charset=utf-8"]))
def test_values_come_back_as_they_went(value: object, content_type: str) -> None:
    body, written = encode(value, content_type or None)
    assert written == (content_type or JSON)
    assert decoder(Any, content_type)(body) == value


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
@pytest.mark.parametrize(
    "value", [Order("a", 1.5), Line(2), {"x": 1}, Model(id="a", at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))]
)
def test_typed_values_come_back(value: Any, content_type: str) -> None:
    kind = Point if isinstance(value, dict) else type(value)
    assert decoder(kind, content_type)(encode(value, content_type)[0]) == value


def test_models_inside_other_types() -> None:
    model = Model(id="a", at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), lines=[1])
    for content_type in (JSON, MSGPACK):
        body = encode({"a": [model]}, content_type)[0]
        assert decoder(dict[str, list[Model]], content_type)(body) == {"a": [model]}


def test_json_is_decoded_by_the_decoder_itself_with_no_wrapper() -> None:
    decode = decoder(Order)
    assert isinstance(getattr(decode, "__self__", None), msgspec.json.Decoder)


def test_without_a_type_bodies_stay_the_same_object() -> None:
    body = b"anything"
    assert all(decoder(kind, type_)(body) is body for kind in (None, bytes) for type_ in ("", JSON, "image/png"))


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"a": [1, 2], "b": ["x", None], "c": [[1], []]}),
        pl.DataFrame({"a": []}, schema={"a": pl.Int64}),
        pa.table({"a": [1, 2]}),
    ],
)
def test_frames_travel_as_arrow(frame: Any) -> None:
    body, content_type = encode(frame)
    assert content_type == ARROW
    back = decoder(type(frame))(body)
    assert back.equals(frame)
    assert decoder(Any, ARROW)(body).equals(frame if isinstance(frame, pl.DataFrame) else pl.from_arrow(frame))


def test_a_record_batch_is_read_as_a_table() -> None:
    batch = pa.RecordBatch.from_pydict({"a": [1]})
    assert decoder(pa.Table, ARROW)(encode(batch)[0]).to_pylist() == [{"a": 1}]


def test_text_and_bytes() -> None:
    assert encode("grün", TEXT) == ("grün".encode(), TEXT)
    assert decoder(str, TEXT)("grün".encode()) == "grün"
    assert decoder(int, "text/plain; charset=utf-8")(b"12") == 12
    assert encode(bytearray(b"a")) == encode(memoryview(b"a")) == (b"a", BYTES)
    assert encode(b"{}", JSON) == (b"{}", JSON)


def test_octet_stream_says_nothing_so_the_type_decides() -> None:
    assert decoder(Order, BYTES)(b'{"id":"a","amount":1}') == Order("a", 1.0)


def test_numpy_numbers_are_numbers() -> None:
    value = {"mean": np.float64(1.5), "counts": np.array([1, 2])}
    assert encode(value)[0] == b'{"mean":1.5,"counts":[1,2]}'
    assert msgspec.msgpack.decode(encoder(MSGPACK)(value)) == {"mean": 1.5, "counts": [1, 2]}


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b'{"id": "a"', Order, "orders: a message cannot be decoded: Input data was truncated (byte 10); the body is"),
        (b'{"id": "a" 1}', Order, "(byte 11)"),
        (b'{"id": "a", "amount": "x"}', Order, "Expected `float`, got `str` - at `$.amount`"),
        (b"{}", Order, "missing required field `id`"),
        (b'{"id": "\xff"}', Order, "it is not UTF-8: invalid start byte (byte 8)"),
        (b'{"id": "a", "at": "2026-01-01", "lines": [1, "x"]}', Model, "at `$.lines[1]`"),
        (b'{"id": 1, "at": "x"}', Model, "(and 1 more)"),
    ],
)
def test_a_decode_failure_says_what_and_where(body: bytes, kind: type, expected: str) -> None:
    assert expected in failure(body, kind)


def test_a_failure_far_into_a_long_body_shows_that_part() -> None:
    body = b"[" + b"1, " * 1000 + b"oops]"
    sentence = failure(body, list[int])
    assert "from byte 2961" in sentence
    assert "oops" in sentence
    assert len(sentence) < 400


@pytest.mark.parametrize("body", [b"", b"junk", b"\xff\xff\xff\xff\x00\x01\x00\x00"])
def test_a_body_that_is_no_arrow_stream(body: bytes) -> None:
    assert "cannot be decoded" in failure(body, pl.DataFrame, ARROW)


def test_an_error_that_is_ready_stays() -> None:
    error = DecodeError("ready")
    assert decode_error(error, b"", "orders") is error


def test_what_cannot_be_read() -> None:
    with pytest.raises(DecodeError, match=r"no codec reads .*'image/png'.* use one of application/json, .*register"):
        decoder(Order, "image/png")
    with pytest.raises(GraphError, match=r"DataFrame cannot be read from application/json: .* Arrow|arrow"):
        decoder(pl.DataFrame, JSON)
    with pytest.raises(GraphError, match="Order cannot be read from application/vnd"):
        decoder(Order, ARROW)
    with pytest.raises(GraphError, match="cannot be read"):
        decoder(list[Model] | set, TEXT)
    with pytest.raises(GraphError, match="cannot be read"):
        decoder(pl.DataFrame, MSGPACK)


def test_what_cannot_be_written() -> None:
    with pytest.raises(EncodeError, match=r"type object cannot be written as application/json: .* Map it to"):
        encode(object())
    with pytest.raises(EncodeError, match="type complex cannot be written as application/msgpack"):
        encode(1j, MSGPACK)
    with pytest.raises(EncodeError, match="only a polars"):
        encode({"a": 1}, ARROW)
    with pytest.raises(EncodeError, match="no codec writes the content type 'image/png'"):
        encode(1, "image/png")


class Reverse:
    content_types = ("text/x-reverse",)

    def decoder(self, type: Any) -> Any:
        return lambda body: body.decode()[::-1]

    def encoder(self) -> Any:
        return lambda value: value[::-1].encode()


def test_codecs_are_added_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_codecs", dict(codecs._codecs))
    register(Reverse())
    assert decoder(str, "text/x-reverse")(b"cba") == "abc"


REVERSE = """
class Reverse:
    content_types = ("text/x-reverse", "text/plain")
    def decoder(self, type): return lambda body: body.decode()[::-1]
    def encoder(self): return lambda value: value[::-1].encode()
other = Reverse()
"""


def test_packages_add_codecs_and_replace_none(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_codecs", dict(codecs._codecs))
    packages.add("mirror", {"codec reverse": "mirrors:Reverse", "codec broken": "mirrors_nowhere:x"}, mirrors=REVERSE)
    assert encode("abc", "text/x-reverse; q=1")[0] == b"cba"
    assert encode("abc", TEXT)[0] == b"abc"
    with pytest.raises(DecodeError, match=r"the codec 'broken' of mirror 1.0 does not load: ModuleNotFoundError"):
        decoder(str, "text/x-other")


def test_a_content_type_that_two_packages_read_is_refused(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_codecs", dict(codecs._codecs))
    packages.add("mirror", {"codec reverse": "mirrors:Reverse"}, mirrors=REVERSE)
    packages.add("window", {"codec glass": "mirrors:other"})
    with pytest.raises(PluginError, match=r"a codec for text/x-reverse is given by window 1.0 and mirror 1.0; uninstall"):
        decoder(str, "text/x-reverse")
    register(Reverse())
    assert decoder(str, "text/x-reverse")(b"cba") == "abc"
