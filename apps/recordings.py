"""What ``warren flows`` shows of recordings, and does to them."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from warren import analytics
from warren.analytics.loads import names
from warren.apps.showing import say, screen
from warren.core.words import plural

__all__ = ["show"]


def show(path: Path, compact: bool, keep: str | None, bottleneck: bool, as_json: bool) -> None:
    """Do and show what the options say; as JSON one object for each of it."""
    if keep is not None:
        removed = analytics.expire(path, keep)
        if as_json:
            say({"removed": removed})
        else:
            click.echo(f"Removed {plural(removed, 'row')} of days that ended longer than {keep} ago.")
    if compact:
        done = analytics.compact(path)
        if as_json:
            say(
                {
                    "before": done.before,
                    "after": done.after,
                    "bytes_before": done.bytes_before,
                    "bytes_after": done.bytes_after,
                }
            )
        else:
            click.echo(
                f"{plural(done.before, 'file')} of past days became {done.after:,}: "
                f"{done.bytes_before / 1e6:,.1f} MB are now {done.bytes_after / 1e6:,.1f} MB."
            )
    flows = analytics.Flows(path)
    if bottleneck and as_json:
        for name in names(flows):
            found = analytics.bottleneck(flows, name)
            told = {} if found is None else {**msgspec.structs.asdict(found), "evidence": found.evidence.to_dicts()}
            say({"pipeline": name, "limited": found is not None, **told})
    elif bottleneck:
        screen().print(analytics.render_bottlenecks(flows))
    elif keep is None and not compact:
        if as_json:
            tables = {"messages": flows.summary(), "errors": flows.errors(), "stages": flows.stage_times()}
            say({name: table.to_dicts() for name, table in tables.items()})
        else:
            screen().print(analytics.render(flows))
