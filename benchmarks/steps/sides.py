"""How each side runs: warren as a pipeline, reactivex as a subscription, Bytewax as a dataflow; each gives its results."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

__all__ = ["TALK", "WINDOW_TALK", "gathered", "in_bytewax", "in_reactivex", "in_warren"]

TALK = 1_000
"""Messages Bytewax takes from its source at a time: the fastest of 1, 100, 1,000 and 10,000."""
WINDOW_TALK = 10_000
"""The same for windows, where it looks at every key once for each batch: two to four times as fast as 1,000 there."""


def in_warren(
    values: Iterable[Any], step: Any, type: Any = None, *, state: bool = False, credit: int | None = None
) -> list[Any]:
    """With ``state`` in a file, and a checkpoint every second, or sooner where the credit does not last so long."""
    from warren.connectors import memory

    return gathered(memory.items(values, type=type) | step, state=state, credit=credit)


def gathered(source: Any, *, state: bool = False, credit: int | None = None) -> list[Any]:
    """What a source of warren gives."""
    from warren import Pipeline
    from warren.connectors import memory

    found: list[Any] = []
    flow = source | memory.into(found)
    if not state:
        Pipeline("bench", flow).run()
        return found
    with tempfile.TemporaryDirectory() as folder:
        Pipeline("bench", flow, state=Path(folder) / "bench.state", checkpoint="1s", credit=credit).run()
    return found


def in_reactivex(values: Iterable[Any], *steps: Any) -> list[Any]:
    """One value at a time, as it always is there."""
    import reactivex

    found: list[Any] = []
    reactivex.from_iterable(values).pipe(*steps).subscribe(found.append, on_error=_raise)
    return found


def _raise(error: Exception) -> None:
    raise error


def in_bytewax(
    values: list[Any], build: Callable[..., Any], *more: list[Any], state: bool = False, talk: int = TALK
) -> list[Any]:
    """With ``state`` with its recovery store, which is SQLite too, and a snapshot every second."""
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.recovery import RecoveryConfig, init_db_dir
    from bytewax.testing import TestingSink, TestingSource, run_main

    found: list[Any] = []
    flow = Dataflow("bench")
    inputs = [op.input(f"in-{i}", flow, TestingSource(each, batch_size=talk)) for i, each in enumerate((values, *more))]
    op.output("out", build(op, *inputs), TestingSink(found))
    if not state:
        run_main(flow)
        return found
    with tempfile.TemporaryDirectory() as folder:
        init_db_dir(Path(folder), 1)
        run_main(flow, epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(folder))
    return found
