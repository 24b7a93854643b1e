"""A report as files, by their suffix."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from warren.analytics.report.contents import Report
from warren.core.atomic import writing
from warren.core.errors import GraphError, PluginError, StorageError

__all__ = ["SUFFIXES", "render", "suffix_of", "write"]

SUFFIXES = {".html": "text/html", ".pdf": "application/pdf", ".json": "application/json"}
"""What a report can be, and the media type."""


def suffix_of(path: str | os.PathLike[str]) -> str:
    """What a file of this name will hold. Raises `GraphError` where it says nothing known.

    >>> suffix_of("report.HTML")
    '.html'
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise GraphError(f"{os.fspath(path)}: a report ends in {', '.join(SUFFIXES)}; name the file so")
    return suffix


def render(report: Report, suffix: str) -> bytes:
    """The bytes of such a file. Raises `PluginError` where a library for it is missing."""
    if suffix == ".json":
        return msgspec.json.format(msgspec.json.encode(report)) + b"\n"
    try:
        if suffix == ".html":
            from warren.analytics.report.html import html

            return html(report).encode()
        from warren.analytics.report.pdf import pdf

        return pdf(report)
    except ModuleNotFoundError as error:
        raise PluginError(f"a report as {suffix} needs {error.name}: pip install 'warren[report]'") from error


def write(report: Report, path: str | os.PathLike[str]) -> None:
    """Write a file that is there whole or not at all. Raises `GraphError`, `PluginError`, or `StorageError`."""
    data = render(report, suffix_of(path))
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise StorageError(f"the report cannot be written to {os.fspath(path)}: {error.strerror or error}") from error
