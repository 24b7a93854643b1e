"""The pytest plugin: fixtures, a seed that failures show, and comparisons with marbles that are explained.

It imports nothing of warren until a test uses it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from warren.pipelines.pipeline import Pipeline
    from warren.pipelines.trial import Ends, Trial
    from warren.testing.faults import Faults
    from warren.testing.stepping import Virtual

__all__ = ["faults", "trial", "virtual_pipeline", "warren_seed"]

_SEED = pytest.StashKey[int]()
_USED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the seed."""
    group = parser.getgroup("warren", "warren, message-processing pipelines")
    group.addoption(
        "--warren-seed",
        type=int,
        default=None,
        metavar="N",
        help="what faults are drawn with; one by lot for each session unless given, shown where a test that used it fails",
    )


@pytest.fixture
def warren_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this session, from ``--warren-seed`` or by lot; shown if the test fails."""
    request.node.stash[_USED] = True
    return _seed(request.config)


@pytest.fixture
def faults(warren_seed: int) -> Faults:
    """No faults yet, with the session's seed: ``pipeline.test(values, faults=faults.duplicate(share=0.1))``."""
    from warren.testing.faults import Faults

    return Faults(warren_seed)


@pytest.fixture
def trial() -> Callable[..., Trial]:
    """Runs a pipeline on values in virtual time, and checks that each was settled exactly once: ``trial(orders, [...])``."""
    from warren.testing.faults import audited

    def run(pipeline: Pipeline, values: Any, *, faults: Ends | None = None, **options: Any) -> Trial:
        return pipeline.test(values, faults=audited(faults), **options)

    return run


@pytest.fixture
def virtual_pipeline() -> Iterator[Callable[..., Virtual]]:
    """Starts pipelines in virtual time, as ``run = start(orders)`` where ``start`` is this, and ends them after the test."""
    from warren.testing.stepping import virtual

    started: list[Virtual] = []

    def start(pipeline: Pipeline, **options: Any) -> Virtual:
        started.append(virtual(pipeline, **options))
        return started[-1].start()

    yield start
    for run in started:
        run.close()


def _seed(config: pytest.Config) -> int:
    if _SEED not in config.stash:
        given = config.getoption("--warren-seed")
        config.stash[_SEED] = random.SystemRandom().randrange(2**32) if given is None else given
    return config.stash[_SEED]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the seed where a test that used it fails."""
    report = yield
    if report.failed and item.stash.get(_USED, False):
        seed = _seed(item.config)
        report.sections.append(("warren", f"the faults were drawn with seed {seed}; --warren-seed={seed} draws them again"))
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a comparison of what was played with marbles."""
    module: Any = sys.modules.get("warren.testing.playing")
    if module is None or op != "==":
        return None
    played: Any
    expected: object
    played, expected = (left, right) if isinstance(left, module.Played) else (right, left)
    if not isinstance(played, module.Played) or not isinstance(expected, str | Mapping):
        return None
    # Pytest shows eight lines, so the headline and the empty ones are left out.
    _, *lines = played.differences(expected).splitlines()
    return [f"{played!r} == {expected!r}", *(line[2:] for line in lines if line)]
