"""What a check-up of a broker, a file or this machine finds, as plain values."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Finding", "State"]

State = Literal["ok", "unknown", "warning", "problem"]
"""``warning`` is what will hurt, ``problem`` what does, ``unknown`` what could not be seen."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: how it is, in a sentence without its full stop, and what to do about it.

    >>> Finding("open files", "warning", "at most 256", "raise the limit: ulimit -n 4096").state
    'warning'
    """

    what: str
    state: State
    said: str
    remedy: str = ""
