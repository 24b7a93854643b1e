"""What is known of a message besides its payload, and the struct of arrays a source reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from warren.core.tokens import Token

__all__ = ["ATTEMPTS", "CORRELATION", "TENANT", "TRACE", "Batch", "Columns", "Encoded", "Metadata", "Outgoing"]

TENANT = "warren-tenant"
TRACE = "traceparent"
CORRELATION = "correlation-id"
ATTEMPTS = "warren-attempts"

_NO_HEADERS: Mapping[str, str] = {}
_SAMPLED = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf](-|$)").match


class Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one message besides its payload.

    ``timestamp`` is in seconds since 1970 (when the message was enqueued); ``attempt`` counts from 1.

    >>> Metadata(id="7", headers={"warren-tenant": "acme"}).tenant
    'acme'
    """

    id: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    timestamp: float = 0.0
    key: str | None = None
    attempt: int = 1
    content_type: str = ""

    @property
    def tenant(self) -> str | None:
        """Whose message it is, from the header ``warren-tenant``."""
        return self.headers.get(TENANT)

    @property
    def trace(self) -> str | None:
        """The W3C trace context, from the header ``traceparent``."""
        return self.headers.get(TRACE)

    @property
    def correlation(self) -> str:
        """What it belongs to: the header ``correlation-id``, or its id where it has none."""
        return self.headers.get(CORRELATION) or self.id


class Columns(NamedTuple):
    """What is known of several messages, as a struct of arrays; a column that says nothing of any of them is ``None``."""

    ids: Sequence[str] | None = None
    keys: Sequence[str | None] | None = None
    headers: Sequence[Mapping[str, str] | None] | None = None

    @staticmethod
    def of(metadata: Sequence[Metadata]) -> Columns:
        """The columns of metadata at hand.

        >>> Columns.of([Metadata(id="1"), Metadata(id="2")])
        Columns(ids=['1', '2'], keys=None, headers=None)
        """
        columns: Any = ([each.id for each in metadata], [each.key for each in metadata], [each.headers for each in metadata])
        return Columns(*(column if any(column) else None for column in columns))

    @staticmethod
    def joined(parts: Sequence[Columns], lengths: Sequence[int]) -> Columns:
        """Columns that follow each other, as one; ``lengths`` are how many messages each is of.

        >>> Columns.joined([Columns(["1"]), Columns()], [1, 2])
        Columns(ids=['1', '', ''], keys=None, headers=None)
        """
        if len(parts) == 1:
            return parts[0]

        def column(index: int, missing: Any) -> Any:
            if all(part[index] is None for part in parts):
                return None
            given = zip(parts, lengths, strict=True)
            return list(chain.from_iterable(part[index] or [missing] * length for part, length in given))

        return Columns(column(0, ""), column(1, None), column(2, None))


class Batch(msgspec.Struct):
    """What a source read in one go, as a struct of arrays; a column the source has nothing to say about is ``None``.

    - ``bodies``: bytes to decode, or ready values where the source has no codec
    - ``handles``: what the source needs to settle each message (delivery tags, row numbers)
    - ``content_type``: one for all, or one per message
    - ``ids``, ``keys``, ``headers``: per message
    - ``enqueued``: seconds since 1970
    - ``attempts``: durable count of tries, from 1; ``deliveries``: how often handed out, crashes included
    - ``depth``: messages still waiting at the source, where it knows
    """

    bodies: Sequence[Any]
    handles: Sequence[Hashable]
    content_type: str | Sequence[str] = ""
    ids: Sequence[str] | None = None
    keys: Sequence[str | None] | None = None
    headers: Sequence[Mapping[str, str] | None] | None = None
    enqueued: Sequence[float] | None = None
    attempts: Sequence[int] | None = None
    deliveries: Sequence[int] | None = None
    depth: int | None = None

    def __len__(self) -> int:
        """How many messages were read."""
        return len(self.bodies)

    def columns(self, places: Sequence[int]) -> Columns:
        """What is known of some of its messages, as a struct of arrays.

        >>> Batch(bodies=["a", "b", "c"], handles=[7, 8, 9], keys=["x", None, None]).columns([0, 2])
        Columns(ids=['7', '9'], keys=['x', None], headers=None)
        """
        ids, keys, headers = self.ids, self.keys, self.headers
        return Columns(
            [ids[i] for i in places] if ids is not None else [str(self.handles[i]) for i in places],
            [keys[i] for i in places] if keys is not None else None,
            [headers[i] for i in places] if headers is not None else None,
        )

    def metadata(self, index: int) -> Metadata:
        """The metadata of one message, put together on request."""
        content_type = self.content_type
        return Metadata(
            id=self.ids[index] if self.ids is not None else str(self.handles[index]),
            headers=(self.headers[index] if self.headers is not None else None) or _NO_HEADERS,
            timestamp=self.enqueued[index] if self.enqueued is not None else 0.0,
            key=self.keys[index] if self.keys is not None else None,
            attempt=self.attempts[index] if self.attempts is not None else 1,
            content_type=content_type if isinstance(content_type, str) else content_type[index],
        )

    def sampled(self) -> Sequence[int]:
        """The places of the messages whose trace context says that they are followed.

        >>> Batch(bodies=["a", "b"], handles=[1, 2], headers=[None, {TRACE: f"00-{1:032x}-{2:016x}-01"}]).sampled()
        [1]
        """
        headers = self.headers
        if headers is None:
            return ()
        return [i for i, each in enumerate(headers) if each and (trace := each.get(TRACE)) and _SAMPLED(trace)]

    def origin(self, index: int) -> Mapping[str, str]:
        """Headers that a dead letter of one message carries besides its own, so that it can go back as it was."""
        return _NO_HEADERS


class Encoded:
    """A value that is already encoded: sinks write ``body`` as it is, with its ``content_type``.

    ``value`` is what it was made of, for what a sink computes from values (keys, headers, routing keys).

    >>> Encoded(b"a,b", "text/csv", ["a", "b"])
    Encoded(b'a,b', 'text/csv')
    """

    __slots__ = ("body", "content_type", "value")

    def __init__(self, body: bytes, content_type: str, value: Any = None) -> None:
        self.body = body
        self.content_type = content_type
        self.value = value

    def __repr__(self) -> str:
        return f"Encoded({self.body!r}, {self.content_type!r})"


class Outgoing:
    """What a sink is asked to write in one go: the values, and the metadata of each on request.

    A value that is ``bytes`` is written as it is, with the content type its metadata gives; one that is `Encoded`, with
    the content type it brings. ``anonymous`` says that
    nothing is known of any of them, so that nobody has to ask for each. ``columns`` gives what is known of all at once.
    ``tokens`` are those of the values in order, in as many sequences as they came in.
    """

    __slots__ = ("_columns", "anonymous", "metadata", "tokens", "values")

    def __init__(
        self,
        values: Sequence[Any],
        metadata: Callable[[int], Metadata] | None = None,
        columns: Callable[[], Columns] | None = None,
        tokens: Sequence[Sequence[Token]] = (),
    ) -> None:
        self.values = values
        self.tokens = tokens
        self.anonymous = metadata is None
        self.metadata: Callable[[int], Metadata] = metadata or (lambda index: Metadata())
        self._columns = columns

    def columns(self) -> Columns:
        """Ids, keys and headers, as a struct of arrays."""
        if self.anonymous:
            return Columns()
        return (
            self._columns() if self._columns is not None else Columns.of(list(map(self.metadata, range(len(self.values)))))
        )

    def labelled(self, labels: Mapping[int, Mapping[str, str]]) -> Outgoing:
        """The same, with headers put over those of some, by place.

        >>> Outgoing(["a", "b"]).labelled({1: {"colour": "red"}}).columns().headers
        [None, {'colour': 'red'}]
        """
        before = self.metadata

        def metadata(index: int) -> Metadata:
            known = before(index)
            if index not in labels:
                return known
            return msgspec.structs.replace(known, headers={**known.headers, **labels[index]})

        def columns() -> Columns:
            ids, keys, given = self.columns()
            headers: list[Mapping[str, str] | None] = [None] * len(self) if given is None else list(given)
            for index, label in labels.items():
                headers[index] = {**(headers[index] or {}), **label}
            return Columns(ids, keys, headers)

        return Outgoing(self.values, metadata, columns, self.tokens)

    def originals(self) -> Sequence[Any]:
        """The values as they were before a step encoded them.

        >>> Outgoing([1, Encoded(b"2", "text/plain", 2)]).originals()
        [1, 2]
        """
        if Encoded not in set(map(type, self.values)):
            return self.values
        return [value.value if type(value) is Encoded else value for value in self.values]

    def __len__(self) -> int:
        """How many messages are to be written."""
        return len(self.values)
