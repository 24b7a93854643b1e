"""What an error says, without what differs from one message to the next."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["masked", "template"]

_LONGEST = 300
# The first that fits counts. A code says what went wrong, so it stays.
_KINDS = {
    "code": r"(?i:\b(?:http(?:/\d(?:\.\d)?)?|status(?:[ _]code)?|code|errno|sqlstate)[ :=#\[(]+-?\d{1,5}\b)"
    r"|(?<!\w)'[1-5]\d\d [A-Z][A-Za-z -]+'",
    "url": r"\b[a-z][a-z0-9+.-]*://[^\s'\",;)\]]+",
    "address": r"[\w.+-]+@[\w-]+\.[\w.-]+",
    "uuid": r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
    "time": r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?",
    "ip": r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\[?\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){3,7}\b\]?(?::\d+)?",
    "host": r"\b(?:[\w-]+\.)+(?:com|org|net|io|dev|internal|local|svc|lan|corp|cloud|example)\b(?::\d+)?",
    "text": r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|`[^`]*`",
    "path": r"(?<![\w/])(?:[A-Za-z]:)?/(?:[\w.@-]+/)*[\w.@-]+",
    "amount": r"[-+]?\b\d+(?:[.,]\d+)*(?i:ns|us|ms|s|m|h|d|b|[kmgt]i?b)\b(?!-)",
    "id": r"\b(?=[\w-]*\d)[A-Za-z_][\w]*(?:-\w+)*\b|\b(?=\w*[A-Za-z])\d\w*(?:-\w+)*\b",
    "n": r"[-+]?\d+(?:[.,:]\d+)*",
}
_CODED = ("'", "http", "status", "code", "errno", "sqlstate")
_ZEROS = str.maketrans("123456789", "000000000")
_MARKS = {"uuid": "id", "ip": "host", "amount": "n"}
_PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _KINDS.items()))


def _mark(found: re.Match[str]) -> str:
    kind = found.lastgroup or "n"
    return found[0] if kind == "code" else f"<{_MARKS.get(kind, kind)}>"


def masked(text: str) -> str:
    """A text with numbers, ids, hosts, paths, times and quoted parts replaced by their kinds; at most 300 characters.

    Codes of an answer, such as that of ``status 503``, stay.

    >>> masked("order 7f3a9c21 for 'Ann' was refused by 10.0.0.7:5432 after 30 s with status 503")
    'order <id> for <text> was refused by <host> after <n> s with status 503'
    """
    text = text[: 4 * _LONGEST]
    folded = text.casefold()
    # Where no code can be, it is all the same which digits there are, and numbered texts are looked at once.
    return _masked(text if any(sign in folded for sign in _CODED) else text.translate(_ZEROS))


@lru_cache(1024)
def _masked(text: str) -> str:
    return _PATTERN.sub(_mark, " ".join(text.split()))[:_LONGEST]


def template(error: BaseException) -> str:
    """The type of an error, and its masked text.

    >>> template(TimeoutError("no answer in 30 s"))
    'TimeoutError: no answer in <n> s'
    """
    return _template(type(error).__name__, str(error)[: 4 * _LONGEST])


@lru_cache(1024)
def _template(kind: str, text: str) -> str:
    return f"{kind}: {masked(text)}"
