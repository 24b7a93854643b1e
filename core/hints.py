"""Types that are known of values without looking at one: from the hints of the functions that make them."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["either", "element", "returned"]


def returned(function: Callable[..., Any]) -> Any:
    """The type that a function gives, by its hints; of an ``async`` one what is awaited. ``Any`` where that is not known.

    >>> def length(text: str) -> int:
    ...     return len(text)
    >>> returned(length), returned(str), returned(lambda text: text)
    (<class 'int'>, <class 'str'>, typing.Any)
    """
    if isinstance(function, functools.partial):
        return returned(function.func)
    if inspect.isclass(function):
        return function
    if not inspect.isroutine(function):
        function = type(function).__call__
    try:
        found = typing.get_type_hints(function).get("return", Any)
    except Exception:
        # A hint may name what is imported for type checkers only.
        return Any
    return Any if isinstance(found, typing.TypeVar) else found


def element(type: Any) -> Any:
    """The type of the values in a list, or in something else that is gone through.

    >>> element(list[int]), element(str)
    (<class 'int'>, typing.Any)
    """
    origin, given = typing.get_origin(type), typing.get_args(type)
    if inspect.isclass(origin) and issubclass(origin, Iterable) and given and given[1:] in ((), (...,)):
        return given[0]
    return Any


def either(types: Iterable[Any]) -> Any:
    """The type of values that are of one of these; ``Any`` where one of them is not known.

    >>> either([int, str, int]), either([int, Any])
    (int | str, typing.Any)
    """
    found = list(dict.fromkeys(types))
    if not found or Any in found or None in found:
        return Any
    try:
        return functools.reduce(lambda one, other: one | other, found)
    except TypeError:
        return Any
