"""Finding a pipeline by the name someone typed: ``module:attribute`` or ``file.py:attribute``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from warren.core.errors import AddressError, GraphError, WarrenError, shorten
from warren.pipelines import Pipeline

__all__ = ["load_function", "load_object", "load_pipeline"]


def load_pipeline(reference: str) -> Pipeline:
    """The pipeline that ``module:attribute`` names; the current folder is searched too, and a file's path will do.

    Raises `AddressError` where the name leads nowhere or to something else, and `GraphError` where building the pipeline
    refused it.

    >>> load_pipeline("orders")
    Traceback (most recent call last):
        ...
    warren.core.errors.AddressError: 'orders' names no pipeline: write module:attribute, such as orders:pipeline
    """
    place, attribute, value = _load(reference, "pipeline")
    if not isinstance(value, Pipeline):
        what = "a function: call it in the module and name what it returns" if callable(value) else shorten(value)
        raise AddressError(f"{place}:{attribute} is not a Pipeline but {what}")
    return value


def load_function(reference: str) -> Callable[..., Any]:
    """The function that ``module:attribute`` names; the current folder is searched too, and a file's path will do.

    Raises `AddressError` where the name leads nowhere or to something else.

    >>> load_function("math:floor")(1.5)
    1
    """
    place, attribute, value = _load(reference, "function")
    if not callable(value):
        raise AddressError(f"{place}:{attribute} is not a function but {shorten(value)}")
    return value


def load_object(reference: str, kind: str) -> Any:
    """What ``module:attribute`` names, which is to be such a thing; looked for as a pipeline is.

    Raises `AddressError` where the name leads nowhere.

    >>> load_object("math:pi", "number") > 3
    True
    """
    return _load(reference, kind)[2]


def _load(reference: str, kind: str) -> tuple[str, str, object]:
    place, _, attribute = reference.rpartition(":")
    if not place or not attribute:
        raise AddressError(f"{reference!r} names no {kind}: write module:attribute, such as {reference.strip(':')}:{kind}")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    return place, attribute, _attribute(module, place, attribute, kind)


def _attribute(module: ModuleType, place: str, attribute: str, kind: str) -> object:
    value: object = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            known = [name for name, each in vars(module).items() if _is(kind, each)]
            hint = _did_you_mean(part, known or dir(value)) or (
                f"its {kind}s are {', '.join(known)}" if known else f"it holds no {kind}"
            )
            raise AddressError(f"{place!r} has no attribute {part!r}; {hint}")
        value = getattr(value, part)
    return value


def _is(kind: str, value: object) -> bool:
    return isinstance(value, Pipeline) if kind == "pipeline" else kind != "function" or callable(value)


def _load_module(name: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing != name and not name.startswith(f"{missing}."):
            raise _failed(name, error) from error
        parent = missing.rpartition(".")[0]
        hint = _did_you_mean(missing, _modules(parent)) or "it is looked for in the current folder and in what is installed"
        raise AddressError(f"there is no module {missing!r}; {hint}") from error
    except Exception as error:
        raise _failed(name, error) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        hint = _did_you_mean(path.name, [file.name for file in folder.glob("*.py")]) or "check the path"
        raise AddressError(f"there is no file {str(path)!r}; {hint}")
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Types are looked up by module name, so it must be known before it runs.
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _failed(str(path), error) from error
    return module


def _failed(name: str, error: Exception) -> WarrenError:
    if isinstance(error, GraphError):
        return error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    if isinstance(error, SyntaxError):
        place = f"{Path(error.filename or name).name}, line {error.lineno}"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return AddressError(f"{name!r} cannot be imported: {type(error).__name__}: {text} ({place})")


def _modules(parent: str) -> list[str]:
    """Names of modules beside the one that is missing; without a parent, those of the current folder."""
    if not parent:
        return [module.name for module in pkgutil.iter_modules([str(Path.cwd())])]
    return [
        f"{parent}.{module.name}"
        for module in pkgutil.iter_modules(getattr(importlib.import_module(parent), "__path__", []))
    ]


def _did_you_mean(typed: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(typed, list(names), n=1)
    return f"did you mean {close[0]!r}?" if close else ""
