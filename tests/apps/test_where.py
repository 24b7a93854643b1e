from __future__ import annotations

import pytest

from warren.apps.where import parse
from warren.core.errors import AddressError
from warren.core.message import Metadata

LETTER = Metadata(
    id="7",
    headers={
        "warren-error": "TimeoutError",
        "warren-reason": "no answer from 10.0.0.1",
        "warren-source": "sqlite:orders",
        "warren-attempts": "3",
        "warren-last-failed": "6400.0",
        "region": "eu west",
    },
    timestamp=100.0,
    key="a=b",
)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("error=TimeoutError", True),
        ("error!=TimeoutError", False),
        ("error=Timeout", False),
        ("error~Timeout", True),
        ("queue=orders attempts>=3", True),
        ("queue=orders attempts>3", False),
        ("attempts<10", True),
        ("id<8", True),
        ("key=a=b", True),
        ("key<5", False),
        ("age>1h", False),
        ("age<1h age>=10m", True),
        ("header.region='eu west'", True),
        ("header.region=", False),
        ("header.nothing=", True),
        ("header.warren-error=TimeoutError", True),
        ('reason~"no answer"', True),
        ("id=7 key=x", False),
    ],
)
def test_a_message_fits_where_all_comparisons_hold(text: str, fits: bool) -> None:
    assert parse(text, now=lambda: 7000.0)(LETTER) is fits


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "says nothing"),
        ("error", "'error' is no comparison"),
        ("__import__('os')=1", "is no comparison"),
        ("eror=x", "knows no field 'eror'; there are error"),
        ("header.=x", "knows no field"),
        ("age=1h", "compared with < or >"),
        ("age>soon", "not a duration"),
        ("attempts>many", "which is no number"),
        ("reason~'no", "close each quotation mark"),
    ],
)
def test_what_says_nothing_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(AddressError, match=sentence):
        parse(text)


def test_an_unknown_time_has_no_age() -> None:
    assert not parse("age>0s")(Metadata()) and not parse("age<1h")(Metadata())
