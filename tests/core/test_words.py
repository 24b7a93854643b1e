import pytest

from warren.core.words import plural


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("message",), "0 messages"),
        (1, ("message",), "1 message"),
        (1_234, ("message",), "1,234 messages"),
        (1, ("letter was", "letters were"), "1 letter was"),
        (2, ("letter was", "letters were"), "2 letters were"),
    ],
)
def test_a_count_and_what_it_is_of(count: int, words: tuple[str, ...], said: str) -> None:
    assert plural(count, *words) == said
