"""What is held back for a retry is found again, whatever became of it meanwhile."""

from __future__ import annotations

import random
from typing import Any

import pytest

from warren.core.held import Early, Held
from warren.core.shares import Share
from warren.core.tokens import Merge, Part, Parts, Split, Token, origins


def lineage(token: Token) -> list[Token]:
    """A token, and all that it was made of."""
    if isinstance(token, Part):
        return [token, *lineage(token.split.parent)]
    if isinstance(token, Merge):
        return [token, *(old for segment in token.segments for each in segment for old in lineage(each))]
    return [token]


@pytest.mark.parametrize("seed", range(100))
def test_what_comes_of_values_that_are_held_back(seed: int) -> None:
    chance = random.Random(seed)
    held = Held()
    mine: Early = {}
    theirs: Early = {}
    tokens: list[Token] = list(range(30))
    for _ in range(3):
        held.plain = False
        split = Split(chance.choice(tokens), 3, None)
        tokens += [Part(split, i) for i in range(3)]
        tokens.append(Merge([chance.sample(tokens, 3), range(2), Parts(chance.sample(tokens, 2), [1, 2])]))
    known: dict[Token, Early | None] = {}
    for token in chance.sample(tokens, chance.randrange(len(tokens))):
        known[token] = chance.choice([mine, theirs, None])
        held.wait(token, known[token])
    early: dict[Token, None] = {}
    while known:
        assert set(held.messages) == {next(origins(token)) for token in known}
        if chance.random() < 0.2:
            gone = chance.sample(range(30), 5)
            held.ended(gone)
            known = {token: whose for token, whose in known.items() if next(origins(token)) not in gone}
            continue
        mask = [chance.random() < 0.5 for _ in range(10)]
        run = range(10, 20)
        share = Share(run, mask, lambda mask=mask: mask, sum(mask))  # type: ignore[misc]  # bound now
        some: Any = chance.choice([chance.sample(tokens, 4), share, run, Parts(chance.sample(tokens, 2), [1, 1])])
        by = chance.choice([mine, theirs])
        made_of = {old for token in some for old in lineage(token)}
        expected = {token for token in made_of if known.get(token) is by or (by is theirs and token in early)}
        assert set(held.resume(some, by)) == expected
        for token in made_of & known.keys():
            whose = known.pop(token)
            if whose is theirs and by is mine:
                early[token] = None
        for token in expected & early.keys():
            # Whoever is told forgets it.
            early.pop(token)
            theirs.pop(token)
        assert theirs == early
        mine.clear()


def test_a_run_is_not_gone_through() -> None:
    held = Held()
    held.wait(7, None)
    held.wait(Part(Split(5, 2, None), 0), None)
    held.plain = False
    assert held.resume(Share(range(10, 10**6), None, lambda: pytest.fail("it is listed"), 100)) == []
    assert held.resume(range(10, 1 << 62)) == []
    held.ended(range(10, 1 << 62))
    assert set(held.messages) == {5, 7}
