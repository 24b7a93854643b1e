"""Receipts: which source message each value descends from, and when the source may be told.

A source message is one integer, its token: the number of its delivery in the high bits, its place in the delivery in the
low ones. A run of untouched messages is a ``range``, and what a step deals out of it are `Share`s, so the happy path handles
no per-message object. Where one message becomes many, each gets a `Part`, made when one goes its own way: until then they
are `Parts`. Where many become one, it gets a `Merge`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

from warren.core.delivery import Delivery
from warren.core.held import Early, Held
from warren.core.message import Batch, Columns, Metadata
from warren.core.shares import Share, halves
from warren.core.tokens import DELIVERED, FILTERED, RELEASED, Kind, Merge, Outcome, Part, Parts, Piece, Split, Token, origins

__all__ = [
    "DELIVERED",
    "FILTERED",
    "RELEASED",
    "Delivery",
    "Kind",
    "Ledger",
    "Merge",
    "Outcome",
    "Part",
    "Parts",
    "Piece",
    "Share",
    "Token",
]

_SHIFT = 20
MAX_BATCH = 1 << _SHIFT
_FEW = 8


class Ledger:
    """Knows every unsettled message of a running pipeline, and tells ``settled`` once for each, whatever happens.

    ``settled(delivery, tokens, outcome)`` is called with the source tokens that have just reached their end. Settling a
    token twice, or one of a delivery that is gone, does nothing.

    >>> done = []
    >>> ledger = Ledger(lambda delivery, tokens, outcome: done.append((list(tokens), outcome.kind.name)))
    >>> delivery = ledger.accept("orders", Batch(bodies=["a", "b"], handles=[1, 2]), received=0.0)
    >>> a, b = delivery.tokens
    >>> both = ledger.merge([[a, b]])
    >>> left, right = ledger.split(both, 2)
    >>> ledger.settle([left], DELIVERED); ledger.settle([left], DELIVERED); done
    []
    >>> ledger.settle([right], DELIVERED); [kind for _, kind in done], ledger.outstanding
    (['DELIVERED'], 0)
    """

    def __init__(self, settled: Callable[[Delivery, Sequence[int], Outcome], None]) -> None:
        self._settled = settled
        self._deliveries: dict[int, Delivery] = {}
        self._next = 0
        self._held = Held()
        self._watchers: list[Callable[[Sequence[int], Outcome], None]] = []
        self._followed: dict[Part, Callable[[Outcome], None]] = {}
        self.outstanding = 0
        self.read: dict[object, int] = {}
        """How many messages each source gave that had not been handed out before."""
        self.scopes: dict[object, str] = {}
        """What tells the ids of a source from those of others, for every source but the first."""

    def watch(self, watcher: Callable[[Sequence[int], Outcome], None]) -> None:
        """Have ``watcher`` called with the source tokens that have just reached their end, and how.

        For steps that must know what became of a message. It may settle others, and starts anything else by a timer.

        >>> ledger = Ledger(lambda delivery, tokens, outcome: None)
        >>> ledger.watch(lambda tokens, outcome: print(list(tokens), outcome.kind.name))
        >>> ledger.settle(ledger.accept("orders", Batch(bodies=["a"], handles=[1]), received=0.0).tokens, DELIVERED)
        [0] DELIVERED
        """
        self._watchers.append(watcher)

    def follow(self, part: Part, watcher: Callable[[Outcome], None]) -> None:
        """Have ``watcher`` called once all made of one part is settled, which its message may not be yet, and how."""
        self._followed[part] = watcher

    def accept(self, source: object, batch: Batch, received: float, *, made: bool = False) -> Delivery:
        """Take over what a source has read (at most `MAX_BATCH` messages); from now on each message must be settled.

        ``made`` says that they are of a step's state and not read.
        """
        if not made:
            counts = batch.deliveries
            fresh = len(batch) if not counts or max(counts) < 2 else sum(count < 2 for count in counts)
            self.read[source] = self.read.get(source, 0) + fresh
        delivery = Delivery(source, batch, self._next << _SHIFT, received)
        self._deliveries[self._next] = delivery
        self._next += 1
        self.outstanding += len(batch)
        return delivery

    def merge(self, segments: Sequence[Sequence[Token]], rows: object = None) -> Merge:
        """One token for a value that descends from all these; ``rows`` is that value if it has a row for each."""
        self._held.plain = False
        return Merge(segments, rows)

    def split(self, token: Token, count: int, piece: Piece | None = None) -> Sequence[Token]:
        """Tokens for ``count`` values that descend from one; the message is settled when the last of them is.

        With ``piece``, a part that fails becomes a dead letter of its own; otherwise the whole message does.
        """
        if count == 1 and piece is None:
            return (token,)
        self._held.plain = False
        split = Split(token, count, piece)
        return [Part(split, index) for index in range(count)]

    def split_all(self, tokens: Sequence[Token], counts: Sequence[int]) -> tuple[Sequence[Token], Sequence[Token]]:
        """Tokens for so many values of each of these, and those of which there are none, which are to be settled.

        >>> parts, none = Ledger(lambda delivery, tokens, outcome: None).split_all([3, 4, 5], [1, 0, 2])
        >>> len(parts), parts.parents, none
        (3, [3, 5], [4])
        """
        none: Sequence[Token] = ()
        if not all(counts):
            tokens, none = halves(tokens, counts, len(counts) - counts.count(0))
            counts = list(filter(None, counts))
        self._held.plain = False
        return Parts(tokens, counts), none

    def another(self, part: Part) -> Part:
        """One more part beside one that `split` gave; the message is settled when the last of them is."""
        part.split.pending += 1
        part.split.count += 1
        return Part(part.split, part.split.count - 1)

    def settle(self, tokens: Sequence[Token], outcome: Outcome) -> None:
        """Say how values ended. Call it only when their effects are safe."""
        if not tokens:
            return
        if type(tokens) is Parts and tokens.whole:
            self.settle(tokens.parents, outcome)
            return
        first = tokens.run[0] if type(tokens) is Share else tokens[0]
        if type(first) is int:
            delivery = self._deliveries.get(first >> _SHIFT)
            if delivery is not None and delivery.take(tokens):
                self._close(delivery, tokens, outcome)  # type: ignore[arg-type]  # take has shown that all are int
                return
        self._settle_mixed(tokens, outcome)

    def _settle_mixed(self, tokens: Sequence[Token], outcome: Outcome) -> None:
        ended: dict[Outcome, list[int]] = {}
        self._end(tokens, outcome, ended)
        for how, some in ended.items():
            plain: dict[int, list[int]] = {}
            last, same = -1, some
            for origin in dict.fromkeys(some):
                if origin >> _SHIFT != last:
                    last = origin >> _SHIFT
                    same = plain.setdefault(last, [])
                same.append(origin)
            for number, taken in plain.items():
                delivery = self._deliveries.get(number)
                if delivery and (delivery.take(taken) or (taken := [each for each in taken if delivery.take((each,))])):
                    self._close(delivery, taken, how)

    def _end(self, tokens: Sequence[Token], outcome: Outcome, ended: dict[Outcome, list[int]]) -> None:
        """Settle tokens that are not one run, but for their source tokens: append these by how they ended."""
        plain = ended.setdefault(outcome, [])
        last, same = outcome, plain
        for token in tokens:
            if isinstance(token, int):
                plain.append(token)
            elif not token.settled:
                token.settled = True
                if isinstance(token, Merge):
                    few: list[Token] = []
                    for segment in token.segments:
                        # Few tokens are sooner settled together with those of other segments.
                        if len(segment) > _FEW or type(segment) is Parts:
                            self.settle(segment, outcome)
                        else:
                            few += segment
                    self._end(few, outcome, ended)
                    continue
                if self._followed and (watcher := self._followed.pop(token, None)) is not None:
                    watcher(outcome)
                split = token.split
                split.pending -= 1
                if outcome.kind > split.outcome.kind:
                    split.outcome = outcome
                if not split.pending and type(split.parent) is int:
                    if split.outcome is not last:
                        last, same = split.outcome, ended.setdefault(split.outcome, [])
                    same.append(split.parent)
                elif not split.pending:
                    self._end((split.parent,), split.outcome, ended)

    def _close(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        self.outstanding -= len(tokens)
        self._held.ended(tokens)
        if delivery.done:
            self._deliveries.pop(delivery.base >> _SHIFT, None)
        self._settled(delivery, tokens, outcome)
        for watcher in self._watchers:
            watcher(tokens, outcome)

    def release_all(self) -> int:
        """Give every unsettled message back to its source, and say how many there were."""
        count = self.outstanding
        for delivery in list(self._deliveries.values()):
            self.settle(delivery.unsettled, RELEASED)
        return count

    @staticmethod
    def origins(token: Token) -> Iterator[int]:
        """The source tokens a token descends from."""
        return origins(token)

    def numbers(self, tokens: Sequence[Token]) -> frozenset[int]:
        """The deliveries that values descend from, for `holds`."""
        if type(tokens) is Parts:
            return self.numbers(tokens.parents)
        if isinstance(tokens, range):
            return frozenset((tokens[0] >> _SHIFT,))
        origins = (self.origins(token) if not isinstance(token, int) else (token,) for token in tokens)
        return frozenset(origin >> _SHIFT for each in origins for origin in each)

    def holds(self, numbers: frozenset[int]) -> bool:
        """Whether any message of these deliveries is unsettled."""
        return not numbers.isdisjoint(self._deliveries)

    def read_of(self, numbers: frozenset[int]) -> dict[object, int]:
        """`read` of the sources of some deliveries."""
        sources = {delivery.source for number in numbers if (delivery := self._deliveries.get(number)) is not None}
        return {source: self.read[source] for source in sources if source in self.read}

    @property
    def oldest(self) -> int:
        """The number of the oldest delivery that is not settled as a whole."""
        return next(iter(self._deliveries), self._next)

    @property
    def repeating(self) -> int:
        """The number of the newest delivery that is not settled as a whole and has messages handed out before, or -1."""
        return next((number for number in reversed(self._deliveries) if self._deliveries[number].repeats), -1)

    def delivery(self, origin: int) -> Delivery | None:
        """The delivery of a source token, while any of it is unsettled."""
        return self._deliveries.get(origin >> _SHIFT)

    def metadata(self, token: Token) -> Metadata:
        """The metadata of a value: its message's own; ids of parts and merges are derived, and stable for parts."""
        origin = next(self.origins(token))
        delivery = self._deliveries.get(origin >> _SHIFT)
        if delivery is None:
            return Metadata()
        metadata = delivery.batch.metadata(origin - delivery.base)
        if isinstance(token, int):
            return metadata
        return msgspec.structs.replace(metadata, id=self._derived_id(token))

    def repeated(self, tokens: Sequence[Token]) -> Sequence[bool] | None:
        """Which values descend from a message that was handed out or tried before; ``None`` where none does."""
        if type(tokens) is Parts:
            of_parents = self.repeated(tokens.parents)
            return None if of_parents is None else tokens.spread(of_parents)
        first = tokens[0]
        delivery = self._deliveries.get(first >> _SHIFT) if type(first) is int else None
        if delivery is not None and not delivery.repeats and not delivery.retries:
            run = delivery.tokens
            if type(tokens) is range or all(type(token) is int and token in run for token in tokens):
                return None
        found = [self._was_tried(next(self.origins(token))) for token in tokens]
        return found if any(found) else None

    def _was_tried(self, origin: int) -> bool:
        delivery = self._deliveries.get(origin >> _SHIFT)
        return delivery is not None and delivery.was_tried(origin)

    def columns(self, tokens: Sequence[Token]) -> Columns:
        """The metadata of several values as a struct of arrays; at once where they come from one delivery, untouched."""
        if type(tokens) is Parts:
            return self._columns_of_parts(tokens)
        first = tokens[0]
        if type(first) is int:
            delivery = self._deliveries.get(first >> _SHIFT)
            if delivery is not None:
                run, base = delivery.tokens, delivery.base
                if type(tokens) is range or all(type(token) is int and token in run for token in tokens):
                    return delivery.batch.columns([token - base for token in tokens])  # type: ignore[operator]  # all are int
        return Columns.of(list(map(self.metadata, tokens)))

    def _columns_of_parts(self, parts: Parts) -> Columns:
        ids, keys, headers = self.columns(parts.parents)
        if ids is not None:
            each = zip(ids, parts.counts, strict=True)
            ids = [name if count == 1 else f"{name}/{i}" for name, count in each for i in range(count)]
        return Columns(ids, keys and parts.spread(keys), headers and parts.spread(headers))

    def scope(self, token: Token) -> str:
        """What tells the ids of a value's source from those of others."""
        delivery = self._deliveries.get(next(self.origins(token)) >> _SHIFT)
        return self.scopes.get(delivery.source, "") if delivery is not None else ""

    def _derived_id(self, token: Token) -> str:
        if isinstance(token, Part):
            return f"{self._derived_id(token.split.parent)}/{token.index}"
        if isinstance(token, Merge):
            return f"{self._derived_id(token.segments[0][0])}+{sum(map(len, token.segments)) - 1}"
        return self.metadata(token).id

    def count_retry(self, token: Token) -> None:
        """Count one more attempt for the messages a value descends from."""
        for origin in self.origins(token):
            delivery = self.delivery(origin)
            if delivery is not None:
                delivery.retries[origin] = delivery.retries.get(origin, 0) + 1

    def wait(self, token: Token, early: Early | None = None) -> None:
        """Say that a value is held back for a retry, so that event time must not pass it.

        If another step resumes it before it comes back to this one, it is put into ``early``.
        """
        self._held.wait(token, early)

    def resume(self, tokens: Sequence[Token], early: Early | None = None) -> Sequence[Token]:
        """Say that values are not held back any more, nor what they were made of; other parts of it may still be.

        Returns the tokens among these that were held back with this ``early``.
        """
        return self._held.resume(tokens, early)

    @property
    def waiting(self) -> Collection[int]:
        """The source tokens that are held back for a retry."""
        return self._held.messages

    @property
    def deliveries(self) -> Iterator[Delivery]:
        """What is not settled as a whole, the newest first."""
        return reversed(self._deliveries.values())
