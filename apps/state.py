"""``warren state``: look at what the steps of a pipeline remember, forget some of it, and go back to a copy."""

from __future__ import annotations

import sys
from ast import literal_eval
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from warren.apps.queues import confirmed
from warren.apps.showing import as_json, say, table, yes
from warren.connectors.sqlite.state import About, StateFile
from warren.core.errors import StateError, shorten
from warren.core.frozen import freeze_key, thaw, thaw_key
from warren.core.state import TIMED
from warren.core.words import plural

__all__ = ["state"]

_LONGEST = 200
_LOST = (
    "Messages that were acknowledged after the copy was made do not come again: what they changed in the state is lost, "
    "unless their source reads them anew."
)


@click.group(
    epilog="\b\nExamples:\n  warren state ls orders.state\n  warren state show orders.state 1:scan --key eu\n"
    "  warren state snapshot orders.state monday.state",
)
def state() -> None:
    """Look at the state that a pipeline keeps in FILE, or change it.

    The pipeline must not run meanwhile. A step is named as ls shows it.
    """


@state.command(epilog="\b\nExample:\n  warren state ls orders.state")
@click.argument("file", type=click.Path(path_type=Path))
@as_json
def ls(file: Path, as_json: bool) -> None:
    """List the steps that have state in FILE: version, keys and bytes."""
    found = StateFile(file)
    about, steps = found.about(), found.summary()
    if as_json:
        for each in steps:
            say({"step": each.step, "version": each.version, "keys": each.keys, "bytes": each.size})
        return
    click.echo(f"pipeline {about.pipeline}, {plural(about.checkpoints, 'checkpoint')}")
    rows = [(each.step, str(each.version), f"{each.keys:,}", f"{each.size:,}") for each in steps]
    table(("step", "version", "keys", "bytes"), rows)


@state.command(
    epilog="\b\nExamples:\n  warren state show orders.state 1:scan\n"
    "  warren state show orders.state 1:scan --key \"('eu', 7)\""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("step")
@click.option("--key", help="Show this key alone: a text, a number, or a tuple as Python writes it.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show so many keys at most.")
@as_json
def show(file: Path, step: str, key: str | None, limit: int, as_json: bool) -> None:
    """Show keys and values of STEP.

    Reading them runs code that the file names, so do this only with files of your own. Classes are looked for in the
    current folder too.
    """
    sys.path.insert(0, str(Path.cwd()))
    found = StateFile(file)
    keys = found.keys(step)
    chosen = keys if key is None else _matching(key, keys)
    if key is not None and not chosen:
        raise StateError(
            f"{step} has no key {key!r} in {file}; it has {plural(len(keys), 'key')}: leave --key out to see some"
        )
    rows: list[tuple[str, str, str]] = []
    for each, part, value in found.rows(step, chosen[:limit]):
        text = _shown(partial(thaw, value), _timed if part == TIMED else repr)
        rows.append((_shown(partial(thaw_key, each)), str(part) if part > 0 else "", text))
    if as_json:
        for name, number, text in rows:
            say({"key": name, "part": number, "value": text})
        return
    if any(part for _, part, _ in rows):
        table(("key", "part", "value"), rows)
    else:
        table(("key", "value"), [(name, text) for name, _, text in rows])
    if len(chosen) > limit:
        click.echo(f"and {plural(len(chosen) - limit, 'more key')}; --limit shows more")


@state.command(epilog="\b\nExample:\n  warren state drop orders.state 1:scan")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("step")
@yes
@as_json
def drop(file: Path, step: str, yes: bool, as_json: bool) -> None:
    """Forget what STEP remembers, and which messages it has counted."""
    found = StateFile(file)
    count = len(found.keys(step))
    confirmed(f"Forget the {plural(count, 'key')} of {step} in {file}, which cannot be brought back", yes)
    dropped = found.drop(step)
    if as_json:
        say({"step": step, "dropped": dropped})
    else:
        click.echo(f"{step} has forgotten {plural(dropped, 'key')}.")


@state.command(epilog="\b\nExample:\n  warren state snapshot orders.state monday.state")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("copy", type=click.Path(path_type=Path))
@as_json
def snapshot(file: Path, copy: Path, as_json: bool) -> None:
    """Copy FILE, as it is now, to the new file COPY."""
    about = StateFile(file).copy_to(copy)
    if as_json:
        say({"file": str(copy), "pipeline": about.pipeline, "checkpoints": about.checkpoints})
        return
    click.echo(f"{copy} is the state of {_of(about)}. Go back to it with: warren state restore {copy} {file}")


@state.command(epilog="\b\nExample:\n  warren state restore monday.state orders.state --force")
@click.argument("copy", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite FILE where it is there.")
@as_json
def restore(copy: Path, file: Path, force: bool, as_json: bool) -> None:
    """Make FILE what COPY is.

    Messages that were acknowledged after the copy was made do not come again, so what they changed in the state is lost.
    """
    if file.exists() and not force:
        raise StateError(f"{file} is there already; --force overwrites it, or move it away")
    about, before = StateFile(file).restore(copy, force=force)
    if as_json:
        say({"file": str(file), "pipeline": about.pipeline, "checkpoints": about.checkpoints})
    else:
        click.echo(f"{file} is the state of {_of(about)}." + (f" It was of {_of(before)}." if before is not None else ""))
    click.echo(_LOST, err=True)


def _of(about: About) -> str:
    return f"pipeline {about.pipeline} after {plural(about.checkpoints, 'checkpoint')}"


def _matching(text: str, keys: Sequence[bytes]) -> list[bytes]:
    """The keys that a text names: as a text, as Python writes them, or as they are shown."""
    there = set(keys)
    named = {freeze_key(text)}
    try:
        named.add(freeze_key(literal_eval(text)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    found = sorted(named & there)
    return found or [key for key in keys if text in (_shown(partial(thaw_key, key), each) for each in (repr, str))]


def _shown(read: Callable[[], Any], show: Callable[[Any], str] = repr) -> str:
    """A value as a line; where it cannot be read, why, as an exception of a class elsewhere must not end the listing."""
    try:
        text = " ".join(show(read()).split())
    except Exception as error:
        return f"<cannot be read: {type(error).__name__}: {error}>"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _timed(value: tuple[Any, float]) -> str:
    when = datetime.fromtimestamp(value[1], UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
    return f"{shorten(value[0], _LONGEST - 40)} (changed {when})"
