"""A model of RabbitMQ in memory that speaks real frames, in virtual time, with faults chosen by a seed."""

from tests.brokers.model.broker import ModelBroker
from tests.brokers.model.faults import FAULTS
from tests.brokers.model.loop import ModelLoop, play
from tests.brokers.model.schedule import Fault, Schedule

__all__ = ["FAULTS", "Fault", "ModelBroker", "ModelLoop", "Schedule", "play"]
