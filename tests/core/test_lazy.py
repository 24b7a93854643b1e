from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = ("warren", "warren.testing", "warren.analytics", "warren.analytics.forecasts", "warren.analytics.report")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_home(package: str) -> None:
    module = importlib.import_module(package)
    assert {name for name in module.__all__ if getattr(module, name) is not None} == set(module.__all__) == set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


def test_what_is_slow_to_import_waits_for_its_first_use() -> None:
    code = f"import sys, {', '.join(PACKAGES)}; print(*set(sys.argv) & set(sys.modules))"
    command = [sys.executable, "-c", code, "polars", "pyarrow", "sklearn"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "\n"
