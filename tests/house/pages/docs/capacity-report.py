"""A recording of two hours, what things cost, and the last report."""

from pathlib import Path

from warren import Pipeline
from warren.analytics import Recorder
from warren.analytics.report import capacity_report, write
from warren.connectors import memory
from warren.operators import map

orders = Pipeline("orders", memory.queue("orders") | map(abs) | memory.into([]))
orders.observed(Recorder("recordings")).test(range(720), at=[10 * number for number in range(720)])
Path("prices.toml").write_text("consumer_hour = 0.04\n")
write(capacity_report("recordings"), "report.json")
