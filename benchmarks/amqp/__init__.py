"""The sides of `benchmarks.rabbitmq`, and the raw client that fills the queues and checks what comes out."""
