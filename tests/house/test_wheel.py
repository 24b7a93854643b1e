"""The wheel holds what the tree holds, whichever way it is built, and works where it is installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.house.tree import FOLDERS, ROOT, relative, sources


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(out: Path, *options: str) -> Path:
    """Build with the backend that is installed here, so that no network is needed."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, *options)
    (wheel,) = out.glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("tree"), "--wheel")


def test_the_wheel_holds_the_files_of_the_tree(wheel: Path) -> None:
    expected = {f"warren/{relative(path)}" for folder in FOLDERS for path in sources(folder)}
    expected |= {"warren/__init__.py", "warren/py.typed"}
    pages = {f"warren/{relative(path)}" for path in (ROOT / "apps/dashboard/static").iterdir()}
    found = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert found >= expected | pages
    assert {name for name in found if name.endswith(".py")} == {name for name in expected if name.endswith(".py")}


def test_the_wheel_carries_the_licence(wheel: Path) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in contents(wheel))


def test_a_wheel_built_from_the_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    assert contents(build(tmp_path)) == contents(wheel)


def test_the_installed_wheel_works(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    venv.create(home, with_pip=False)
    paths = {"base": str(home), "platbase": str(home)}
    python = Path(sysconfig.get_path("scripts", "venv", vars=paths)) / "python"
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    # The dependencies come from here; a path file is not read a second time, so the editable install stays out of sight.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    program = "import warren, warren.operators; print(warren.__file__, warren.operators.__file__, sep='\\n')"
    for line in run(python, "-I", "-c", program, cwd=tmp_path).splitlines():
        assert Path(line).is_relative_to(site)
    assert "Usage" in run(python.with_name("warren"), "--help", cwd=tmp_path)
