"""Which decision of a model each value on its way is of, and what has become of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Hashable, Iterable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from warren.core.chunk import Chunk
from warren.core.journal import Journal
from warren.core.policies import Chooser, Decision
from warren.core.receipt import MAX_BATCH
from warren.core.shares import Share
from warren.core.stage import Stage
from warren.core.tokens import Kind, Outcome, Part, Token

__all__ = ["Asked"]


class _Sent:
    """The values of one decision: where they were in their chunk, how many are on their way, what became of the others."""

    __slots__ = ("_tokens", "count", "decision", "good", "left", "places", "seconds")

    def __init__(self, decision: Decision, tokens: Sequence[Token], places: Sequence[int]) -> None:
        self.decision = decision
        self._tokens = tokens
        self.places = places
        self.count = self.left = len(places)
        self.good = 0
        self.seconds = 0.0

    @property
    def tokens(self) -> Sequence[Token]:
        tokens, places = self._tokens, self.places
        return tokens[places.start : places.stop] if type(places) is range else [tokens[place] for place in places]


class Asked:
    """Asks a model where the values of a chunk go, and tells it what has become of them.

    The values of a run that go one way mostly end together, and then so do their decisions: each value is looked up only
    where they do not.
    """

    def __init__(self, chooser: Chooser, labels: Sequence[Hashable], stage: Stage) -> None:
        self._chooser = chooser
        self._clock, self._ledger = stage.run.clock, stage.ledger
        chooser.open(labels, self._clock)
        stage.learned("route", [chooser])
        self._journal = Journal(stage, [chooser])
        self._each: dict[Token, _Sent] = {}
        # By its identity each share that is on its way as a whole, and which of them are of a delivery.
        self._shares: dict[int, tuple[Sequence[Token], list[_Sent]]] = {}
        self._of: dict[int, set[int]] = {}
        self._new: list[_Sent] = []
        self._dealt: Sequence[tuple[Decision, Sequence[int]]] = ()
        self._ledger.watch(self._settled)

    def __call__(self, chunk: Chunk) -> tuple[list[Any], dict[int, Exception]]:
        """The answers for the values of a chunk, without those for which there is none, and why."""
        dealt, errors = self._chooser.deal(chunk.values)
        tokens = chunk.tokens if type(chunk.tokens) is range else list(chunk.tokens)
        self._again(tokens)
        answers: list[Any] = [None] * len(tokens)
        for decision, places in dealt:
            if type(places) is range:
                answers[places.start : places.stop] = [decision.done] * len(places)
            else:
                for place in places:
                    answers[place] = decision.done
        self._dealt = dealt
        # What joins a decision that was dealt before is not followed: the first values of that stand for it.
        self._new = [_Sent(decision, tokens, places) for decision, places in dealt if decision.messages <= len(places)]
        if errors or type(tokens) is not range:
            self.scatter()
        for token in tokens if type(tokens) is not range else ():
            if isinstance(token, Part) and token in self._each:
                self._ledger.follow(token, partial(self._settled, [token]))
        return [answer for i, answer in enumerate(answers) if i not in errors] if errors else answers, errors

    def scatter(self) -> None:
        """What was asked about last does not go in shares: look up each value."""
        self._list(self._new)
        self._new, self._dealt = [], ()

    @property
    def pieces(self) -> Sequence[tuple[Hashable, range]]:
        """Which stretches of the chunk that was asked about last go where, in order; none where it is not in stretches."""
        pieces = [(decision.done, places) for decision, places in self._dealt if type(places) is range]
        return pieces if len(pieces) == len(self._dealt) else []

    def went(self, tokens: Sequence[Token], labels: Container[Hashable]) -> None:
        """Of the chunk that was asked about last, these tokens are about to go down the branch that has these labels."""
        if self._new:
            self._shares[id(tokens)] = tokens, [sent for sent in self._new if sent.decision.done in labels]
            for number in _deliveries(tokens):
                self._of.setdefault(number, set()).add(id(tokens))

    def _settled(self, tokens: Sequence[Token], outcome: Outcome) -> None:
        # What goes back to its source as the run ends says nothing of where it was sent.
        if outcome.kind is Kind.RELEASED or not (self._each or self._of):
            return
        success = outcome.kind <= Kind.DELIVERED
        share, sents = self._shares.get(id(tokens), ((), ()))
        if share is not tokens:
            self._break(tokens)
            self._over(tokens, success)
            return
        del self._shares[id(tokens)]
        for number in _deliveries(tokens):
            self._of[number].discard(id(tokens))
            if not self._of[number]:
                del self._of[number]
        now = self._clock()
        for sent in sents:
            self._chooser.ended(sent.decision, now - sent.decision.at, float(success))
        self._journal.tick(now)

    def _over(self, tokens: Iterable[Token], success: bool) -> None:
        now = self._clock()
        for sent, count in Counter(map(self._each.pop, tokens, repeat(None))).items():
            if sent is not None:
                sent.left -= count
                sent.good += count * success
                sent.seconds += count * (now - sent.decision.at)
                if not sent.left:
                    self._chooser.ended(sent.decision, sent.seconds / sent.count, sent.good / sent.count)
        self._journal.tick(now)

    def _again(self, tokens: Sequence[Token]) -> None:
        """A message that comes again was not done where it went before."""
        self._break(tokens)
        if self._each and not self._each.keys().isdisjoint(tokens):
            self._over([token for token in tokens if token in self._each], False)

    def _break(self, tokens: Sequence[Token]) -> None:
        """Look up each value of the shares that some of these may be in."""
        for number in _deliveries(tokens) if self._of else ():
            for share in self._of.pop(number, ()):
                self._list(self._shares.pop(share)[1])

    def _list(self, sents: Iterable[_Sent]) -> None:
        for sent in sents:
            self._each.update(dict.fromkeys(sent.tokens, sent))


def _deliveries(tokens: Sequence[Token]) -> set[int]:
    """The numbers of the deliveries that source tokens are of."""
    run = tokens.run if type(tokens) is Share else tokens
    if type(run) is range:
        return {run.start // MAX_BATCH} if run else set()
    return {token // MAX_BATCH for token in run if type(token) is int}
