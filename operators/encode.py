"""`encode`: say how a sink writes values."""

from __future__ import annotations

from typing import Any

from warren.core.chunk import apply_each
from warren.core.codecs import encode as to_bytes
from warren.core.codecs import encoder
from warren.core.errors import EncodeError, GraphError
from warren.core.graph import Operator
from warren.core.message import Encoded
from warren.core.stage import Handler, Stage

__all__ = ["encode"]


def encode(content_type: str) -> Operator[Any, Encoded]:
    r"""Encode values in a content type of your choice; put it right before the sink.

    Without it a sink writes data frames as Arrow, bytes as they are and everything else as JSON. With it, say,
    ``"application/msgpack"``, or ``"application/vnd.apache.arrow.stream; compression=zstd"`` for data frames whose columns
    are packed (``lz4`` packs less and is quicker). The sink's ``key=`` and ``headers=`` see the values as they were.

    Keeps the delivery guarantee: a value that cannot be encoded fails with `EncodeError`.

    Raises `GraphError` for a content type that no codec writes.

    >>> from warren import Pipeline
    >>> from warren.connectors import memory
    >>> flow = memory.items([]) | encode("application/msgpack") | memory.into([])
    >>> Pipeline("packed", flow).test([{"a": 1}]).values
    [Encoded(b'\x81\xa1a\x01', 'application/msgpack')]
    """
    if not isinstance(content_type, str) or not content_type:
        raise GraphError(f"encode({content_type!r}): give a content type, such as 'application/msgpack'")
    try:
        encoder(content_type)
    except EncodeError as error:
        raise GraphError(f"encode({content_type!r}): {error}") from error
    return _Encode(content_type)


class _Encode(Operator[Any, Encoded]):
    def __init__(self, content_type: str) -> None:
        self.content_type = content_type

    @property
    def name(self) -> str:
        return f"encode({self.content_type})"

    def attach(self, stage: Stage) -> Handler:
        content_type = self.content_type

        def encoded(value: Any) -> Encoded:
            return Encoded(*to_bytes(value, content_type), value)

        return lambda chunk: stage.survivors(chunk, *apply_each(encoded, chunk.values))
