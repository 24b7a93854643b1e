"""Messages that look alike, taken apart in one look: most of what the fast lane reads."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warren.connectors.rabbitmq.port import Arrivals

__all__ = ["Shape"]

_HEAD = struct.Struct(">BHI")
_CONTENT = struct.Struct(">BHIIQ")
_layout = lru_cache(maxsize=512)(struct.Struct)


class Shape:
    """What the three frames of a message have in common with those of the next one of the same queue.

    Where they differ in nothing but delivery tag, properties and body, one look at the bytes takes a message apart.
    """

    __slots__ = ("came", "first", "last", "middle", "size", "unpack")

    def __init__(self, data: bytes, position: int, tag_at: int, header: int, properties: int, came: Arrivals) -> None:
        middle = header + 11 - (tag_at + 9)
        layout = _layout(f">{tag_at - position}sQB{middle}sQ{properties}s4sI")
        self.came = came
        self.unpack = layout.unpack_from
        self.size = layout.size
        self.first, _, _, self.middle, _, _, self.last, _ = self.unpack(data, position)

    @classmethod
    def seen(cls, data: bytes, position: int, length: int, came: Arrivals) -> Shape | None:
        """The shape of the message that begins at ``position``; ``None`` where it is not all there, or has no body."""
        tag_at = position + 12 + data[position + 11]
        _, number, size = _HEAD.unpack_from(data, position)
        header = position + 8 + size
        if length - header < 20:
            return None
        kind, channel, size, _, total = _CONTENT.unpack_from(data, header)
        body = header + 8 + size
        if (kind, channel) != (2, number) or not total or length - body < 8 + total:
            return None
        if _HEAD.unpack_from(data, body) != (3, channel, total) or not data[body - 1] == data[body + 7 + total] == 0xCE:
            return None
        return cls(data, position, tag_at, header, size - 12, came)

    def take(self, data: bytes, position: int, length: int) -> int:
        """Take the messages of this shape from ``position`` on; returns where the first other bytes begin."""
        unpack, size, first, middle, last, came = self.unpack, self.size, self.first, self.middle, self.last, self.came
        bodies, heads, tags, room, total_size = came.bodies, came.heads, came.tags, length - size, 0
        while position <= room:
            begin, tag, again, between, total, properties, behind, piece = unpack(data, position)
            start = position + size
            stop = start + total
            if (
                begin != first
                or between != middle
                or behind != last
                or piece != total
                or stop >= length
                or data[stop] != 0xCE
            ):
                break
            bodies.append(data[start:stop])
            heads.append(properties)
            tags.append(tag)
            total_size += total
            if again:
                came.again.add(tag)
            position = stop + 1
        came.size += total_size
        return position
