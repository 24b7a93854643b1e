from __future__ import annotations

import pytest

from tests.packages import Packages
from warren.analytics import detector
from warren.core.errors import PluginError


def test_a_detector_is_found_by_its_name(packages: Packages) -> None:
    packages.add("weather", {"detector storm": "weather_storm:Storm"}, weather_storm="class Storm: level = 7")
    assert detector("storm").level == 7
    with pytest.raises(PluginError, match="there is no detector 'calm'; known are storm"):
        detector("calm")


def test_one_that_does_not_load_says_why(packages: Packages) -> None:
    packages.add("weather", {"detector storm": "weather_nowhere:Storm"})
    with pytest.raises(PluginError, match=r"the detector 'storm' of weather 1.0 does not load: ModuleNotFoundError"):
        detector("storm")
