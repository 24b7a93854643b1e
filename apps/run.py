"""``warren run``: a pipeline at work, seen by whatever the options name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from warren.apps.dashboard.command import shown, shown_while
from warren.apps.showing import as_json, say
from warren.core.errors import AddressError
from warren.core.receipt import Delivery, Kind, Outcome

__all__ = ["run"]


@click.command(
    epilog="\b\nExamples:\n  warren run shop.flows:orders\n  warren run flows.py:orders --until-empty --record recordings/"
)
@click.argument("pipeline")
@click.option("--until-empty", is_flag=True, help="End once nothing waits at the source.")
@click.option("--record", type=click.Path(file_okay=False, path_type=Path), help="Record the flow to this folder.")
@click.option("--tape", type=click.Path(dir_okay=False, path_type=Path), help="Keep the messages too, payloads and all.")
@click.option("--metrics", metavar="HOST:PORT", help="Serve /metrics, /live and /ready here; :9100 is this machine only.")
@click.option("--remedies", metavar="FILE", help="Remedies, from a TOML file or module:attribute; a dry run without --act.")
@click.option("--act", is_flag=True, help="Let the remedies act.")
@click.option("--alerts", metavar="FILE", help="Alerts, from a TOML file or module:attribute: who is told of what.")
@click.option("--traces", metavar="ENDPOINT", help="Send traces here, by OTLP over HTTP, such as http://localhost:4318.")
@click.option("--sample", type=click.FloatRange(0, 1), help="The share of messages that traces follow; 0.001 unless given.")
@click.option("--log", type=click.Choice(["json", "console"]), help="Write log lines so, with the ids of messages.")
@as_json
@shown
def run(
    pipeline: str,
    until_empty: bool,
    record: Path | None,
    tape: Path | None,
    metrics: str | None,
    remedies: str | None,
    act: bool,
    alerts: str | None,
    traces: str | None,
    sample: float | None,
    log: Literal["json", "console"] | None,
    as_json: bool,
    **seen: Any,
) -> None:
    """Run PIPELINE until its source ends or Ctrl-C.

    The first Ctrl-C stops reading and sees what is in flight to its end; a second one interrupts. Either way nothing is
    lost: what is unsettled goes back to its source.
    """
    from warren.apps.load import load_pipeline

    if act and remedies is None:
        raise AddressError("--act is for remedies: name them with --remedies FILE")
    loaded = load_pipeline(pipeline)
    recorder = None
    if record is not None:
        from warren.analytics import Recorder

        recorder = Recorder(record)
    if metrics is not None or remedies is not None or alerts is not None:
        from warren.analytics import Metrics

        metered = Metrics(metrics)
        loaded = loaded.observed(metered)
        if remedies is not None:
            from warren.apps.remedies import load_remedies

            # What they undo at the end is recorded as well: observers close in this order.
            loaded = loaded.observed(load_remedies(remedies, act, metered, recorder, partial(click.echo, err=True)))
        if alerts is not None:
            from warren.apps.alerts import load_alerts

            loaded = loaded.observed(load_alerts(alerts, metered))
    if recorder is not None:
        loaded = loaded.observed(recorder)
    if tape is not None:
        from warren.testing import Tape

        loaded = loaded.observed(Tape(tape, limit=None))
    if traces is not None:
        from warren.analytics import Traces

        loaded = loaded.observed(Traces(traces) if sample is None else Traces(traces, sample=sample))
    elif sample is not None:
        raise AddressError("--sample says which messages --traces follows; give both")
    if log is not None:
        from warren.analytics import Logs

        loaded = loaded.observed(Logs(log))
    counted = Outcomes()
    if as_json:
        loaded = loaded.observed(counted)
    with shown_while(loaded, **seen) as observed:
        if log is None:
            click.echo(f"{loaded.name} runs; Ctrl-C stops it once what is in flight is safe.", err=True)
        observed.run(until_empty=until_empty)
    if as_json:
        say({"pipeline": loaded.name, "outcomes": counted.found})
    if record is not None:
        click.echo(f"The flow is recorded in {record}; see it with: warren flows {record}", err=True)
    if tape is not None:
        click.echo(f"The messages are in {tape}; replay them with: warren replay {tape} {pipeline}", err=True)


class Outcomes:
    """Counts how messages end."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def open(self, pipeline: str) -> None:
        pass

    def settled(self, delivery: Delivery, tokens: Sequence[int], outcome: Outcome, at: float) -> None:
        self.found[Kind(outcome.kind).name.lower().replace("_", "-")] += len(tokens)

    def handled(
        self, stage: str, taken: int, given: int, failed: int, start: float, end: float, credit: int, depth: int | None
    ) -> None:
        pass

    def close(self) -> None:
        pass
