from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from warren.analytics import Flows
from warren.apps.cli import main

SHOP = """
import asyncio
from warren import Pipeline
from warren.analytics.remedies import Remedies, Remedy, open_circuit, pause
from warren.connectors import memory
from warren.core.breaker import Switch
from warren.core.knobs import Dial, Knob
from warren.core.weights import Weights
from warren.operators import map

switch, weights, dial = Switch(), Weights(), Dial(Knob("concurrency", 1, 8, start=2))
opened = []

async def ask(value):
    # A slow answer, in which there is time for several looks.
    for _ in range(8):
        await asyncio.sleep(0.05)
        opened.append(switch.open or weights["eu"] < 1 or dial.value > 2)
    return value

orders = Pipeline("orders", memory.items([1]) | map(ask) | memory.into([]))
busy = lambda figures: figures.unsettled > 0 and "a message is slow"
listed = [Remedy(busy, open_circuit(switch), hold="1h")]
remedies = Remedies(listed, every="50ms", mode="act")
nothing = 5
"""

FILE = """
every = "50ms"

[[remedy]]
when = {figure = "warren_messages_in_flight", above = 0}
shift = {weights = "shop:weights", target = "eu", to = 0.5}
hold = "1h"

[[remedy]]
when = {figure = "unsettled", above = 0}
scale = {dial = "shop:dial", to = 4}

[[remedy]]
when = {figure = "failed", unusual = "deviation"}
pause = "memory:items"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "remedies.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "shop", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["run", "shop:orders", *arguments])


def opened() -> list[bool]:
    import shop  # type: ignore[import-not-found]  # the test writes it

    return list(shop.opened)


@pytest.mark.parametrize("name", ["shop:remedies", "remedies.toml"])
def test_remedies_are_a_dry_run_until_told_to_act(folder: Path, name: str) -> None:
    result = run("--remedies", name)
    assert result.exit_code == 0, result.output
    assert "would be set in place of" in result.output and "over after 0 s; the pipeline ended" in result.output
    assert not any(opened())


@pytest.mark.parametrize("name", ["shop:remedies", "remedies.toml"])
def test_they_act_and_undo_where_they_are_told_to(folder: Path, name: str) -> None:
    result = run("--remedies", name, "--act")
    assert result.exit_code == 0, result.output
    assert " is set in place of" in result.output and any(opened())
    import shop

    assert not shop.switch.open and shop.weights["eu"] == 1 and shop.dial.value == 2


def test_a_list_of_remedies_will_do_and_what_they_decide_is_recorded(folder: Path) -> None:
    result = run("--remedies", "shop:remedies", "--act", "--record", "recordings")
    assert result.exit_code == 0, result.output
    [row] = Flows(folder / "recordings").decisions.collect().to_dicts()
    assert row["stage"] == "remedies" and row["policy"] == "open_circuit" and row["reason"] == "a message is slow"
    assert run("--remedies", "shop:listed").exit_code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("every =", "remedies.toml: "),
        ("[[remedy]]\nwhen = {figure = 'rate', above = 1}", "the remedy for rate needs one of pause, resume, open_circuit"),
        ("[[remedy]]\nwhen = {figure = 'rate', above = 1}\npause = ''\npage = 'https://x'", "needs one of"),
        ("[[remedy]]\nwhen = {figure = 'speed', above = 1}\npause = ''", "remedies.toml: beyond('speed'): there is no such"),
        ("[[remedy]]\nwhen = {figure = 'rate', over = 1}\npause = ''", "unknown field `over`"),
        ("[[remedy]]\nwhen = {figure = 'rate', above = 1}\nopen_circuit = 'shop:swich'", "did you mean 'switch'"),
        ("[[remedy]]\nwhen = {figure = 'rate', above = 1}\nopen_circuit = 'shop:dial'", "shop:dial is no Switch but"),
        (
            "[[remedy]]\nwhen = {figure = 'rate', above = 1}\nscale = {dial = 'shop:dial', to = 99}",
            "99 is no whole number from 1 to 8",
        ),
    ],
)
def test_a_file_that_says_something_else_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "remedies.toml").write_text(text)
    result = run("--remedies", "remedies.toml")
    assert result.exit_code == 2 and message in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--act"], "name them with --remedies FILE"),
        (["--remedies", "shop:nothing"], "shop:nothing is no Remedies, nor a list of Remedy, but 5"),
        (["--remedies", "absent.toml"], "absent.toml: No such file"),
        (["--remedies", "shop:absent"], "no attribute 'absent'"),
    ],
)
def test_bad_names_are_refused(folder: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and message in result.output
