"""A filtered run is recorded like any other, whatever its mask is made of."""

from pathlib import Path

import pytest

from warren import Pipeline
from warren.analytics import Flows, Recorder
from warren.connectors import memory
from warren.operators import filter


@pytest.mark.parametrize("predicate", [lambda body: body != b"2", lambda body: int(body) % 2, lambda body: "yes"])
def test_each_message_has_its_row(tmp_path: Path, predicate: object) -> None:
    bodies = [b"%d" % i for i in range(200)]
    kept: list[bytes] = []
    flow = memory.items(bodies) | filter(predicate) | memory.into(kept)
    Pipeline("halves", flow, observers=[Recorder(tmp_path)]).run()
    trips = Flows(tmp_path).trips.collect()
    assert trips.height == 200
    delivered = trips.filter(outcome="delivered")
    assert sorted(delivered["size"]) == sorted(map(len, kept))
    assert trips["size"].sum() == sum(map(len, bodies))
