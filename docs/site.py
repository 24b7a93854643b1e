"""What the site needs besides its pages: the map filled in, and docstrings and links that read well there."""

from __future__ import annotations

import fnmatch
import importlib
import posixpath
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import griffe

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["Docstrings", "fenced", "on_files", "on_page_markdown"]

_LINK = re.compile(r"\[([^\]]*)\]\(([^)#:]+)(?:#[^)]*)?\)")
_HIDDEN = "()"
_ALL = re.compile(r"^::: ([\w.]+)\.\*$", re.MULTILINE)
_DOCTEST = re.compile(r"^( *)>>> .*(?:\n.*\S.*)*", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the pages in that a pattern of the map stands for."""
    pages = [file.src_uri for file in files.documentation_pages()]
    named = set(_named(config.nav))
    config.nav = _filled(config.nav, [page for page in pages if page not in named])
    return files


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [each for part in (nav.values() if isinstance(nav, dict) else nav) for each in _named(part)]


def _filled(nav: Any, left: list[str]) -> Any:
    if isinstance(nav, dict):
        return {title: _filled(part, left) for title, part in nav.items()}
    if isinstance(nav, str):
        return nav
    filled = []
    for each in nav:
        if isinstance(each, str) and "*" in each:
            filled += [page for page in left if page.count("/") == each.count("/") and fnmatch.fnmatch(page, each)]
        else:
            filled.append(_filled(each, left))
    return filled


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Name what ``::: module.*`` stands for; links to files that are not part of the site are words there."""
    folder = posixpath.dirname(page.file.src_uri)

    def linked(match: re.Match[str]) -> str:
        return match[1] if posixpath.normpath(posixpath.join(folder, match[2])).startswith("..") else match[0]

    return _ALL.sub(_members, _LINK.sub(linked, markdown))


def _members(match: re.Match[str]) -> str:
    """What a module offers, each at home."""
    module = importlib.import_module(match[1])
    homes = {name: getattr(getattr(module, name), "__module__", None) or "" for name in module.__all__}
    return "\n\n".join(f"::: {_told(home, name)}" for name, home in homes.items() if home.startswith("warren."))


def _told(home: str, name: str) -> str:
    # A package may offer a function by the name of one of its own modules.
    hidden = hasattr(importlib.import_module(home), "__path__") and find_spec(f"{home}.{name}") is not None
    return f"{home}.{name}{_HIDDEN if hidden else ''}"


def fenced(text: str) -> str:
    r"""A docstring with its examples in fences, as Markdown would take them for quotations.

    >>> print(fenced("It is one.\n\n>>> 1\n1"))
    It is one.
    <BLANKLINE>
    ```pycon
    >>> 1
    1
    ```
    """
    return _DOCTEST.sub(lambda match: f"{match[1]}```pycon\n{match[0]}\n{match[1]}```", text)


class Docstrings(griffe.Extension):
    """Fences the examples of each docstring that is read, and keeps functions that modules of their name would hide."""

    def __init__(self) -> None:
        self.functions: dict[str, griffe.Function] = {}

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Remember a function; the last of its name is the one that runs."""
        self.functions[func.path] = func

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Put those that are hidden beside what hides them."""
        for func in self.functions.values():
            if func.parent is not None and func.parent.members.get(func.name) is not func:
                func.parent.members[func.name + _HIDDEN] = func

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
