"""``warren health``: a running pipeline, or queues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from warren.analytics.probes import Probes, place
from warren.apps.cli import main
from warren.core.health import Health, QueueHealth

FINE = Health(name="orders", queues=(QueueHealth(name="in", depth=120, consumers=2, growth=-2.0, drain=60.0),))


def warren(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=input)


@contextmanager
def running(health: Health) -> Iterator[str]:
    probes = Probes(place(":0"), None, lambda: health)
    try:
        yield probes.address
    finally:
        probes.close()


def test_a_running_pipeline_tells_how_it_fares() -> None:
    with running(FINE) as address:
        for target in (
            address,
            f"{address}/live",
            address.removeprefix("http://"),
            address.removeprefix("http://127.0.0.1"),
        ):
            result = warren("health", target)
            assert result.exit_code == 0, result.output
        assert result.stdout.splitlines() == [
            "orders is live and ready.",
            "queue  depth  unacked  consumers  in/s  out/s  growth/s  empty in",
            "in     120    ?        2          ?     ?      -2.0      1m",
        ]
        found = json.loads(warren("health", address, "--json").stdout)
        assert (found["live"], found["queues"][0]["drain"]) == (True, 60.0)


@pytest.mark.parametrize(("live", "ready", "code"), [(False, False, 1), (True, False, 3)])
def test_the_exit_code_tells_what_is_wrong(live: bool, ready: bool, code: int) -> None:
    with running(Health(name="orders", live=live, ready=ready, reasons=("in: no broker\x1b[2J",), reconnects=3)) as address:
        result = warren("health", address)
        assert result.exit_code == code
        assert "  in: no broker\\x1b[2J\n" in result.stdout and "reconnects 3" in result.stdout
        assert warren("health", address, "--json").exit_code == code


def test_what_does_not_answer_as_a_pipeline_does_is_one_sentence() -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        result = warren("health", f":{server.server_port}")
        server.shutdown()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is no pipeline of warren" in result.stderr
    gone = warren("health", f":{server.server_port}")
    assert gone.exit_code == 1 and "run the pipeline with --metrics" in gone.stderr


def test_queues_are_watched_for_a_while(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path}/q.db?queue=orders"
    warren("queues", "create", address)
    warren("publish", address, input="1\n2\n")
    result = warren("health", address, "--during", "100ms")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, f"{address} answers.")
    found = json.loads(warren("health", address, "--during", "100ms", "--json").stdout)
    assert (found["queues"][0]["depth"], found["queues"][0]["growth"]) == (2, 0.0)
    assert warren("health", address, "--during", "1ms").exit_code == 2
    assert warren("health", f"sqlite:{tmp_path}/none.db").exit_code == 1
