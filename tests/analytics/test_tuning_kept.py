"""What tuners have learned is there again in the next run, wherever they are."""

import asyncio

import pytest

from warren import Pipeline
from warren.analytics.tuning import Tuner
from warren.connectors import memory
from warren.core.knobs import Knob
from warren.core.policies import Proposal
from warren.operators import batch, map


class Says:
    """A controller that has learned one number."""

    def __init__(self, number=None):
        self.number = number

    def propose(self, measurement):
        return Proposal(self.number, 1.0, "said", {})

    def state(self):
        return {"number": self.number}

    def restore(self, state):
        self.number = state["number"]


async def call(value):
    await asyncio.sleep(0)
    return value


PLACES = {
    "map": lambda tuner: (map(call, concurrency=tuner), None),
    "count": lambda tuner: (batch(tuner, "1s"), None),
    "time": lambda tuner: (batch(100, tuner), None),
    "credit": lambda tuner: (map(call), tuner),
}


def run(place, number, state, mode="act"):
    # Each message is an interval of its own: the clock is real, and none of them lasts.
    tuner = Tuner(Knob("n", 10, 90, start=50), Says(number), mode=mode, interval=1e-9, least=1)
    step, credit = PLACES[place](tuner)
    Pipeline("p", memory.items(range(300)) | step | memory.into([]), credit=credit or 500, state=state).run()
    return tuner


@pytest.mark.parametrize("place", PLACES)
def test_it_goes_on_with_what_it_knew(place):
    state = memory.state()
    assert run(place, 42, state).value == 42
    again = run(place, None, state)
    assert (again.controller.number, again.value, again.errors) == (42, 42, 0)
    assert run(place, None, state, mode="shadow").value == 50


@pytest.mark.parametrize("place", ["map", "credit"])
def test_without_state_each_run_starts_anew(place):
    first = run(place, 42, None)
    assert first.value == 42 and run(place, 30, None).value == 30


def test_what_was_kept_of_another_place_is_not_taken():
    state = memory.state()
    run("map", 42, state)
    assert run("credit", 33, state).controller.number == 33
