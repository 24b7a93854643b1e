"""What every test may use."""

pytest_plugins = ["tests.brokers.plugin", "tests.packages"]
