from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.analytics.reporting import busy, record
from tests.analytics.test_sending import Box, hook, post_office
from tests.house.tree import ROOT
from warren.analytics.sending import receiver
from warren.apps.cli import main
from warren.apps.report import capacity

DAYS = 35
PROGRAM = [sys.executable, "-c", "from warren.apps.cli import main; main()", "report", "capacity"]


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five weeks until this hour: one queue with room, one that its consumer hardly keeps up with."""
    folder = tmp_path_factory.mktemp("flows")
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    hours = np.arange(DAYS * 24)
    record(folder, np.full(len(hours), 20), start=start, service=5.0, pipeline="calm")
    record(folder, busy(hours, 60.0, 8.0), start=start, service=14.0)
    return folder


def report(flows: Path, *arguments: object) -> Result:
    asked = ["report", "capacity", "--flows", str(flows), "--target", "p95=2m", "--consumers", "1", *map(str, arguments)]
    return CliRunner().invoke(main, asked)


def test_help_says_what_exit_codes_mean() -> None:
    result = CliRunner().invoke(main, ["report", "capacity", "--help"])
    assert result.exit_code == 0
    assert "3  a capacity runs out within --fail-within" in result.output and "--every 1d --at 06:00" in result.output
    assert "capacity" in CliRunner().invoke(main, ["report", "--help"]).output


def test_a_table_and_files(flows: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"report{suffix}" for suffix in (".html", ".pdf", ".json")]
    result = report(flows, *(part for out in outs for part in ("--out", out)))
    assert result.exit_code == 0, result.output
    assert "queue" in result.stdout and "calm" in result.stdout and "orders" in result.stdout
    assert all(out.stat().st_size > 1000 and f"The report is in {out}." in result.stderr for out in outs)
    told = json.loads(outs[2].read_bytes())
    assert [queue["pipeline"] for queue in told["queues"]] == ["calm", "orders"]
    # The next one says how this one did.
    again = report(flows, "--last", outs[2], "--out", outs[2])
    assert again.exit_code == 0 and json.loads(outs[2].read_bytes())["problems"] == []


def test_json_in_place_of_the_table(flows: Path) -> None:
    result = report(flows, "--json", "--pipeline", "calm")
    assert result.exit_code == 0
    assert [queue["pipeline"] for queue in json.loads(result.stdout)["queues"]] == ["calm"]


def test_an_exit_code_says_that_capacity_runs_out(flows: Path) -> None:
    soon = report(flows, "--fail-within", "365d")
    assert soon.exit_code == 3 and "capacity runs out within --fail-within: orders" in soon.stderr
    assert report(flows, "--fail-within", "365d", "--pipeline", "calm").exit_code == 0
    assert report(flows).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "fast"], "'fast' is no target: write a quantile and a time, such as 'p99=2s'"),
        (["--out", "report.docx"], "report.docx: a report ends in .html, .pdf, .json"),
        (["--pipeline", "order"], "no pipeline 'order'; did you mean 'orders'?"),
        (["--consumers", "orders=many"], "--consumers orders=many: write how many run"),
        (["--consumers", "orders=0"], "--consumers orders=0: write how many run"),
        (["--horizon", "1m"], "must be from an hour to a year"),
        (["--zone", "Mars"], "'Mars' is no time zone"),
        (["--fail-within", "soon"], "'soon' is not a duration"),
        (["--at", "06:00"], "--at says when with --every"),
        (["--every", "1d", "--at", "6"], "write a time of the day"),
        (["--send", "pigeon"], "--send pigeon: write 'folder:/var/reports'"),
    ],
)
def test_what_cannot_be_is_exit_code_2(flows: Path, arguments: list[str], sentence: str) -> None:
    result = report(flows, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr and result.stderr.count("\n") == 1


def test_what_fails_is_exit_code_1(flows: Path, tmp_path: Path) -> None:
    result = report(tmp_path)
    assert result.exit_code == 1 and "holds no flows; record some with: warren run PIPELINE" in result.stderr
    assert report(tmp_path / "absent").exit_code == 1
    (tmp_path / "file").write_text("")
    result = report(flows, "--pipeline", "calm", "--out", tmp_path / "file" / "report.json")
    assert result.exit_code == 1 and "the report cannot be written" in result.stderr


def test_what_costs_a_part_only_is_a_note(flows: Path, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text("consumer_hour = 'much'")
    (tmp_path / "old.json").write_text('{"version": 0}')
    out = tmp_path / "report.json"
    for last, sentence in (("old.json", "is of version 0, and 1 is read here"), ("new.json", "there is no last report")):
        result = report(
            *(flows, "--pipeline", "calm", "--out", out),
            *("--prices", tmp_path / "prices.toml", "--last", tmp_path / last),
        )
        assert result.exit_code == 0
        assert "Note: the prices in" in result.stdout and sentence in result.stdout
        assert len(json.loads(out.read_bytes())["problems"]) == 2
    assert json.loads(out.read_bytes())["currency"] == "consumer-hours"


def test_prices_and_nodes(flows: Path, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('currency = "EUR"\nconsumer_hour = 0.04\n')
    result = report(
        flows, "--json", "--prices", tmp_path / "prices.toml", "--consumers", "orders=2+1", "--pipeline", "orders"
    )
    told = json.loads(result.stdout)
    (queue,) = told["queues"]
    assert told["currency"] == "EUR" and queue["consumers"] == 3 and queue["consumers_from"] == "given"
    assert [each["consumers"] for each in queue["failures"]] == [3, 1, 0]


def test_it_is_sent_everywhere_and_says_where_that_failed(
    flows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box()
    with hook(200) as works, hook(404) as fails, post_office(box) as port:
        result = report(
            *(flows, "--pipeline", "orders", "--fail-within", "365d", "--link", "https://reports.example.org/"),
            *("--send", fails.address, "--send", works.address, "--send", f"folder:{tmp_path / 'kept'}"),
            *("--send", "mailto:ops@example.org", "--smtp", f"127.0.0.1:{port}", "--out", tmp_path / "report.html"),
        )
    # That it could not be sent counts more than that capacity runs out.
    assert result.exit_code == 1
    assert "could not be sent to http://127.0.0.1/… (tried once): it answered 404" in result.stderr
    assert "orders" in result.stdout and (tmp_path / "report.html").exists()
    told = json.loads(works.requests[0][3])
    assert told["alert"] is True and told["text"] == "Capacity runs out: orders"
    assert told["link"] == "https://reports.example.org/" and told["queues"][0]["pipeline"] == "orders"
    assert [file.suffix for file in (tmp_path / "kept").iterdir()] == [".html"]
    assert len(box.mail) == 1


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM to catch")
def test_it_goes_on_until_it_is_asked_to_stop(flows: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    arguments = ["--flows", str(tmp_path / "flows"), "--target", "p95=2m", "--every", "1s", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=file, text=True, env=environment)
        try:
            # The folder is not there at first: that report fails, and later ones do not.
            deadline = time.monotonic() + 60
            while "the next report is made when it is due" not in errors.read_text():
                assert process.poll() is None and time.monotonic() < deadline, errors.read_text()
                time.sleep(0.02)
            (tmp_path / "flows").symlink_to(flows)
            wait_for(out, process)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)
        finally:
            process.kill()
            process.wait()
    said = errors.read_text()
    assert process.returncode == 0, said
    assert "does not exist" in said and "The next report is due" in said and "Asked to stop" in said
    assert "Traceback" not in said and json.loads(out.read_bytes())["version"] == 1


def arguments_in(text: str) -> list[str]:
    """What an example gives to ``warren report capacity``: on a line, on several, or as a list in YAML."""
    if "cronjob" in text or "CronJob" in text:
        return re.findall(r"^ +- (--\S+)$", text, flags=re.MULTILINE)
    (line,) = re.findall(r"^(?!#).*warren report capacity ((?:.*\\\n)*.*)$", text, flags=re.MULTILINE)
    return shlex.split(line.replace("\\\n", " "))


@pytest.mark.parametrize("name", ["capacity-report.cron", "capacity-report.cronjob.yaml", "warren-capacity.service"])
def test_examples_ask_for_what_there_is(name: str) -> None:
    given = arguments_in((ROOT / "docs" / "examples" / name).read_text("utf-8"))
    asked = capacity.make_context("capacity", given)
    assert str(asked.params["flows"]).endswith("flows") and asked.params["fail_within"] == "14d"
    # The last report is read before the new one takes its place.
    assert asked.params["last"] in asked.params["outs"]
    assert all(receiver(each, {}) for each in asked.params["sends"])


def test_every_option_is_documented() -> None:
    told = (ROOT / "docs" / "capacity-report.md").read_text("utf-8")
    names = {option.opts[0] for option in capacity.params} - {"--json", "--pipeline", "--flows"}
    assert {name for name in names if name not in told} == set()
