"""What a model is told of the values that it sent somewhere, however they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.operators.fake import FakeRun
from warren.connectors import memory
from warren.core.chunk import Chunk
from warren.core.message import Batch
from warren.core.policies import Decision
from warren.core.stage import Stage
from warren.core.tokens import DELIVERED, RELEASED, Kind, Outcome
from warren.operators.route import Route

FAILED = Outcome(Kind.DEAD_LETTERED, "")


class Deals:
    """Sends values in stretches of three, or by what they are; writes down what it is told."""

    def __init__(self, labels: str = "ab", *, listed: bool = False) -> None:
        self.labels, self.listed = labels, listed
        self.made: list[Decision] = []
        self.told: list[tuple[int, float, float]] = []

    def __call__(self, value: Any) -> Any:
        raise NotImplementedError

    def open(self, targets: Sequence[Any], clock: Any) -> None:
        self.clock = clock

    def deal(self, values: Sequence[Any]) -> Any:
        places: list[Sequence[int]] = [range(i, min(i + 3, len(values))) for i in range(0, len(values), 3)]
        if self.listed:
            places = [mine for rest in range(3) if (mine := [i for i in range(len(values)) if i % 3 == rest])]
        return [(self._decide(), mine) for mine in places], {}

    def _decide(self) -> Decision:
        number = len(self.made)
        label = self.labels[number % len(self.labels)]
        self.made.append(Decision("d", number, self.clock(), label, label, label, 1.0, "act", "", {}))
        return self.made[-1]

    def ended(self, decision: Decision, seconds: float, success: float) -> None:
        self.told.append((decision.number, seconds, success))


class Routed:
    """A route with two branches, whose chunks wait here."""

    def __init__(self, deals: Deals) -> None:
        self.run = FakeRun()
        self.chunks: list[Chunk] = []
        route = Route(deals, {"a": memory.queue("a"), "b": memory.queue("b")}, None)
        self.handle = route.handler(Stage(self.run, "1", "1:route"), [self.chunks.append, self._take])

    def _take(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    def send(self, count: int) -> range:
        delivery = self.run.ledger.accept("s", Batch(list(range(count)), list(range(count))), 0.0)
        self.handle(Chunk(list(range(count)), delivery.tokens))
        return delivery.tokens

    def kept(self) -> int:
        """How much is still kept of what was sent."""
        asked = next(watch.__self__ for watch in self.run.ledger._watchers)
        return len(asked._each) + len(asked._shares) + len(asked._of)


def test_what_ends_together_is_told_together_and_values_go_where_their_tokens_go():
    deals = Deals()
    routed = Routed(deals)
    routed.send(8)
    first, second = routed.chunks
    assert first.values == list(first.tokens) == [0, 1, 2, 6, 7] and second.values == list(second.tokens) == [3, 4, 5]
    routed.run.ledger.settle(first.tokens, DELIVERED)
    routed.run.ledger.settle(second.tokens, FAILED)
    assert deals.told == [(0, 0.0, 1.0), (2, 0.0, 1.0), (1, 0.0, 0.0)] and not routed.kept()


def test_a_chunk_that_goes_one_way_is_told_as_a_whole():
    deals = Deals("a")
    routed = Routed(deals)
    routed.run.ledger.settle(routed.send(4), DELIVERED)
    assert deals.told == [(0, 0.0, 1.0), (1, 0.0, 1.0)] and not routed.kept()


def test_what_goes_back_to_its_source_is_not_told():
    deals = Deals()
    routed = Routed(deals)
    routed.send(6)
    routed.run.ledger.settle(routed.chunks[0].tokens, RELEASED)
    assert not deals.told


def test_what_comes_again_did_not_go_well_and_is_told_again():
    deals = Deals("a")
    routed = Routed(deals)
    tokens = routed.send(3)
    routed.handle(Chunk([0, 1, 2], tokens))
    assert deals.told == [(0, 0.0, 0.0)]
    routed.run.ledger.settle(tokens, DELIVERED)
    assert deals.told[1:] == [(1, 0.0, 1.0)] and not routed.kept()


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["whole", "each", "half"]), st.booleans()), max_size=30),
)
def test_each_decision_is_told_once_with_the_share_that_went_well(counts, listed, endings):
    deals = Deals(listed=listed)
    routed = Routed(deals)
    for count in counts:
        routed.send(count)
    good: set[int] = set()
    decided: dict[int, int] = {}
    number = 0
    for start, count in enumerate(counts):
        # Which token is of which decision, told apart by their order alone.
        stretches = range(0, count, 3) if not listed else range(min(3, count))
        for first in stretches:
            mine = range(first, min(first + 3, count)) if not listed else range(first, count, 3)
            decided.update({(start << 20) + place: number for place in mine})
            number += 1
    left = {i: list(chunk.tokens) for i, chunk in enumerate(routed.chunks)}
    for i, how, well in [*endings, *((i, "whole", True) for i in range(len(routed.chunks)))]:
        i %= len(routed.chunks)
        tokens: Any = routed.chunks[i].tokens if how == "whole" and len(left[i]) == len(routed.chunks[i].tokens) else left[i]
        if how != "whole":
            tokens = left[i][: 1 if how == "each" else max(1, len(left[i]) // 2)]
        ended = list(tokens)
        good.update(ended if well else ())
        left[i] = [token for token in left[i] if token not in ended]
        routed.run.ledger.settle(tokens, DELIVERED if well else FAILED)
    assert sorted(each for each, _, _ in deals.told) == list(range(number)) and not routed.kept()
    for each, _, success in deals.told:
        mine = [token for token, decision in decided.items() if decision == each]
        assert success == sum(token in good for token in mine) / len(mine)
