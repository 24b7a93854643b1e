"""``warren doctor``: what is wrong here and with a broker, and what to do about it."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

import click
import msgspec

from warren.apps.showing import as_json, cut, say
from warren.connectors import address as addresses
from warren.core.checkup import Finding
from warren.core.wakeful import run

__all__ = ["doctor"]

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[.*\])?(>=(?P<least>[\d.]+))?(?P<rest>.*)")
_NOT_OURS = re.compile(r"extra == ['\"](bench|dev)['\"]")
_FEW_FILES = 1024
_SIGNS = {"ok": "ok     ", "unknown": "?      ", "warning": "WARNING", "problem": "PROBLEM"}


@click.command(
    epilog="\b\nExamples:\n  warren doctor\n  warren doctor sqlite:///var/orders.db?queue=orders\n"
    "  warren doctor 'amqp://me@host/shop?queue=orders&management=http://host:15672'"
)
@click.argument("places", nargs=-1, metavar="[ADDRESS]...")
@as_json
def doctor(places: tuple[str, ...], as_json: bool) -> None:
    """Check this machine, and the brokers or files at each ADDRESS; say what to do.

    Reach, permissions, versions, alarms, limits, certificates, disk and clock; with a queue in ADDRESS, that queue too.
    Exit code 1 where there is a problem; warnings are none.
    """
    problems = run(_show(places, as_json))
    if problems:
        raise click.exceptions.Exit(1)


async def _show(places: tuple[str, ...], as_json: bool) -> int:
    problems = 0
    async for place, finding in _findings(places):
        problems += finding.state == "problem"
        if as_json:
            say({"place": place, **msgspec.to_builtins(finding)})
            continue
        click.echo(f"{_SIGNS[finding.state]}  {finding.what:12}  {cut(finding.said, 1000)}")
        if finding.remedy:
            click.echo(f"{'':23}→ {cut(finding.remedy, 1000)}")
    return problems


async def _findings(places: tuple[str, ...]) -> AsyncIterator[tuple[str, Finding]]:
    # Addresses that lead nowhere are told before anything is looked at.
    admins = [(addresses.parse(place).text, *addresses.admin(place)) for place in places]
    for finding in _here():
        yield "here", finding
    for place, admin, queue in admins:
        async for finding in admin.checkup(queue):
            yield place, finding


def _here() -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{sys.version.split()[0]} with warren {version('warren')}")
    yield from _libraries()
    try:
        import resource
    except ImportError:
        return
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = most != resource.RLIM_INFINITY and most < _FEW_FILES
    remedy = f"raise the limit: ulimit -n {4 * _FEW_FILES}" if few else ""
    yield Finding("open files", "warning" if few else "ok", f"at most {most:,} in one process", remedy)


def _libraries() -> Iterator[Finding]:
    """Those that are needed, and those of extras that are there."""
    wrong = False
    for requirement in requires("warren") or ():
        found = _REQUIREMENT.match(requirement)
        if found is None or _NOT_OURS.search(found["rest"]):
            continue
        name, least, extra = found["name"], found["least"] or "0", "extra ==" in found["rest"]
        try:
            has = version(name)
        except PackageNotFoundError:
            has = ""
        if (not has and not extra) or (has and _number(has) < _number(least)):
            wrong = True
            said = f"{name} {has or 'is missing'}; {least} or newer is needed"
            yield Finding("libraries", "problem", said, f"pip install '{name}>={least}'")
    if not wrong:
        yield Finding("libraries", "ok", "all that is installed is new enough")


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
