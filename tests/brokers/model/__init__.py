"""A model of RabbitMQ 3.10 in memory that speaks real frames, in virtual time, with faults chosen by a seed.

    async def main(broker):
        connection = await aio_pika.connect(broker.url)  # any client that lets its loop connect
        ...
        assert broker.ledger.lost() == []

    play(main)                # a calm network and a calm broker
    play(main, Schedule(17))  # latency, cut frames, late confirms and faults, the same each time

`play` makes a `ModelLoop` and a `ModelBroker` on it. More brokers: ``ModelBroker(loop, schedule, host, port)``. What befalls
a broker by schedule can be done to it by hand too: `crash`, `stop`, `start`, `reset`, `stall`, `block`, `cancel` and so on.
Spread what a run does over ``schedule.span`` seconds, so that the faults find somebody at work.

`test_same_as_rabbitmq` plays the same conversations on the model and on a real node, and demands the same frames. Not in the
model: streams, transactions, priorities, headers exchanges, plugins, prefetch for a whole channel.
"""

from tests.brokers.model.broker import ModelBroker
from tests.brokers.model.faults import FAULTS
from tests.brokers.model.ledger import Ledger
from tests.brokers.model.loop import ModelLoop, play
from tests.brokers.model.schedule import Fault, Schedule

__all__ = ["FAULTS", "Fault", "Ledger", "ModelBroker", "ModelLoop", "Schedule", "play"]
