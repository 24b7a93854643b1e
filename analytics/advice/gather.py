"""`advise`: what the models would change in the pipelines of a recording."""

from __future__ import annotations

from warren.analytics.advice.contents import Advice
from warren.analytics.advice.failures import failures
from warren.analytics.advice.shadows import shadows
from warren.analytics.advice.steps import LEAST, seen, steps
from warren.analytics.flows import Flows
from warren.analytics.loads import names
from warren.analytics.report.contents import Target
from warren.analytics.report.gather import parse_target
from warren.core.errors import DataError
from warren.pipelines.pipeline import Pipeline

__all__ = ["advise"]


def advise(flows: Flows, pipeline: str | Pipeline | None = None, *, target: str | Target | None = None) -> list[Advice]:
    """What to change in recorded pipelines, with the expected gain and the evidence; what limits comes first.

    - ``pipeline``: which one; given as the `Pipeline` itself, its own settings are named
    - ``target``: the latency that a share of messages is to keep, such as ``"p95=2s"``; without it calls at once are to be
      busy for four fifths of the time at most, at the 95th percentile of what comes

    Of fewer than a hundred messages, or five seconds, it says only that they are too few. An empty list says that there is
    nothing to change. Raises `DataError` where the pipeline is not recorded, `GraphError` for a target that is none, and
    `StorageError` where the folder holds something else.

    >>> import tempfile
    >>> advise(Flows(tempfile.mkdtemp()))
    []
    """
    wanted = parse_target(target) if isinstance(target, str) else target
    name = pipeline.name if isinstance(pipeline, Pipeline) else pipeline
    there = names(flows)
    if name is not None and name not in there:
        told = f"there are {', '.join(there)}" if there else "there are none; record some with: warren run --record FOLDER"
        raise DataError(f"no flows of a pipeline {name!r} are recorded in {flows.folder}; {told}")
    found: list[Advice] = []
    for each in there if name is None else [name]:
        known = seen(flows, each, pipeline if isinstance(pipeline, Pipeline) else None)
        if known is None:
            continue
        if known.little:
            more = f"Too few to conclude anything: record {LEAST} messages and some minutes at least."
            found.append(Advice(pipeline=each, stage=each, setting="recording", expected=more, evidence=known.little))
            continue
        found += [*steps(known, wanted), *failures(known), *shadows(known)]
    return found
