"""``warren partitions``: change how many partitions a queue has."""

from __future__ import annotations

import click

from warren.apps.showing import as_json, say
from warren.core.wakeful import run

__all__ = ["partitions"]


@click.command(
    epilog="\b\nExamples:\n  warren partitions orders --to 8 --broker amqp://user:password@host:5672/vhost",
)
@click.argument("name")
@click.option("--to", type=click.IntRange(min=1), required=True, help="How many partitions there shall be.")
@click.option("--broker", metavar="URL", help="amqp://user:password@host:port/vhost; WARREN_AMQP_URL unless given.")
@click.option("--deadline", default="10m", show_default=True, help="How long to wait for the workers.")
@as_json
def partitions(name: str, to: int, broker: str | None, deadline: str, as_json: bool) -> None:
    """Change how many partitions NAME has, while messages flow.

    New messages go to the new partitions at once. The workers, which have to run, read the old ones to their end, and only
    then begin with the new ones, so each key keeps its order. Interrupted, it goes on when it is given once more.
    """
    from warren.connectors import rabbitmq

    where = rabbitmq.Broker(broker) if broker is not None else rabbitmq.Broker()
    run(
        rabbitmq.repartition(
            name,
            to=to,
            broker=where,
            deadline=deadline,
            progress=lambda state: click.echo(state, err=True),
        )
    )
    if as_json:
        say({"name": name, "partitions": to})
