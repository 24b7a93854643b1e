from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Hashable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.core.frozen import Keys, freeze, freeze_key, thaw, thaw_key


class Colour(enum.Enum):
    RED = 1


class Region(enum.StrEnum):
    EU = "eu"


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: int


NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
ONE = NOON.astimezone(dt.timezone(dt.timedelta(hours=1)))


@pytest.mark.parametrize(
    "equals",
    [
        [1, 1.0, True, Decimal(1), Fraction(1), Level.LOW],
        [1, np.int64(1), np.float64(1)],
        [0, -0.0, False],
        [0.5, Decimal("0.5"), Fraction(1, 2)],
        ["eu", Region.EU],
        [(1, 2), Point(1, 2), (True, 2.0)],
        [(1, ("eu", None)), (1.0, (Region.EU, None))],
        [2**63, Decimal(2**63), float(2**63)],
        [2**70 + 1, Decimal(2**70 + 1)],
        [Decimal("0.10"), Decimal("0.1"), Fraction(1, 10)],
        [NOON, ONE],
        [("eu", NOON), (Region.EU, ONE)],
        [frozenset("ab"), frozenset("ba")],
        [uuid.UUID(int=7), uuid.UUID(int=7, is_safe=uuid.SafeUUID.safe)],
    ],
)
def test_equal_keys_are_equal_bytes(equals: list[Hashable]) -> None:
    for first in equals:
        keys = Keys()
        data = keys.freeze(first)
        again = Keys()
        assert again.thaw(data) == first
        for other in equals:
            assert other == first
            assert keys.freeze(other) == again.freeze(other) == data


@pytest.mark.parametrize(
    "key", [None, "", "1", 1, b"1", (), ("a",), ("a", ("b", None)), -(2**63), 2**64, 1.5, Colour.RED, NOON, uuid.UUID(int=1)]
)
def test_a_key_comes_back_as_it_was(key: Any) -> None:
    found = thaw_key(freeze_key(key))
    assert (found, type(found)) == (key, type(key))


def test_different_keys_have_different_bytes() -> None:
    keys = [None, "", "1", 1, b"1", (), ("1",), (1,), ((1,),), 1.5, NOON, "None", 2**70, -1, Colour.RED]
    assert len({freeze_key(key) for key in keys}) == len(keys)


def test_what_is_forgotten_is_no_longer_remembered() -> None:
    keys = Keys()
    first = keys.freeze(Decimal("0.10"))
    keys.forget(Decimal("0.1"))
    assert keys.freeze(Decimal("0.1")) != first


def test_a_key_that_cannot_be_kept() -> None:
    with pytest.raises(Exception, match="pickle"):
        freeze_key(lambda: 0)


atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.uuids()
hashables = st.recursive(atoms | st.decimals(allow_nan=False), lambda each: st.lists(each, max_size=3).map(tuple))


@given(hashables)
def test_any_key_comes_back_equal(key: Hashable) -> None:
    found = thaw_key(freeze_key(key))
    assert found == key and hash(found) == hash(key)


@given(st.lists(hashables, max_size=8))
def test_as_many_bytes_as_a_dict_has_keys(given: list[Hashable]) -> None:
    keys = Keys()
    assert len({keys.freeze(key) for key in given}) == len(dict.fromkeys(given))


@given(st.recursive(atoms, lambda each: st.lists(each) | st.dictionaries(st.text(), each) | st.tuples(each, each)))
def test_any_value_comes_back(value: Any) -> None:
    assert thaw(freeze(value)) == value
