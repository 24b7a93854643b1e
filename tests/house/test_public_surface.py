"""What each package offers is exactly what it lists, and each of these says what it is."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from types import ModuleType

import pytest

from tests.house.tree import FOLDERS, ROOT, load, sources

PACKAGES = ("warren", *(f"warren.{folder}" for folder in FOLDERS if folder != "apps"))


def public_names(module: ModuleType) -> set[str]:
    """The names a user sees in a package, submodules and ``from __future__`` apart."""
    return {
        name
        for name in dir(module)
        if not name.startswith("_")
        and not isinstance(value := getattr(module, name), ModuleType)
        and type(value).__module__ != "__future__"
    }


def listed(module: ModuleType) -> list[str]:
    """``__all__``; a package that offers nothing needs none."""
    return list(getattr(module, "__all__", ()))


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order in which the formatter keeps ``__all__``."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


def described_values() -> set[str]:
    """Names given a value at module level with a docstring right below, as type aliases have."""
    found = set()
    for path in [ROOT / "src/warren/__init__.py", *(path for folder in FOLDERS for path in sources(folder))]:
        body = ast.parse(path.read_text("utf-8")).body
        for statement, following in pairwise(body):
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def has_docstring(name: str, value: object) -> bool:
    if inspect.isclass(value):
        text = vars(value).get("__doc__") or ""
        return bool(text) and not text.startswith(f"{value.__name__}(")  # what a dataclass writes for itself
    if inspect.isroutine(value):
        return bool(value.__doc__)
    return name in described_values()


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted(package: str) -> None:
    names = listed(load(package))
    assert names == sorted(set(names), key=order)


@pytest.mark.parametrize("package", PACKAGES)
def test_all_equals_the_namespace(package: str) -> None:
    module = load(package)
    names = {name for name in listed(module) if not name.startswith("_")}
    modules = {name for name in names if isinstance(getattr(module, name), ModuleType)}
    assert names - modules == public_names(module)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_member_has_a_docstring(package: str) -> None:
    module = load(package)
    assert module.__doc__
    assert [name for name in listed(module) if not _described(name, getattr(module, name))] == []


def _described(name: str, value: object) -> bool:
    if name.startswith("__") or isinstance(value, ModuleType):
        return True
    return has_docstring(name, value)


def test_every_operator_states_its_guarantee_and_shows_an_example() -> None:
    operators = load("warren.operators")
    silent = []
    for name in listed(operators):
        value = getattr(operators, name)
        if getattr(value, "__module__", None) == f"warren.operators.{name}":
            text = (inspect.getdoc(value) or "").lower()
            silent += [f"{name}: no {part}" for part in ("guarantee", ">>>") if part not in text]
    assert silent == []


def test_has_docstring_tells_a_described_value_from_a_bare_one() -> None:
    class Bare:
        pass

    class Described:
        """Says what it is."""

    assert has_docstring("Described", Described)
    assert not has_docstring("Bare", Bare)
    assert has_docstring("Duration", load("warren.core.clock").Duration)
    assert not has_docstring("nothing_of_this_name", 1)
