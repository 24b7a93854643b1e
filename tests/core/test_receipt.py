from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.core.message import Batch
from warren.core.receipt import DELIVERED, FILTERED, RELEASED, Delivery, Kind, Ledger, Outcome, Parts, Share, Token
from warren.core.shares import dealt, halves


class Told:
    """A ledger, and what it told."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.kinds: dict[int, Kind] = {}
        self.ledger = Ledger(self._tell)

    def _tell(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome) -> None:
        assert set(tokens) <= set(delivery.tokens)
        self.counts.update(tokens)
        self.kinds.update(dict.fromkeys(tokens, outcome.kind))

    def accept(self, count: int, **columns: Sequence[int]) -> Delivery:
        return self.ledger.accept("source", Batch(bodies=[b""] * count, handles=range(count), **columns), 0.0)


OUTCOMES = [FILTERED, DELIVERED, Outcome(Kind.DEAD_LETTERED), Outcome(Kind.PARKED), RELEASED]
actions = st.tuples(
    st.sampled_from(["split", "merge", "settle", "again"]),
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.sampled_from(OUTCOMES),
)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.lists(actions, max_size=20))
def test_each_source_token_is_told_once_and_only_after_its_last_descendant(
    sizes: list[int], steps: list[tuple[str, list[int], Outcome]]
) -> None:
    told = Told()
    ledger = told.ledger
    live: list[Token] = [token for size in sizes for token in told.accept(size).tokens]
    sources = set(live)
    origins: dict[Token, set[Token]] = {token: {token} for token in live}
    ends: dict[Token, list[Kind]] = {token: [] for token in live}
    settled: list[Token] = []

    def take(numbers: list[int]) -> list[Token]:
        taken = [live[i] for i in sorted({number % len(live) for number in numbers})]
        live[:] = [token for token in live if token not in taken]
        return taken

    def settle(tokens: list[Token], outcome: Outcome) -> None:
        ledger.settle(tokens, outcome)
        settled.extend(tokens)
        for origin in set[Token]().union(*(origins[token] for token in tokens)):
            ends[origin].append(outcome.kind)

    for action, numbers, outcome in steps:
        if not live:
            break
        if action == "split":
            for token in take(numbers):
                parts = ledger.split(token, 1 + numbers[0] % 3)
                origins.update(dict.fromkeys(parts, origins[token]))
                live += parts
        elif action == "merge":
            members = take(numbers)
            merged = ledger.merge([segment for segment in (members[:1], members[1:]) if segment])
            origins[merged] = set().union(*(origins[token] for token in members))
            assert set(ledger.origins(merged)) == origins[merged]
            live.append(merged)
        elif action == "settle":
            settle(take(numbers), outcome)
        else:
            kinds = dict(told.kinds)
            ledger.settle(settled[: numbers[0]], outcome)
            assert told.kinds == kinds
        waiting = set[Token]().union(*(origins[token] for token in live))
        assert set(told.counts) == sources - waiting
        assert ledger.outstanding == len(waiting)
    while live:
        settle([live.pop()], DELIVERED)
    assert told.counts == dict.fromkeys(sources, 1)
    assert ledger.outstanding == 0
    assert told.kinds == {token: max(kinds) for token, kinds in ends.items()}


def test_a_whole_delivery_is_settled_in_one_go() -> None:
    told = Told()
    delivery = told.accept(3)
    told.ledger.settle(delivery.tokens, DELIVERED)
    told.ledger.settle(delivery.tokens, DELIVERED)
    assert told.counts == dict.fromkeys(delivery.tokens, 1)
    assert told.ledger.delivery(delivery.base) is None


def test_settling_nothing_or_something_unknown_does_nothing() -> None:
    told = Told()
    told.ledger.settle((), DELIVERED)
    told.ledger.settle([5 << 20], DELIVERED)
    told.accept(1)
    assert told.ledger.outstanding == 1
    assert not told.counts


def test_an_unknown_token_does_not_keep_the_others_from_settling() -> None:
    told = Told()
    delivery = told.accept(2)
    told.ledger.settle([delivery.base, delivery.base + 7], DELIVERED)
    assert list(told.counts) == [delivery.base]


def test_release_all_gives_back_exactly_the_unsettled() -> None:
    told = Told()
    delivery, other = told.accept(3), told.accept(1)
    left, right = told.ledger.split(delivery.base, 2)
    told.ledger.settle([left, delivery.base + 1], DELIVERED)
    assert told.ledger.release_all() == 3
    assert told.kinds == {
        delivery.base: Kind.RELEASED,
        delivery.base + 1: Kind.DELIVERED,
        delivery.base + 2: Kind.RELEASED,
        other.base: Kind.RELEASED,
    }
    told.ledger.settle([right], DELIVERED)
    assert set(told.counts.values()) == {1}


def test_ids_of_parts_and_merges_derive_from_their_origins() -> None:
    told = Told()
    ledger = told.ledger
    delivery = ledger.accept("source", Batch(bodies=[b"", b""], handles=[1, 2], ids=["a", "b"]), 0.0)
    part = ledger.split(delivery.base, 2)[1]
    merged = ledger.merge([[part], [delivery.base + 1]])
    assert [ledger.metadata(token).id for token in (delivery.base, part, merged)] == ["a", "a/1", "a/1+1"]
    told.ledger.release_all()
    assert ledger.metadata(part).id == ""


def test_attempts_count_earlier_deliveries_and_retries() -> None:
    told = Told()
    delivery = told.accept(2, attempts=[1, 3])
    merged = told.ledger.merge([list(delivery.tokens)])
    told.ledger.count_retry(merged)
    assert [delivery.attempt(token) for token in delivery.tokens] == [2, 4]
    assert [delivery.durable_attempt(token) for token in delivery.tokens] == [1, 3]


def test_messages_wait_until_they_are_resumed_or_settled() -> None:
    told = Told()
    first, second = told.accept(2).tokens
    told.ledger.wait(second)
    told.ledger.wait(first)
    assert set(told.ledger.waiting) == {first, second}
    told.ledger.resume([first])
    assert set(told.ledger.waiting) == {second}
    told.ledger.settle([second], DELIVERED)
    assert not told.ledger.waiting


def test_deliveries_that_are_unsettled_the_newest_first() -> None:
    told = Told()
    first, second, third = told.accept(2), told.accept(1), told.accept(1)
    told.ledger.settle(second.tokens, DELIVERED)
    told.ledger.settle([first.tokens[0]], DELIVERED)
    assert list(told.ledger.deliveries) == [third, first]


def _halves(mask: list[bool]) -> tuple[Ledger, list[list[int]], Share, Share]:
    told: list[list[int]] = []
    ledger = Ledger(lambda delivery, tokens, outcome: told.append(list(tokens)))
    run = ledger.accept("here", Batch(bodies=list(mask), handles=range(len(mask))), 0.0).tokens
    kept, dropped = halves(run, mask, sum(mask))
    assert isinstance(kept, Share)
    assert isinstance(dropped, Share)
    return ledger, told, kept, dropped


@pytest.mark.parametrize("mask", [[True, False, True], [False, False], [True, True]])
def test_both_halves_of_a_run_are_told_once(mask: list[bool]) -> None:
    ledger, told, kept, dropped = _halves(mask)
    for half in (dropped, kept, dropped, kept, kept.run):
        ledger.settle(half, DELIVERED)
    assert sorted(token for tokens in told for token in tokens) == list(kept.run)
    assert ledger.outstanding == 0
    assert ledger.delivery(kept.run[0]) is None


def test_after_one_half_the_rest_can_end_in_pieces_or_be_released() -> None:
    ledger, told, kept, dropped = _halves([True, False, True])
    ledger.settle(dropped, FILTERED)
    ledger.settle([kept[0]], DELIVERED)
    assert ledger.release_all() == 1
    assert told == [list(dropped), [kept[0]], [kept[1]]]


def test_the_whole_run_after_one_half_tells_only_the_rest_or_nothing_twice() -> None:
    ledger, told, kept, dropped = _halves([True, False])
    ledger.settle(dropped, FILTERED)
    ledger.settle(kept.run, DELIVERED)
    assert sorted(token for tokens in told for token in tokens) == list(kept.run)


@given(st.lists(st.sampled_from("abc"), min_size=1), st.data())
def test_what_is_dealt_out_is_told_once_whatever_ends_first_and_however_often(ways: list[str], data: st.DataObject) -> None:
    told = Told()
    run = told.accept(len(ways)).tokens
    shares = [dealt(run, ways, {way}, ways.count(way)) for way in dict.fromkeys(ways)]
    pieces = [share[i : i + 2] for share in shares for i in (0, 2)]
    for tokens in data.draw(st.permutations(shares + shares + pieces)):
        if data.draw(st.booleans()):
            told.ledger.settle(tokens, DELIVERED)
            assert set(told.counts) >= set(tokens)
    for delivery in list(told.ledger.deliveries):
        assert set(delivery.unsettled) == set(run) - set(told.counts)
    told.ledger.release_all()
    assert told.counts == dict.fromkeys(run, 1)
    assert told.ledger.outstanding == 0


def test_shares_that_end_one_after_the_other_are_not_listed() -> None:
    told: list[Sequence[int]] = []
    ledger = Ledger(lambda delivery, tokens, outcome: told.append(tokens))
    delivery = ledger.accept("here", Batch(bodies="abca", handles=range(4)), 0.0)
    shares = [dealt(delivery.tokens, "abca", {way}, size) for way, size in (("a", 2), ("b", 1), ("c", 1))]
    for share in shares:
        ledger.settle(share, DELIVERED)
    assert delivery.done
    assert [each._listed for each in told if isinstance(each, Share)] == [None, None, None]


class Splitting:
    """Messages of one delivery or several that were split over and over, and what is told of them."""

    def __init__(self, sizes: Sequence[int], counts: Sequence[Sequence[int]], together: bool) -> None:
        self.told = Told()
        self.together = together
        runs = [self.told.accept(size).tokens for size in sizes]
        self.tokens: Sequence[Token] = runs[0] if len(runs) == 1 else [token for run in runs for token in run]
        for each in counts:
            self.split([each[i % len(each)] for i in range(len(self.tokens))])

    def split(self, counts: Sequence[int]) -> None:
        ledger = self.told.ledger
        if self.together:
            self.tokens, none = ledger.split_all(self.tokens, counts)
        else:
            pairs = list(zip(self.tokens, counts, strict=True))
            none = [token for token, count in pairs if not count]
            self.tokens = [part for token, count in pairs if count for part in ledger.split(token, count)]
        ledger.settle(none, FILTERED)


@given(
    st.sampled_from([[5], [3, 2]]),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), max_size=2),
    st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(1, 12), st.sampled_from(OUTCOMES)), max_size=6),
)
def test_messages_split_together_are_told_as_if_each_was_split_alone(
    sizes: list[int], counts: list[list[int]], steps: list[tuple[bool, int, int, Outcome]]
) -> None:
    both = [Splitting(sizes, counts, together) for together in (True, False)]
    for whole, start, step, outcome in [*steps, (True, 0, 1, DELIVERED)]:
        for each in both:
            tokens = each.tokens if whole else each.tokens[start::step]
            each.told.ledger.settle(tokens, outcome)
        together, alone = (each.told for each in both)
        assert together.counts == alone.counts
        assert together.kinds == alone.kinds
        assert together.ledger.outstanding == alone.ledger.outstanding
    assert not together.ledger.outstanding
    assert set(together.counts.values()) <= {1}


def test_parts_that_end_together_are_never_made() -> None:
    told = Told()
    delivery = told.accept(3)
    parts, none = told.ledger.split_all(delivery.tokens, [2, 0, 1])
    told.ledger.settle(none, FILTERED)
    assert isinstance(parts, Parts)
    assert parts[:] is parts
    told.ledger.settle(parts, DELIVERED)
    assert parts.whole
    assert [told.kinds[token] for token in delivery.tokens] == [Kind.DELIVERED, Kind.FILTERED, Kind.DELIVERED]
    assert told.ledger.delivery(delivery.base) is None


def test_what_is_known_of_parts_is_the_same_before_they_are_made() -> None:
    told = Told()
    batch = Batch(bodies="abc", handles=[1, 2, 3], keys=["x", None, "z"], headers=[None, {"a": "1"}, {}], attempts=[1, 2, 1])
    delivery = told.ledger.accept("source", batch, 0.0)
    parts, _ = told.ledger.split_all(delivery.tokens, [2, 1, 2])
    again, _ = told.ledger.split_all(parts, [1, 2, 1, 1, 1])
    for tokens in (parts, again):
        assert isinstance(tokens, Parts)
        ledger = told.ledger
        assert tokens.whole
        columns, repeated, numbers = ledger.columns(tokens), ledger.repeated(tokens), ledger.numbers(tokens)
        assert tokens.whole
        assert columns.ids == ledger.columns(list(tokens)).ids
        assert columns.keys == ledger.columns(list(tokens)).keys
        assert [each or {} for each in columns.headers or ()] == ledger.columns(list(tokens)).headers
        assert repeated == ledger.repeated(list(tokens))
        assert numbers == ledger.numbers(list(tokens))


def test_a_watcher_sees_every_end_once_and_may_settle_others() -> None:
    told = Told()
    seen: list[tuple[list[int], Kind]] = []
    a, b, c, d = told.accept(4).tokens

    def watcher(tokens: Sequence[int], outcome: Outcome) -> None:
        seen.append((list(tokens), outcome.kind))
        told.ledger.settle([d], FILTERED)

    told.ledger.watch(watcher)
    left, right = told.ledger.split(a, 2)
    told.ledger.settle([left], DELIVERED)
    assert seen == []
    told.ledger.settle([right], Outcome(Kind.PARKED))
    told.ledger.settle([b], DELIVERED)
    told.ledger.settle([b], DELIVERED)
    told.ledger.release_all()
    assert seen == [([a], Kind.PARKED), ([d], Kind.FILTERED), ([b], Kind.DELIVERED), ([c], Kind.RELEASED)]
    assert told.counts == Counter([a, b, c, d])


def test_how_a_part_ended_is_told_once_before_its_message_is_at_its_end() -> None:
    told = Told()
    one, _ = told.ledger.split(told.accept(1).base, 2)
    inner, outer = told.ledger.split(one, 2)
    heard: list[Kind] = []
    told.ledger.follow(one, lambda outcome: heard.append(outcome.kind))  # type: ignore[arg-type]  # it was split
    told.ledger.settle([inner], Outcome(Kind.DEAD_LETTERED))
    assert heard == []
    told.ledger.settle([told.ledger.merge([[outer]])], DELIVERED)
    told.ledger.settle([outer, one], DELIVERED)
    assert (heard, told.counts) == ([Kind.DEAD_LETTERED], Counter())


def test_a_token_named_twice_settles_no_other() -> None:
    told: list[Sequence[int]] = []
    ledger = Ledger(lambda delivery, tokens, outcome: told.append(list(tokens)))
    a, b, c = ledger.accept("source", Batch(bodies=["a", "b", "c"], handles=[1, 2, 3]), received=0.0).tokens
    ledger.settle([c], DELIVERED)
    ledger.settle([a, a], DELIVERED)
    assert (told, ledger.outstanding) == ([[c], [a]], 1)
    ledger.settle([b], DELIVERED)
    assert (told, ledger.outstanding) == ([[c], [a], [b]], 0)
