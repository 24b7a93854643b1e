"""Data frames as the body of a message: Arrow's stream format, read by every Arrow library."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from warren.core.errors import EncodeError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ARROW", "ARROW_LZ4", "ARROW_ZSTD", "ArrowCodec", "frame_of", "is_frame"]

ARROW = "application/vnd.apache.arrow.stream"
ARROW_ZSTD = f"{ARROW}; compression=zstd"
"""How to ask for buffers packed with Zstandard. The stream says so itself, so the message is sent as plain `ARROW`."""
ARROW_LZ4 = f"{ARROW}; compression=lz4"
"""The same with LZ4, which is quicker and packs less."""

_COMPRESSIONS = {"": None, "compression=zstd": "zstd", "compression=lz4": "lz4"}


class ArrowCodec:
    """Reads a Polars ``DataFrame`` or a pyarrow ``Table``; writes these and a ``RecordBatch``.

    Every buffer is checked when it is read: a corrupt body is an error, where Arrow would read past the end of its memory.
    """

    content_types = (ARROW,)

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        import polars as pl
        import pyarrow as pa

        def table(body: bytes) -> Any:
            with pa.ipc.open_stream(body) as reader:
                read = reader.read_all()
            read.validate(full=True)
            return read

        if type is pa.Table:
            return table
        if type is pl.DataFrame or type is Any:
            return lambda body: _from_arrow(table(body))
        raise TypeError("Arrow streams are read as polars.DataFrame or pyarrow.Table")

    def encoder(self, parameters: str = "") -> Callable[[Any], bytes]:
        """Writes values; ``parameters`` is what stands behind the semicolon of a content type."""
        import polars as pl
        import pyarrow as pa

        wanted = "".join(parameters.split()).lower()
        if wanted not in _COMPRESSIONS:
            raise EncodeError(
                f"no codec writes the content type '{ARROW};{parameters}': Arrow is packed with compression=zstd, with "
                f"compression=lz4, or not at all"
            )
        options = pa.ipc.IpcWriteOptions(compression=_COMPRESSIONS[wanted])

        def encode_frame(value: Any) -> bytes:
            if isinstance(value, pl.DataFrame):
                # Not every Arrow reader knows the newest layouts that Polars uses inside.
                value = value.to_arrow(compat_level=pl.CompatLevel.oldest())
            elif not isinstance(value, pa.Table | pa.RecordBatch):
                raise TypeError("only a polars.DataFrame, pyarrow.Table or pyarrow.RecordBatch is sent as Arrow")
            # Unlike Arrow's own buffer, this one becomes bytes without another copy.
            buffer = io.BytesIO()
            with pa.ipc.new_stream(buffer, value.schema, options=options) as writer:
                writer.write(value)
            return buffer.getvalue()

        return encode_frame


def is_frame(type_: Any) -> bool:
    """Whether values of a type are sent as Arrow."""
    # A value can be a frame only where its library has been imported, so none is imported to find out.
    polars, pyarrow = sys.modules.get("polars"), sys.modules.get("pyarrow")
    return (polars is not None and type_ is polars.DataFrame) or (
        pyarrow is not None and (type_ is pyarrow.Table or type_ is pyarrow.RecordBatch)
    )


def frame_of(value: Any) -> pl.DataFrame | None:
    """A data frame of whichever library as a Polars one; ``None`` for anything else.

    >>> import pyarrow
    >>> frame_of(pyarrow.table({"a": [1]})).rows(), frame_of([1])
    ([(1,)], None)
    """
    if not is_frame(type(value)):
        return None
    import polars as pl

    return value if isinstance(value, pl.DataFrame) else _from_arrow(value)


def _from_arrow(table: Any) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.from_arrow(table)  # type: ignore[return-value]  # a table becomes a frame
    except pl.exceptions.PanicException as error:
        # It is no Exception, and would end the pipeline.
        raise ValueError(f"Polars cannot take over this Arrow data: {error}") from None
