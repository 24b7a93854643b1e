"""Testing pipelines without a broker and without waiting; ``docs/testing.md`` shows how.

>>> from warren import Pipeline
>>> from warren.connectors import memory
>>> from warren.operators import map
>>> from warren.testing import check
>>> shout = Pipeline("shout", memory.items([]) | map(str.upper) | memory.into([]))
>>> check(shout, "a-b--c|", "A-B--C|").outcomes
{'delivered': 3}
"""

from typing import TYPE_CHECKING

from warren.core.lazy import lazily

if TYPE_CHECKING:
    from warren.pipelines.given import Arrival
    from warren.pipelines.trial import Ends
    from warren.testing.assertions import assert_dead_lettered, assert_delivered, assert_outcomes
    from warren.testing.calls import fail, slow
    from warren.testing.faults import Faults
    from warren.testing.live import Replayed, replay_live
    from warren.testing.marbles import Marbles
    from warren.testing.playing import Played, check, play
    from warren.testing.recording import Recording, recorded, replay
    from warren.testing.stepping import Virtual, virtual
    from warren.testing.tape import Tape

__all__ = [
    "Arrival",
    "Ends",
    "Faults",
    "Marbles",
    "Played",
    "Recording",
    "Replayed",
    "Tape",
    "Virtual",
    "assert_dead_lettered",
    "assert_delivered",
    "assert_outcomes",
    "check",
    "fail",
    "play",
    "recorded",
    "replay",
    "replay_live",
    "slow",
    "virtual",
]

_HOMES = {
    "Arrival": "warren.pipelines.given",
    "Ends": "warren.pipelines.trial",
    "Faults": "warren.testing.faults",
    "Marbles": "warren.testing.marbles",
    "Played": "warren.testing.playing",
    "Recording": "warren.testing.recording",
    "Replayed": "warren.testing.live",
    "Tape": "warren.testing.tape",
    "Virtual": "warren.testing.stepping",
    "assert_dead_lettered": "warren.testing.assertions",
    "assert_delivered": "warren.testing.assertions",
    "assert_outcomes": "warren.testing.assertions",
    "check": "warren.testing.playing",
    "fail": "warren.testing.calls",
    "play": "warren.testing.playing",
    "recorded": "warren.testing.recording",
    "replay": "warren.testing.recording",
    "replay_live": "warren.testing.live",
    "slow": "warren.testing.calls",
    "virtual": "warren.testing.stepping",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
