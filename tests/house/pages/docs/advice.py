"""A module of the reader's, `shop/flows.py`, and a recording of its pipeline under more load than it bears."""

import sys
from pathlib import Path

from warren.analytics import Recorder

Path("shop").mkdir()
Path("shop/flows.py").write_text("""\
import asyncio

from warren import Pipeline
from warren.connectors import memory
from warren.operators import map


async def ask(value):
    await asyncio.sleep(0.1)
    return value


orders = Pipeline("orders", memory.items([]) | map(ask, concurrency=2) | memory.into([]))
""")
sys.path.insert(0, str(Path.cwd()))
from shop.flows import orders  # noqa: E402  # it has just been written

orders.observed(Recorder("recordings")).test(range(1800), at=[number / 30 for number in range(1800)])
