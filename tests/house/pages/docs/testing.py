"""Modules of the reader's, `shop/flows.py` and `shop/load.py`, and a recording of both kinds."""

import json
import sys
from pathlib import Path

from warren.analytics import Recorder

Path("shop").mkdir()
Path("shop/flows.py").write_text("""\
from warren import Pipeline
from warren.connectors import sqlite

orders = Pipeline("orders", sqlite.queue("shop.db", "orders", dict) | sqlite.queue("shop.db", "billed"))
""")
Path("shop/load.py").write_text("def order(row):\n    return {'id': row['index']}\n")
lines = [{"at": f"2026-03-01T09:00:0{second / 10}Z", "value": {"id": second}} for second in range(5)]
Path("orders.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
sys.path.insert(0, str(Path.cwd()))
from shop.flows import orders  # noqa: E402  # it has just been written

orders.observed(Recorder("recordings")).test([{"id": 1}, {"id": 2}], at=[0, 0.1])
