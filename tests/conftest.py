"""What every test may use."""

from importlib.metadata import entry_points

from hypothesis import settings

# How long an example takes depends on what else the machine does.
settings.register_profile("warren", deadline=None)
settings.load_profile("warren")

pytest_plugins = ["tests.brokers.plugin", "tests.packages"]

# An environment that was installed before the plugin had its entry point does not load it by itself.
if not entry_points(group="pytest11", name="warren"):
    pytest_plugins.append("warren.testing.plugin")
