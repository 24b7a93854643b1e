from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from warren.core.hints import either, element, returned

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")


class Order:
    def total(self) -> float:
        return 1.0


class Priced:
    def __call__(self, order: Order) -> float:
        return order.total()


def plain(order: Order) -> float:
    return order.total()


async def awaited(order: Order) -> float:
    return order.total()


def unhinted(order):
    return order


def unknown_here(order: Order) -> Decimal:
    raise NotImplementedError


def generic(value: T) -> T:
    return value


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (plain, float),
        (awaited, float),
        (Order, Order),
        (Order.total, float),
        (Order().total, float),
        (Priced(), float),
        (functools.partial(plain), float),
        (lambda order: order, Any),
        (unhinted, Any),
        (unknown_here, Any),
        (generic, Any),
        (str.upper, Any),
        (len, Any),
    ],
)
def test_what_a_function_gives_is_told_by_its_hint(function: Callable[..., Any], expected: Any) -> None:
    assert returned(function) == expected


@pytest.mark.parametrize(
    ("type", "expected"),
    [
        (list[Order], Order),
        (Sequence[int], int),
        (Iterator[int], int),
        (tuple[int, ...], int),
        (tuple[int, str], Any),
        (dict[str, int], Any),
        (list, Any),
        (str, Any),
        (Any, Any),
        (None, Any),
    ],
)
def test_the_values_in_a_list_have_a_type_where_it_says_so(type: Any, expected: Any) -> None:
    assert element(type) == expected


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ([int], int),
        ([int, int], int),
        ([int, str], int | str),
        ([list[int], str], list[int] | str),
        ([int, Any], Any),
        ([], Any),
        (["a", "b"], Any),
    ],
)
def test_values_of_several_types_have_a_union(types: list[Any], expected: Any) -> None:
    assert either(types) == expected
