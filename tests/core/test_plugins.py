from __future__ import annotations

import sys

import pytest

from tests.packages import Packages
from warren.core import plugins
from warren.core.errors import PluginError, WarrenError
from warren.core.plugins import Plugin

LOUD = "def shout(mark='!'): return mark\n"
ODD = """
number = 5
class Half: source = sum
class Raising:
    def __init__(self): raise OSError("no\\n disk")
class Mute:
    content_types = 7
    decoder = encoder = None
"""


def faults(kind: str) -> dict[str, str]:
    return {plugin.name: plugin.fault for plugin in plugins.installed(kind) if plugin.distribution != "warren"}


def test_without_packages_there_are_warrens_own_connectors_only() -> None:
    assert {plugin.distribution for plugin in plugins.installed()} <= {"warren"}
    assert plugins.installed("detector") == []
    assert plugins.find("operator", "shout") is None


def test_a_plugin_is_imported_when_it_is_asked_for(packages: Packages) -> None:
    packages.add("pack-a", {"operator shout": "pack_a:shout", "detector storm": "pack_a:shout"}, "2.1", pack_a=LOUD)
    (plugin,) = plugins.installed("operator")
    assert (plugin.name, plugin.distribution, plugin.version) == ("shout", "pack-a", "2.1")
    assert repr(plugin) == "the operator 'shout' of pack-a 2.1"
    assert "pack_a" not in sys.modules
    assert plugins.find("operator", "shout")("?") == "?"
    assert plugins.names("detector") == ["storm"]
    assert plugins.find("operator", "whisper") is None


def test_what_does_not_load_says_why_and_disturbs_no_other(packages: Packages) -> None:
    packages.add(
        "pack-b",
        {
            "operator absent": "pack_nowhere:shout",
            "operator fine": "pack_b:shout",
            "operator lacking": "pack_b:whisper",
            "operator odd": "pack_b:number",
            "operator quitting": "pack_b_exits:shout",
            "connector half": "pack_b:Half",
            "codec mute": "pack_b:Mute",
            "codec raising": "pack_b:Raising",
            "detector number": "pack_b:number",
        },
        pack_b=LOUD + ODD,
        pack_b_exits="raise SystemExit(3)\n",
    )
    found = faults("operator")
    assert found.pop("fine") == ""
    assert found == {
        "absent": "ModuleNotFoundError: No module named 'pack_nowhere'",
        "lacking": "AttributeError: module 'pack_b' has no attribute 'whisper'",
        "odd": "TypeError: pack_b:number is not an operator, or a function that makes one",
        "quitting": "SystemExit: 3",
    }
    assert "is not an object with source(address, type) and sink(address)" in faults("connector")["half"]
    assert faults("codec")["raising"] == "OSError: no disk"
    assert faults("codec")["mute"].startswith("TypeError: ")
    assert faults("detector") == {"number": "TypeError: pack_b:number is not a function or a class"}
    with pytest.raises(PluginError) as caught:
        plugins.find("operator", "absent")
    assert str(caught.value) == (
        "the operator 'absent' of pack-b 1.0 does not load: ModuleNotFoundError: No module named 'pack_nowhere'; repair or "
        "uninstall pack-b"
    )
    assert isinstance(caught.value, WarrenError) and isinstance(caught.value, ImportError)


def test_a_name_that_two_packages_give_is_refused(packages: Packages) -> None:
    packages.add("pack-c", {"operator shout": "pack_c:shout"}, pack_c=LOUD)
    packages.add("pack-d", {"operator shout": "pack_c:shout", "operator other": "pack_c:shout"})
    with pytest.raises(PluginError, match=r"the operator 'shout' is given by pack-c 1.0 and pack-d 1.0; uninstall all"):
        plugins.find("operator", "shout")
    assert plugins.find("operator", "other")("a") == "a"


def test_warrens_own_comes_first() -> None:
    own, other = Plugin("operator", "map", "warren.operators:map"), Plugin("operator", "map", "x:map", "x", "1")
    assert plugins.choose("map", [other, own]) is own
    assert plugins.choose("map", [other]) is other
    assert plugins.choose("map", []) is None


def test_what_cannot_be_read_of_a_package_is_passed_over(packages: Packages) -> None:
    packages.add("pack-e", "[warren.operators]\nthis is no entry point\n")
    packages.add("pack-f", "[console_scripts]\nrun = pack_f:run\n")
    packages.add("pack-g", {"operator shout": "pack_g:shout", "other thing": "pack_g:shout"}, pack_g=LOUD)
    assert [plugin.distribution for plugin in plugins.installed("operator")] == ["pack-g"]


def test_of_a_package_that_is_there_twice_the_first_on_the_path_counts(
    packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.add("pack-h", {"operator old": "pack_h:shout"}, "1.0", pack_h=LOUD)
    first = packages.folder / "first"
    first.mkdir()
    monkeypatch.syspath_prepend(str(first))
    Packages(first).add("pack-h", {"operator new": "pack_h:shout"}, "2.0")
    assert [(plugin.name, plugin.version) for plugin in plugins.installed("operator")] == [("new", "2.0")]
    assert plugins.find("operator", "new") is not None
