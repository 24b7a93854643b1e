from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from warren.analytics import Metrics
from warren.apps.alerts import load_alerts
from warren.apps.cli import main
from warren.connectors.address import source

SHOP = """
import asyncio
from warren import Pipeline
from warren.analytics.alerts import Alert, Alerts
from warren.analytics.remedies import beyond
from warren.connectors import memory
from warren.operators import map

async def ask(value):
    # A slow answer, in which there is time for several looks.
    await asyncio.sleep(0.4)
    return value

orders = Pipeline("orders", memory.items([1]) | map(ask) | memory.into([]))
alerts = Alerts([Alert("Busy", beyond("unsettled", above=0))], to=["sqlite:///told.db?queue=alerts"], every="50ms")
nothing = 5
"""

FILE = """
every = "50ms"
group_by = ["severity"]
file = "alerts.state"

[[to]]
address = "sqlite:${FOLDER}/told.db?queue=alerts"
where = {severity = "page"}

[[alert]]
name = "Busy"
when = {figure = "warren_messages_in_flight", above = 0}
labels = {severity = "page"}
say = "Wait."

[[alert]]
name = "Odd"
when = {figure = "failed", unusual = "deviation"}
lasting = "1m"
keep = "5m"

[[silence]]
where = {alert = "Odd"}
until = 2030-01-01T00:00:00Z
why = "It is known."
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(SHOP.replace("/told.db", f"{tmp_path}/told.db"))
    (tmp_path / "alerts.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "shop", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["run", "shop:orders", *arguments])


async def told(folder: Path) -> list[dict[str, Any]]:
    connection = await source(f"sqlite:{folder}/told.db?queue=alerts").open(until_empty=True)
    found = []
    while (batch := await connection.receive(100)) is not None:
        found += map(json.loads, batch.bodies)
    await connection.close()
    return found


@pytest.mark.parametrize("name", ["alerts.toml", "shop:alerts"])
def test_alerts_of_a_pipeline_on_the_command_line(folder: Path, name: str) -> None:
    result = run("--alerts", name)
    assert result.exit_code == 0, result.output
    one, *_ = asyncio.run(told(folder))
    assert one["text"] == "[FIRING] orders: Busy" and one["alerts"][0]["labels"]["pipeline"] == "orders"


def test_silences_are_read_again_when_the_file_has_changed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = folder / "alerts.toml"
    alerts = load_alerts("alerts.toml", Metrics())
    assert [each.where for each in alerts.silences] == [{"alert": "Odd"}]
    file.write_text(FILE + "\n[[silence]]\nwhere = {severity = 'page'}\nuntil = 2030-01-01T00:00:00Z\n")
    os.utime(file, ns=(time.time_ns(), time.time_ns() + 10**9))
    assert [each.where for each in alerts.silences] == [{"alert": "Odd"}, {"severity": "page"}]
    file.write_text("[[silence]\n")
    os.utime(file, ns=(time.time_ns(), time.time_ns() + 2 * 10**9))
    assert len(alerts.silences) == len(alerts.silences) == 2
    assert caplog.text.count("the silences stay as they were") == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('severity = "page"}\n\n[[al', 'severity = "page"\n\n[[al', "alerts.toml: "),
        ("above = 0", "over = 0", "unknown field `over`"),
        ("${FOLDER}", "${NO_FOLDER}", "alerts.toml: alerts: an address has ${NO_FOLDER}"),
        ("sqlite:", "fax:", "alerts.toml: "),
        ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00", "give the zone too"),
        ("warren_messages_in_flight", "warren_messages_in_fligth", "alerts.toml: beyond('warren_messages_in_fligth'"),
        ("deviation", "magic", "alerts.toml: there is no detector 'magic'"),
    ],
)
def test_a_file_that_says_something_else_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    (folder / "alerts.toml").write_text(FILE.replace(old, new))
    result = run("--alerts", "alerts.toml")
    assert result.exit_code == 2 and message in result.output, result.output


def test_what_is_no_alerts_is_refused(folder: Path) -> None:
    result = run("--alerts", "shop:nothing")
    assert result.exit_code == 2 and "shop:nothing is no Alerts but 5" in result.output
