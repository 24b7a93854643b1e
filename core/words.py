"""Words that people read."""

from __future__ import annotations

__all__ = ["plural"]


def plural(count: int, one: str, many: str = "") -> str:
    """A count and what it is of, as words: of ``one``, or of ``many``, which has an s more unless given.

    >>> plural(1, "message"), plural(2_000, "message")
    ('1 message', '2,000 messages')
    >>> plural(1, "message is", "messages are")
    '1 message is'
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
