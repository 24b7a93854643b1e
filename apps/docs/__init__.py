"""``warren docs``: the documentation of a pipeline, written from the pipeline itself."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

__all__ = ["docs"]


@click.command(
    epilog="\b\nExamples:\n  warren docs shop.flows:orders -o docs/orders\n"
    "  warren docs shop.flows:orders --json > asyncapi.json"
)
@click.argument("pipeline")
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), help="The folder to write to.")
@click.option("--version", default="1.0.0", show_default=True, help="What the document says is its version.")
@click.option("--json", "as_json", is_flag=True, help="Print the AsyncAPI document instead.")
def docs(pipeline: str, out: Path | None, version: str, as_json: bool) -> None:
    """Write what PIPELINE reads, does, writes and guarantees.

    README.md with the graph, the messages and the guarantees; asyncapi.json (AsyncAPI 3.0); graph.mmd (Mermaid); and a JSON
    schema for each message in schemas/. Nothing is connected to, and no password is written.
    """
    from warren.apps.docs.asyncapi import document
    from warren.apps.docs.contents import contents
    from warren.apps.docs.page import page
    from warren.apps.load import load_pipeline

    if (out is None) == (not as_json):
        raise click.UsageError("Give either a folder with -o, or --json")
    told = contents(load_pipeline(pipeline))
    described = msgspec.json.format(msgspec.json.encode(document(told, version)), indent=2).decode() + "\n"
    if out is None:
        click.echo(described, nl=False)
        return
    files = {
        "README.md": page(told),
        "asyncapi.json": described,
        "graph.mmd": told.pipeline.explain().mermaid + "\n",
        **{
            f"schemas/{name}.json": msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"
            for name, schema in sorted(told.schemas.files().items())
        },
    }
    for name, text in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, "utf-8")
    click.echo(f"{', '.join(files)} are in {out}.", err=True)
