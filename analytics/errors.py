"""Classes of errors: failures that are the same but for numbers, ids and names, and what to do about each class."""

from __future__ import annotations

import re

__all__ = ["masked", "template"]

_PARTS = [
    (re.compile(pattern), mark)
    for pattern, mark in (
        (r"\b[a-z][a-z0-9+.-]*://\S+", "<url>"),
        (r"\b[\w.+-]+@[\w-]+\.[\w.-]+", "<address>"),
        (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<id>"),
        (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?", "<time>"),
        (r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.])", "<host>"),
        (r"\b(?:[a-zA-Z0-9_](?:[\w-]*\w)?\.)+(?:com|org|net|io|internal|local|svc|lan|corp|cloud)\b(?::\d+)?", "<host>"),
        (r"'[^']*'|\"[^\"]*\"|`[^`]*`", "<text>"),
        (r"(?<![\w<])/(?:[\w.@-]+/)*[\w.@-]+", "<path>"),
        (r"\b0x[0-9a-fA-F]+\b|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}\b", "<id>"),
        (r"\b(?=\w*\d)(?=\w*[a-zA-Z])\w+(?:-\w*\d\w*)*\b", "<id>"),
        (r"[-+]?\d+(?:[.,]\d+)*", "<n>"),
    )
]
_LONGEST = 300


def masked(text: str) -> str:
    """A text with numbers, ids, hosts, paths, times and what is quoted replaced by their kinds; at most 300 characters.

    >>> masked("order 7f3a9c21 for 'Ann' was refused by 10.0.0.7:5432 after 30 s")
    'order <id> for <text> was refused by <host> after <n> s'
    """
    text = " ".join(text[: 4 * _LONGEST].split())
    for pattern, mark in _PARTS:
        text = pattern.sub(mark, text)
    return text[:_LONGEST]


def template(error: BaseException) -> str:
    """The type of an error, and its masked text.

    >>> template(TimeoutError("no answer in 30 s"))
    'TimeoutError: no answer in <n> s'
    """
    return f"{type(error).__name__}: {masked(str(error))}"
