"""``--where``: which messages are meant, as a few comparisons that must all hold. Nothing of it is evaluated as code.

``error=TimeoutError age>1h header.region!=eu reason~"no answer"``
"""

from __future__ import annotations

import operator
import re
import shlex
import time
from collections.abc import Callable
from typing import Any

import click

from warren.core.admin import SOURCE, Chosen
from warren.core.clock import seconds
from warren.core.errors import AddressError, GraphError
from warren.core.message import ATTEMPTS, Metadata

__all__ = ["parse", "where"]

_TERM = re.compile(r"(?P<field>[\w.-]+?)(?P<sign>!=|>=|<=|=|~|>|<)(?P<value>.*)", re.DOTALL)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}
_HEADERS = {name: f"warren-{name}" for name in ("error", "reason", "stage", "fingerprint", "pipeline", "tenant")}
_FIELDS: dict[str, Callable[[Metadata], str]] = {
    "id": lambda message: message.id,
    "key": lambda message: message.key or "",
    "queue": lambda message: message.headers.get(SOURCE, "").partition(":")[2],
    "attempts": lambda message: message.headers.get(ATTEMPTS, str(message.attempt)),
}
_KNOWN = (*_HEADERS, *_FIELDS, "age", "header.NAME")


def parse(text: str, now: Callable[[], float] = time.time) -> Chosen:
    """What an expression says of a message. Raises `AddressError` where it says nothing.

    - ``=``, ``!=``: the same text or not; ``~``: has it somewhere in it
    - ``<``, ``>``, ``<=``, ``>=``: as numbers, with ``age`` as a duration such as ``1h30m``; what is no number never fits
    - fields: ``error``, ``reason``, ``stage``, ``fingerprint``, ``pipeline``, ``tenant``, ``id``, ``key``, ``queue`` (where
      a letter came from), ``attempts``, ``age`` (since a letter failed last, or a message was enqueued) and ``header.NAME``

    >>> late = parse('error=TimeoutError age>1h', now=lambda: 7200.0)
    >>> late(Metadata(headers={"warren-error": "TimeoutError"}, timestamp=60.0))
    True
    >>> late(Metadata(headers={"warren-error": "ValueError"}, timestamp=60.0))
    False
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise AddressError(f"--where {text!r}: {error}; close each quotation mark") from None
    terms = [_term(word, now) for word in words]
    if not terms:
        raise AddressError("--where says nothing; write such as error=TimeoutError age>1h")
    return lambda message: all(term(message) for term in terms)


def _term(word: str, now: Callable[[], float]) -> Chosen:
    found = _TERM.fullmatch(word)
    if found is None:
        raise AddressError(f"--where: {word!r} is no comparison; write FIELD=VALUE, with one of = != ~ < > <= >=")
    field, sign, value = found.group("field", "sign", "value")
    if field == "age":
        return _age(word, sign, value, now)
    read = _reader(field)
    if sign == "~":
        return lambda message: value in read(message)
    if sign in ("=", "!="):
        return lambda message: (read(message) == value) is (sign == "=")
    compare, bound = _ORDER[sign], _number(value)
    if bound is None:
        raise AddressError(f"--where: {word!r} compares with {value!r}, which is no number")

    def ordered(message: Metadata) -> bool:
        number = _number(read(message))
        return number is not None and compare(number, bound)

    return ordered


def _reader(field: str) -> Callable[[Metadata], str]:
    if field in _FIELDS:
        return _FIELDS[field]
    header = field.removeprefix("header.") if field.startswith("header.") else _HEADERS.get(field)
    if not header:
        raise AddressError(f"--where knows no field {field!r}; there are {', '.join(_KNOWN)}")
    return lambda message: message.headers.get(header, "")


def _age(word: str, sign: str, value: str, now: Callable[[], float]) -> Chosen:
    if sign not in (">", "<", ">=", "<="):
        raise AddressError(f"--where: {word!r}: an age is compared with < or >, such as age>1h")
    try:
        bound, compare = seconds(value), _ORDER[sign]
    except GraphError as error:
        raise AddressError(f"--where: {word!r}: {error}") from None

    def aged(message: Metadata) -> bool:
        since = _number(message.headers.get("warren-last-failed", "")) or message.timestamp
        return bool(since) and compare(now() - since, bound)

    return aged


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _read(ctx: Any, option: Any, text: str | None) -> Chosen:
    return parse(text) if text is not None else lambda message: True


where = click.option(
    "--where", callback=_read, metavar="EXPR", help="Only these, such as 'error=TimeoutError age>1h header.region=eu'."
)
