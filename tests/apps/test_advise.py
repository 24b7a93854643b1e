"""`warren advise`."""

from __future__ import annotations

from pathlib import Path

import msgspec
from click.testing import CliRunner

from tests.analytics.test_advice import ask, pipeline, record, steady
from warren.analytics.advice import Advice
from warren.apps.cli import main
from warren.operators import map


def test_the_command_prints_a_table_a_diff_or_json(tmp_path: Path) -> None:
    record(tmp_path / "flows", pipeline(map(ask, concurrency=2), credit=10_000), steady(30, 60))
    (tmp_path / "shop.py").write_text(
        "from tests.analytics.test_advice import ask, map, pipeline\norders = pipeline(map(ask, concurrency=2), 10_000)\n"
    )
    asked = ["advise", "--flows", str(tmp_path / "flows")]
    shown = CliRunner().invoke(main, [*asked, f"{tmp_path / 'shop.py'}:orders"])
    assert shown.exit_code == 0, shown.output
    assert "- map(ask, concurrency=2)\n+ map(ask, concurrency=4)" in shown.output and "Risk:" in shown.output
    told = CliRunner().invoke(main, [*asked, "--json"])
    [advice] = msgspec.json.decode(told.stdout, type=list[Advice])
    assert advice.proposed == "map(ask, concurrency=4)"
    assert CliRunner().invoke(main, ["advise", "--flows", str(tmp_path / "none")]).exit_code == 2
