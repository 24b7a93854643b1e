from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.analytics.feeding import NOW, feed
from warren.analytics import Recorder
from warren.analytics.schema import DECISIONS, KIND, STAGES, TRIPS, VERSION, WORKERS
from warren.core.hooks import Work
from warren.core.policies import Decision

PAGE = Path(__file__).resolve().parents[2] / "docs" / "flows.md"


@pytest.mark.parametrize(
    ("table", "schema"), [("trips", TRIPS), ("stages", STAGES), ("workers", WORKERS), ("decisions", DECISIONS)]
)
def test_the_page_describes_what_is_written(table: str, schema: pa.Schema, tmp_path: Path) -> None:
    section = PAGE.read_text("utf-8").split(f"\n## {table}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| (yes|no) \|", section, re.MULTILINE)
    assert rows == [(field.name, str(field.type), "yes" if field.nullable else "no") for field in schema]
    assert f"`{table}/{VERSION}`" in PAGE.read_text("utf-8")

    recorder = Recorder(tmp_path)
    recorder.open("p")
    feed(recorder, 10)
    recorder.worked("1:map", Work(4, 2, 10, 0.5, 0.75), NOW, NOW + 0.25)
    recorder.decided("1:route", [Decision("p", 1, NOW, "a", "b", "b", 0.5, "shadow", "why", {"costs": {"a": 1.0}})])
    recorder.close()
    (file,) = (tmp_path / table).rglob("*.parquet")
    written = pq.read_schema(file)
    assert written.equals(schema)
    assert written.metadata[KIND].decode() == f"{table}/{VERSION}"
