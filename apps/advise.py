"""``warren advise``: what the models would change in a pipeline, and why."""

from __future__ import annotations

from pathlib import Path

import click

from warren.apps.showing import screen

__all__ = ["advise"]


@click.command(
    epilog="\b\nExamples:\n  warren advise --flows recordings/\n"
    "  warren advise --flows recordings/ shop.flows:orders --target p95=2s\n"
    "  warren advise --flows recordings/ --json > advice.json"
)
@click.argument("pipeline", required=False)
@click.option(
    "--flows",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder that warren run --record wrote to.",
)
@click.option("--target", metavar="TARGET", help="The latency that most messages are to keep, such as p95=2s.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON instead.")
def advise(pipeline: str | None, flows: Path, target: str | None, as_json: bool) -> None:
    """Say what to change, from recorded flows: settings, the expected gain and the evidence.

    Nothing is changed. With PIPELINE, as module:attribute, the settings of that pipeline are looked at, and it alone.
    """
    from warren.analytics.advice import advise as advised
    from warren.analytics.advice import render_advice
    from warren.analytics.flows import Flows
    from warren.apps.load import load_pipeline

    found = advised(Flows(flows), None if pipeline is None else load_pipeline(pipeline), target=target)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        screen().print(render_advice(found))
