from __future__ import annotations

import inspect
import re

import pytest

from warren.core import errors


def test_the_drawing_is_the_tree() -> None:
    drawn = re.findall(r"^[│├└─ ]*(\w+Error)\b", str(errors.__doc__), re.MULTILINE)
    real = {name for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, errors.WarrenError)}
    assert set(drawn) == real
    assert len(drawn) == len(real)


def test_everything_descends_from_one_root() -> None:
    names = [name for name in errors.__all__ if name.endswith("Error")]
    assert all(issubclass(getattr(errors, name), errors.WarrenError) for name in names)
    assert list(errors.__all__) == sorted(errors.__all__)


def test_a_partial_write_knows_the_positions_and_shows_the_first() -> None:
    error = errors.PartialWriteError({3: ValueError("too large"), 5: ValueError("other")})
    assert set(error.errors) == {3, 5}
    assert str(error) == "2 message(s) of one write were refused; the first: too large"


@pytest.mark.parametrize("limit", [10, 50])
def test_shorten_keeps_within_its_limit(limit: int) -> None:
    assert len(errors.shorten("x" * 1000, limit)) == limit
    assert errors.shorten("x", limit) == "'x'"


def raised(where: int, text: str) -> Exception:
    try:
        if where:
            int(text)
        else:
            {}[text]
    except (KeyError, ValueError) as error:
        return error
    raise AssertionError


def test_fingerprints_tell_kinds_apart_and_not_values() -> None:
    assert errors.fingerprint(raised(1, "a")) == errors.fingerprint(raised(1, "b"))
    assert errors.fingerprint(raised(0, "a")) != errors.fingerprint(raised(1, "a"))
    assert errors.fingerprint(raised(1, "a")) != errors.fingerprint(ValueError("a"))
