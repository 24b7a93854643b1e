from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.house.tree import ROOT
from warren.apps.cli import main

SHOP = """
from pathlib import Path
from warren import Pipeline
from warren.connectors import files, memory, sqlite
from warren.operators import map

def fail(value):
    raise ZeroDivisionError("no")

class Broken:
    def open(self, pipeline): raise OSError("on fire")

orders = Pipeline("orders", memory.items([1, 2]) | map(lambda x: x + 1) | memory.into([]))
failing = Pipeline("failing", memory.items([1]) | map(fail) | memory.into([]))
endless = Pipeline("endless", sqlite.queue("queue.db", "q") | map(lambda _: print("got", flush=True)) | memory.into([]))
lost = Pipeline("lost", sqlite.queue(Path("nowhere") / "queue.db", "lost") | memory.into([]))
odd = Pipeline("odd", memory.items([1]) | memory.into([]), observers=[Broken()])
"""

PROGRAM = [sys.executable, "-c", "from warren.apps.cli import main; main()"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.delenv("WARREN_DEBUG", raising=False)
    return tmp_path


def warren(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does: its exit codes and streams are what is promised."""
    env = {**os.environ, **environment}
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, env=env, timeout=60, check=False)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("command", [[], ["run"], ["replay"], ["explain"], ["flows"], ["plugins"], ["demo"]])
def test_help_shows_examples(command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output and f"warren {command[0] if command else 'demo'}" in result.output


def test_version() -> None:
    assert invoke("--version").output.startswith("warren, version ")


def test_a_pipeline_is_explained(folder: Path) -> None:
    done = warren("explain", "shop:orders")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pipeline orders: at least once")
    assert warren("explain", "shop:orders", "--mermaid").stdout.startswith("flowchart LR")


def test_a_pipeline_runs_and_its_recording_is_shown(folder: Path) -> None:
    done = warren("run", "shop:orders", "--record", "recordings")
    assert done.returncode == 0, done.stderr
    assert "warren flows recordings" in done.stderr
    shown = warren("flows", "recordings")
    assert shown.returncode == 0, shown.stderr
    assert "orders" in shown.stdout
    assert warren("flows", "recordings", "--bottleneck").stdout == "Nothing limits 'orders': it passes all that comes.\n"
    assert warren("run", "shop:orders", "--tape", "orders.jsonl").stderr.endswith("warren replay orders.jsonl shop:orders\n")
    assert warren("run", "shop:orders", "--metrics", "127.0.0.1:0").returncode == 0
    again = warren("replay", "orders.jsonl", "shop:orders", "--speed", "full")
    assert again.stdout.startswith("2 of 2 messages"), again.stderr
    kept = warren("flows", "recordings", "--keep", "90d", "--compact")
    assert kept.stdout.splitlines() == [
        "Removed 0 rows of days that ended longer than 90d ago.",
        "0 files of past days became 0: 0.0 MB are now 0.0 MB.",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "shp:orders"], "did you mean 'shop'"),
        (["run", "shop:order"], "did you mean 'orders'"),
        (["explain", "nothing.py:orders"], "there is no file"),
        (["run", "shop:fail"], "not a Pipeline but a function"),
        (["flows", "nowhere"], "there is no folder 'nowhere'"),
        (["flows", ".", "--keep", "1h"], "days go as a whole, so keep at least '1d'"),
        (["run", "shop:orders", "--metrics", "9100"], "'9100' is no place to serve metrics; give HOST:PORT"),
        (["demo", "--broker", "kafka://host"], "kafka"),
        (["demo", "--broker", "amqp://host?queue=y"], "a broker's address amqp://… cannot be taken apart"),
        (["demo", "--limit", "0"], "0 is not in the range x>=1; see"),
        (["run"], "Missing argument 'PIPELINE'; see"),
        (["demo", "--folder", "shop.py"], "shop.py is a file"),
        (["demo", "--broker", "nonsense"], "not an address"),
        (["demo", "--broker", "sqlite:///tmp/x?queue=y"], "leave out what follows"),
        (["demo", "--resume"], "there is no unfinished run"),
        (["rnu", "shop:orders"], "did you mean 'run'"),
    ],
)
def test_what_leads_nowhere_is_one_sentence_and_exit_code_2(folder: Path, arguments: list[str], sentence: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1 and sentence in result.stderr


def test_the_program_itself_ends_with_exit_code_2(folder: Path) -> None:
    done = warren("run", "shp:orders")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "warren: there is no module 'shp'; did you mean 'shop'?\n"


@pytest.mark.parametrize(
    ("pipeline", "sentence"), [("shop:lost", "nowhere does not exist; create it first"), ("shop:odd", "OSError: on fire")]
)
def test_what_fails_on_the_way_is_one_sentence_and_exit_code_1(folder: Path, pipeline: str, sentence: str) -> None:
    done = warren("run", pipeline)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("warren: ") and sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_traceback_is_shown_when_asked_for(folder: Path) -> None:
    assert "Traceback" in warren("--debug", "run", "shop:lost").stderr
    assert "Traceback" in warren("run", "shp:orders", WARREN_DEBUG="1").stderr


def test_a_failing_message_does_not_fail_the_run(folder: Path) -> None:
    assert warren("run", "shop:failing").returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_the_first_interrupt_ends_gracefully(folder: Path) -> None:
    seed = "from warren import Pipeline; from warren.connectors import memory, sqlite\n"
    seed += "Pipeline('seed', memory.items([b'1']) | sqlite.queue('queue.db', 'q')).run()"
    subprocess.run([sys.executable, "-c", seed], check=True, timeout=60)
    process = subprocess.Popen([*PROGRAM, "run", "shop:endless"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "got\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
