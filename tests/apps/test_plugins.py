from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.house.tree import ROOT
from tests.packages import Packages
from warren.apps.cli import main
from warren.core.errors import PluginError

TEMPLATE = ROOT / "docs/plugin-template"

USES_IT = """
from warren import Pipeline
from warren.connectors import address, memory
from warren.core.codecs import decoder, encode
from warren.operators import map, shout
from warren_shout import heard

out = []
Pipeline("loud", address.source("crowd:bird") | shout() | address.sink("crowd:ears")).run()
assert heard == {"ears": ["BIRD 1!", "BIRD 2!", "BIRD 3!"]}, heard
body, content_type = encode("hear me", "text/x-rot13")
assert body == b"urne zr" and decoder(str, content_type)(body) == "hear me"
trial = Pipeline("loud", memory.items([]) | shout("?") | memory.into([])).test(["a", 5])
assert trial.values == ["A?"] and trial.outcomes == {"delivered": 1, "dead-lettered": 1}

from warren.analytics import anomalies, check_detector, detector, load
din = detector("din")
check_detector(din)
watch = Pipeline("watch", memory.items([]) | anomalies(din()) | memory.into([]))
assert [marked.alarm for marked in watch.test([3, 5, 4, 30, 5]).values] == [False, False, False, True, False]
model = din()
model.learn_many([3, 5, 4])
model.save("din.model")
assert load("din.model", model.fingerprint).score_one(20) == 4.0
"""


def listed(*arguments: str) -> list[list[str]]:
    result = CliRunner().invoke(main, ["plugins", *arguments])
    assert result.exit_code == 0, result.output
    return [line.split(maxsplit=4) for line in result.output.splitlines()]


def test_the_template_can_be_installed_and_used(tmp_path: Path) -> None:
    shutil.copytree(TEMPLATE, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path / "site"
    offline = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    pip = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(tmp_path / "source")]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def python(program: str) -> str:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(target)])}
        command = [sys.executable, "-W", "error", "-c", program]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    python(USES_IT)
    python("import doctest, warren_shout; assert doctest.testmod(warren_shout) == (0, 5)")
    shown = python("from warren.apps.cli import main; main(['plugins'])")
    # The guide shows the same.
    assert shown in (ROOT / "docs/plugins.md").read_text()
    assert len(shown.splitlines()) == 5


def test_without_plugins_a_sentence_says_so() -> None:
    assert CliRunner().invoke(main, ["plugins"]).output.startswith("No package adds anything to warren here; ")


def test_what_warren_brings_itself_is_shown_on_request() -> None:
    titles, *rows = listed("--all")
    assert titles == ["kind", "name", "from", "version", "state"]
    assert {row[0] for row in rows} == {"codec", "connector", "operator"}
    assert {(row[2], row[4]) for row in rows} == {("warren", "loads")}
    assert {"map", "rx", "memory", "json"} <= {row[1] for row in rows}
    assert not {"tumbling", "Window"} & {row[1] for row in rows}


def test_each_plugin_says_why_it_is_not_used(packages: Packages) -> None:
    upper = "class Upper:\n  content_types = ('text/x-upper', 'text/plain')\n  decoder = encoder = None\n"
    packages.add(
        "pack",
        {
            "operator map": "pack_up:shout",
            "operator shout": "pack_up:shout",
            "operator lost": "pack_nowhere:shout",
            "operator fine": "pack_up:shout",
            "codec upper": "pack_up:Upper",
            "connector memory": "pack_up:Upper",
        },
        pack_up=upper + "def shout(): pass\nUpper.source = Upper.sink = None\n",
    )
    packages.add("other", {"operator shout": "pack_up:shout"}, "3.0")
    states = {(row[0], row[1], row[2]): row[4] for row in listed()[1:]}
    assert states == {
        ("codec", "upper", "pack"): "not used: warren has a codec for text/plain",
        ("connector", "memory", "pack"): "not used: warren has a connector for memory",
        ("operator", "fine", "pack"): "loads",
        ("operator", "lost", "pack"): "does not load: ModuleNotFoundError: No module named 'pack_nowhere'",
        ("operator", "map", "pack"): "not used: warren has an operator for map",
        ("operator", "shout", "other"): "not used: shout is given by other 3.0 and pack 1.0; uninstall all of them but one",
        ("operator", "shout", "pack"): "not used: shout is given by other 3.0 and pack 1.0; uninstall all of them but one",
    }


def test_operators_of_packages_are_imported_like_warrens_own(packages: Packages) -> None:
    from warren import operators

    packages.add("pack", {"operator shout": "pack_im:shout", "operator map": "pack_im:shout", "operator lost": "nowhere:x"},
                 pack_im="def shout(): return 7")  # fmt: skip
    from warren.operators import map, shout

    assert (shout(), map.__module__) == (7, "warren.operators.map")
    with pytest.raises(PluginError, match=r"the operator 'lost' of pack 1.0 does not load"):
        from warren.operators import lost  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from warren.operators import nothing  # noqa: F401
    assert "shout" not in vars(operators), "the next import path may have another one"
