"""A worker that reads the partitions, as there has to be one."""

import asyncio
import atexit
import subprocess
import sys
import time
from pathlib import Path

from warren.connectors import rabbitmq
from warren.core.errors import BrokerError

Path("worker.py").write_text("""\
from warren import Pipeline
from warren.connectors import rabbitmq

orders = rabbitmq.partition("orders", dict, n=8, by=lambda order: order["customer"])
Pipeline("billing", orders | rabbitmq.queue("bills")).run()
""")
worker = subprocess.Popen([sys.executable, "worker.py"])
atexit.register(worker.wait)
atexit.register(worker.terminate)
until = time.monotonic() + 30
while True:
    try:
        asyncio.run(rabbitmq.repartition("orders", to=8))
        break
    except BrokerError:
        assert time.monotonic() < until
        time.sleep(0.2)
