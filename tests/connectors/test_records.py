"""What is stored of messages."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import polars as pl
import pytest

from warren.connectors.records import Records, joined, records
from warren.core.message import Metadata, Outgoing


def test_columns_that_say_nothing_are_left_out() -> None:
    found, errors = records(Outgoing([1, 2], lambda i: Metadata()))
    assert found == Records([b"1", b"2"])
    assert errors == {}


def test_frames_and_values_share_a_write() -> None:
    found, _ = records(Outgoing([1, pl.DataFrame({"a": [1]})]))
    assert list(found.content_type) == ["application/json", "application/vnd.apache.arrow.stream"]


def test_bytes_keep_their_content_type() -> None:
    assert records(Outgoing([b"x"]))[0].content_type == "application/octet-stream"
    assert records(Outgoing([b"x", bytearray(b"y")], lambda i: Metadata(content_type="text/plain")))[0] == Records(
        [b"x", b"y"], "text/plain"
    )


def test_computed_columns_fill_what_the_metadata_does_not_say() -> None:
    metadata = [Metadata(key="k", headers=MappingProxyType({"a": "1"})), Metadata()]
    found, _ = records(Outgoing([1, 2], metadata.__getitem__), key=str, headers=lambda n: {"a": "0", "n": str(n)})
    assert found.keys == ["k", "2"]
    assert found.headers == [{"a": "1", "n": "1"}, {"a": "0", "n": "2"}]


@pytest.mark.parametrize("value", [3, {"a": 1}, "text"])
def test_headers_that_are_no_text_refuse_their_message_alone(value: Any) -> None:
    found, errors = records(Outgoing([value, b"fine"]), headers=lambda v: v if v == value else {})
    assert list(errors) == [0]
    assert "cannot be stored" in str(errors[0])
    assert found.bodies == [b"fine"]
    assert found.headers is None


def test_headers_that_few_messages_have_are_stored_and_checked_in_their_places() -> None:
    wrong: Any = {"n": 3}
    metadata = [Metadata(), Metadata(headers=wrong), Metadata(), Metadata(headers={"a": "1"})]
    found, errors = records(Outgoing([1, 2, 3, 4], metadata.__getitem__))
    assert list(errors) == [1] and "its headers {'n': 3} cannot be stored" in str(errors[1])
    assert (found.bodies, found.headers) == ([b"1", b"3", b"4"], [{}, {}, {"a": "1"}])


def test_a_key_of_the_metadata_that_is_no_text_is_refused() -> None:
    wrong: Any = 7
    found, errors = records(Outgoing([1, 2], [Metadata(key=wrong), Metadata(key="a")].__getitem__))
    assert list(errors) == [0]
    assert (found.bodies, found.keys) == ([b"2"], ["a"])


def test_joined_content_types() -> None:
    assert joined([Records([b"a"], "x"), Records([b"b", b"c"], ["y", "z"])]).content_type == ["x", "y", "z"]
    assert joined([Records([b"a"], "x"), Records([b"b"], "x")]).content_type == "x"
