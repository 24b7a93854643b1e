"""RabbitMQ queues, exchanges and streams as sources and sinks.

aio-pika connects; the fast lane reads and writes the messages. Install it with ``pip install 'warren[rabbitmq]'``.
"""

from warren.connectors.rabbitmq.broker import Broker
from warren.connectors.rabbitmq.queue import Exchange, Queue
from warren.connectors.rabbitmq.tls import TLS
from warren.connectors.rabbitmq.topology import Binding

__all__ = ["TLS", "Binding", "Broker", "Exchange", "Queue"]

queue = Queue
exchange = Exchange
