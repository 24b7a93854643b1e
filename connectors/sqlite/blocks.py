"""Blocks: how messages that were written together are stored, and read back as batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from warren.connectors.records import Records
from warren.core.codecs import JSON
from warren.core.message import Batch

__all__ = ["NO_BLOCK", "Block", "Ids", "Run", "joined", "pack", "split", "unpack"]

_BLOCK_MESSAGES = 1024
_BLOCK_BYTES = 256 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode_bodies = msgspec.msgpack.Decoder(list[bytes]).decode


class _About(msgspec.Struct, omit_defaults=True):
    content_type: str | Sequence[str] = JSON
    ids: Sequence[str] | None = None
    keys: Sequence[str | None] | None = None
    headers: Sequence[Mapping[str, str]] | None = None


_decode_about = msgspec.msgpack.Decoder(_About).decode
_NOTHING = _About()


class Run(NamedTuple):
    """Messages that follow each other and share their state."""

    first: int
    last: int
    visible: float
    attempts: int
    deliveries: int


class Ids(Sequence[str]):
    """The ids of messages that were written without one, made on request: unique among files, stable in each."""

    __slots__ = ("positions", "prefix")

    def __init__(self, prefix: str, positions: Sequence[int]) -> None:
        self.prefix = prefix
        self.positions = positions

    def __len__(self) -> int:
        """How many."""
        return len(self.positions)

    def __getitem__(self, index: Any) -> Any:
        """One id, or those of a slice."""
        if isinstance(index, slice):
            return Ids(self.prefix, self.positions[index])
        return f"{self.prefix}-{self.positions[index]:x}"


class Block(NamedTuple):
    """Messages that were written together."""

    first: int
    last: int
    enqueued: float
    bodies: list[bytes]
    about: _About

    def batch(self, prefix: str, positions: range, run: Run) -> Batch:
        """Some of its messages, handed out as a part of a run."""
        about, count = self.about, len(positions)
        where = slice(positions.start - self.first, positions.stop - self.first)
        ids: Sequence[str] = Ids(prefix, positions)
        if about.ids is not None:
            ids = [given or made for given, made in zip(about.ids[where], ids, strict=True)]
        first = run.deliveries == 1 and run.attempts == 1
        return Batch(
            bodies=self.bodies[where],
            handles=positions,
            content_type=about.content_type if isinstance(about.content_type, str) else about.content_type[where],
            ids=ids,
            keys=about.keys[where] if about.keys is not None else None,
            headers=about.headers[where] if about.headers is not None else None,
            enqueued=[self.enqueued] * count,
            attempts=None if first else [run.attempts] * count,
            deliveries=None if first else [run.deliveries] * count,
        )


NO_BLOCK = Block(0, -1, 0.0, [], _NOTHING)


def pack(records: Records) -> tuple[bytes, bytes | None]:
    """The two columns that store messages: their bodies, and what is told about them, if anything is."""
    about = _About(*records[1:])
    return _encode(records.bodies), _encode(about) if about != _NOTHING else None


def unpack(first: int, last: int, enqueued: float, bodies: bytes, about: bytes | None) -> Block:
    """A block as it is stored."""
    return Block(first, last, enqueued, _decode_bodies(bodies), _decode_about(about) if about is not None else _NOTHING)


def split(records: Records) -> Iterator[Records]:
    """What goes into one block each."""
    sizes = list(map(len, records.bodies))
    if len(sizes) <= _BLOCK_MESSAGES and sum(sizes) <= _BLOCK_BYTES:
        yield records
        return
    start = total = 0
    for i, size in enumerate(sizes):
        if i > start and (i - start == _BLOCK_MESSAGES or total + size > _BLOCK_BYTES):
            yield records.part(slice(start, i))
            start, total = i, 0
        total += size
    yield records.part(slice(start, None))


def joined(pieces: Sequence[Batch], prefix: str) -> Batch:
    """Batches that follow each other, as one."""

    def column(name: str, missing: Any) -> Any:
        columns = [getattr(piece, name) for piece in pieces]
        if all(each is None for each in columns):
            return None
        filled = [each if each is not None else [missing] * len(piece) for each, piece in zip(columns, pieces, strict=True)]
        return [value for each in filled for value in each]

    first: Any = pieces[0].handles[0]
    last: Any = pieces[-1].handles[-1]
    handles: Any = range(first, last + 1)
    if len(handles) != sum(map(len, pieces)):
        handles = column("handles", None)
    types = [piece.content_type for piece in pieces]
    content_type: Any = types[0]
    if not isinstance(content_type, str) or any(each != content_type for each in types):
        content_type = []
        for piece, each in zip(pieces, types, strict=True):
            content_type += [each] * len(piece) if isinstance(each, str) else each
    return Batch(
        bodies=column("bodies", b""),
        handles=handles,
        content_type=content_type,
        ids=Ids(prefix, handles) if all(isinstance(piece.ids, Ids) for piece in pieces) else column("ids", ""),
        keys=column("keys", None),
        headers=column("headers", None),
        enqueued=column("enqueued", 0.0),
        attempts=column("attempts", 1),
        deliveries=column("deliveries", 1),
    )
