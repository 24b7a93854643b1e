"""CSV with a header line, read and written as rows."""

from __future__ import annotations

import csv
import datetime as dt
import io
import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from warren.connectors.files.append import Appender, read_at
from warren.connectors.files.connection import Files, Slice
from warren.connectors.files.paths import BLOCK, blocks, compression, find
from warren.connectors.files.rows import ROW, blank_fields, rows_of
from warren.core.chunk import apply_each
from warren.core.codecs import JSON, encoder
from warren.core.errors import EncodeError, StorageError, shorten
from warren.core.message import Outgoing

__all__ = ["Csv"]

T = TypeVar("T")

_ROWS = 4096
_LONGEST = 256 << 20
_json = encoder(JSON)


class Csv(Files[T]):
    """Made by `csv`."""

    content_type = ROW

    def __init__(self, path: str, type: Any = None) -> None:
        super().__init__(path, dict if type is None else type)

    def read(self) -> Generator[Slice]:
        """The rows, as dicts of texts; a damaged row is a sentence that says why."""
        blank = blank_fields(self.type)
        for path, file in find(self.path, (".csv",)):
            lines = _Lines(path)
            reader = csv.reader(lines)
            header = next(reader, None)
            if header is None:
                continue
            if lines.broken or len(set(header)) < len(header):
                raise StorageError(
                    f"{path} cannot be read: its first line {shorten(header)} names a column twice or is not UTF-8; "
                    "the first line must name each column once"
                )
            blanks = [name for name in header if name in blank]
            for number in itertools.count(1, _ROWS):
                rows = [_row(each, header, blanks, lines) for each in itertools.islice(_safely(reader), _ROWS)]
                full = [(i, row) for i, row in enumerate(rows, number) if row is not None]
                if full:
                    yield Slice([row for _, row in full], file, [i for i, _ in full])
                if len(rows) < _ROWS:
                    break

    def writer(self) -> _RowWriter:
        """Open for appending."""
        return _RowWriter(Path(self.path))


class _Lines:
    """The lines of a file as text; ``broken`` says whether one since it was last asked was not UTF-8."""

    def __init__(self, path: Path) -> None:
        self._lines = self._split(path)
        self.broken = False

    def _split(self, path: Path) -> Iterator[bytes]:
        rest = b""
        for block in blocks(path):
            lines = (rest + block).splitlines(keepends=True)
            # The last one may go on, and a carriage return at the end may have its line feed in the next block.
            rest = lines.pop()
            if len(rest) > _LONGEST:
                raise StorageError(f"{path} cannot be read: a line is longer than {_LONGEST} bytes; check that it is CSV")
            yield from lines
        if rest:
            yield rest

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        try:
            return line.decode("utf-8-sig" if line[:3] == b"\xef\xbb\xbf" else "utf-8")
        except UnicodeDecodeError:
            self.broken = True
            return line.decode(errors="backslashreplace")


def _safely(reader: Iterator[list[str]]) -> Iterator[list[str] | csv.Error]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _row(cells: list[str] | csv.Error, header: list[str], blanks: list[str], lines: _Lines) -> Any:
    if isinstance(cells, csv.Error):
        return f"the row is no CSV: {cells}"
    if not cells:
        return None
    if lines.broken:
        lines.broken = False
        return f"the row is not UTF-8: {shorten(cells)}"
    if len(cells) != len(header):
        return f"the row has {len(cells)} cells and the header {len(header)}: {shorten(cells)}"
    row: dict[str, str | None] = dict(zip(header, cells, strict=True))
    for name in blanks:
        if row[name] == "":
            row[name] = None
    return row


class _RowWriter:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._appender = Appender(path, _complete)
        self._header: list[str] = []
        if self._appender.size:
            self._header = next(csv.reader(_Lines(path)), [])
        # Somebody else's compressed file may end without a line break, and to look would mean to decompress it.
        self._open_line = compression(path) is not None and self._appender.size > 0

    def write(self, messages: Outgoing) -> dict[int, Exception]:
        groups, errors = apply_each(rows_of, messages.values)
        positions = [i for i in range(len(messages)) if i not in errors]
        header = self._header or list(dict.fromkeys(name for rows in groups for row in rows for name in row))
        out = io.StringIO()
        if self._open_line:
            out.write("\n")
        writer = csv.writer(out)
        if not self._header:
            writer.writerow(header)
        known = set(header)
        for position, rows in zip(positions, groups, strict=True):
            strange = next((name for row in rows for name in row if name not in known), None)
            if strange is not None:
                errors[position] = EncodeError(
                    f"{self._path} has no column {strange!r}: its columns are {', '.join(header)}; map the value to them, "
                    "or write to another file"
                )
                continue
            try:
                writer.writerows(list(_cells(rows, header)))
            except EncodeError as error:
                errors[position] = error
        if len(errors) < len(messages) and header:
            self._appender.append(out.getvalue().encode())
            self._header = header
            self._open_line = False
        return errors

    def close(self) -> None:
        self._appender.close()


def _cells(rows: Sequence[Mapping[str, Any]], header: list[str]) -> Iterator[list[Any]]:
    for row in rows:
        yield [_cell(row.get(name)) for name in header]


def _cell(value: Any) -> Any:
    if value is None or type(value) in (int, float) or (type(value) is str and value.isascii()):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    try:
        text = _json(value)
    except (TypeError, ValueError) as error:
        raise EncodeError(f"{shorten(value)} cannot be a cell of a CSV file: {error}; map it to text first") from error
    # What JSON writes as one text (a decimal, a UUID) needs no second quotes.
    return msgspec.json.decode(text, type=str) if text[:1] == b'"' else text.decode()


def _complete(file: int) -> int:
    """Where the last complete row ends: at a line break that is in no quotes."""
    whole = at = quotes = 0
    while block := read_at(file, BLOCK, at):
        parts = block.split(b'"')
        position = at + len(block)
        for i in range(len(parts) - 1, -1, -1):
            position -= len(parts[i])
            if (quotes + i) % 2 == 0 and (found := parts[i].rfind(b"\n")) >= 0:
                whole = position + found + 1
                break
            position -= 1
        quotes += len(parts) - 1
        at += len(block)
    return whole
