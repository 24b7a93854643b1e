from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
import os
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from warren.connectors import files
from warren.connectors.files import paths
from warren.core.atomic import PREFIX
from warren.core.codecs import decode_error, decoder
from warren.core.errors import EncodeError, PartialWriteError, StorageError
from warren.core.message import Metadata, Outgoing


class Order(msgspec.Struct):
    id: str
    amount: float | None = None
    at: dt.datetime | None = None


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def write_all(sink: Any, *writes: list[Any]) -> None:
    connection = await sink.open()
    try:
        for values in writes:
            await connection.write(Outgoing(values))
    finally:
        await connection.close()


async def read_all(source: files.Files[Any], limit: int = 1000) -> tuple[list[Any], list[str], list[str]]:
    """The decoded values, their ids, and the sentences of what could not be decoded."""
    connection = await source.open()
    values, ids, errors = [], [], []
    try:
        while (batch := await connection.receive(limit)) is not None:
            assert 0 < len(batch) <= limit
            decode = decoder(source.type, str(batch.content_type)) if source.type else lambda body: body
            for i, body in enumerate(batch.bodies):
                try:
                    values.append(decode(body))
                    ids.append(batch.metadata(i).id)
                except Exception as error:
                    errors.append(str(decode_error(error, body, batch.metadata(i).id)))
            await connection.acknowledge(batch.handles)
    finally:
        await connection.close()
    return values, ids, errors


def write(sink: Any, *writes: list[Any]) -> None:
    run(write_all(sink, *writes))


def read(source: files.Files[Any], limit: int = 1000) -> tuple[list[Any], list[str], list[str]]:
    return run(read_all(source, limit))  # type: ignore[no-any-return]


MAKE: dict[str, Callable[..., files.Files[Any]]] = {"jsonl": files.jsonl, "csv": files.csv, "parquet": files.parquet}
NAMES = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.csv", "a.csv.gz", "a.csv.zst", "a.parquet.d"]
LINES = NAMES[:6]


def make(path: Path, type: Any = None) -> files.Files[Any]:
    return MAKE[path.name.split(".")[1]](path, type)


# Round trips


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_back_what_was_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    orders = [Order(f'o,"{i}"\n\'', i / 4, dt.datetime(2026, 1, 1, i % 24, tzinfo=dt.UTC)) for i in range(50)]
    orders[7].amount = None
    write(make(path), orders[:20], orders[20:21])
    write(make(path), orders[21:])
    values, ids, errors = read(make(path, Order), limit=7)
    assert (values, errors) == (orders, [])
    assert len(set(ids)) == 50
    if "jsonl" in name:
        assert ids[0] == f"{name}:1"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_type_is_a_failure_of_that_row_only(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(make(path), [{"id": "a", "amount": "1.5"}, {"id": "b", "amount": "many"}, {"id": "c", "amount": "2"}])
    values, ids, errors = read(make(path, Order))
    assert [each.split("_")[0] for each in ids] == ids
    if "jsonl" in name:
        assert values == []
        assert len(errors) == 3
    else:
        assert [order.amount for order in values] == [1.5, 2.0]
        assert len(errors) == 1
        assert "$.amount" in errors[0]
        assert "many" in errors[0]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(json_values, max_size=4), max_size=4), st.sampled_from(["", ".gz", ".zst"]))
def test_any_json_comes_back_from_lines(tmp_path: Path, writes: list[list[Any]], suffix: str) -> None:
    path = tmp_path / f"any.jsonl{suffix}"
    path.unlink(missing_ok=True)
    for values in writes:
        write(files.jsonl(path), values)
    if path.exists():
        assert read(files.jsonl(path, Any))[0] == [value for values in writes for value in values]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.fixed_dictionaries({"a": cells, "b": cells}), min_size=1, max_size=6))
def test_any_text_comes_back_from_csv(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    path = tmp_path / "any.csv"
    path.unlink(missing_ok=True)
    write(files.csv(path), rows[:1], rows[1:])
    assert read(files.csv(path))[0] == rows


# Reading


def test_lines_are_read_as_they_stand_without_a_type(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":1}\r\n\n  \nnot json\n[2]')
    values, ids, _ = read(files.jsonl(path))
    assert values == [b'{"a":1}\r', b"  ", b"not json", b"[2]"]
    assert ids == ["a.jsonl:1", "a.jsonl:3", "a.jsonl:4", "a.jsonl:5"]
    values, ids, errors = read(files.jsonl(path, Any))
    assert values == [{"a": 1}, [2]]
    assert [each.partition(" a message")[0] for each in errors] == ["a.jsonl:3:", "a.jsonl:4:"]


def test_lines_longer_than_a_block_and_lines_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "BLOCK", 7)
    path = tmp_path / "a.jsonl"
    bodies = [json.dumps("x" * length).encode() for length in (0, 3, 4, 5, 30, 1)]
    path.write_bytes(b"\n".join(bodies))
    assert read(files.jsonl(path), limit=2)[0] == bodies
    table = tmp_path / "a.csv"
    table.write_bytes(b'a,b\r\n1,"x\r\ny"\r\n2,"long ""quoted"" text"\r\n')
    assert read(files.csv(table))[0] == [{"a": "1", "b": "x\r\ny"}, {"a": "2", "b": 'long "quoted" text'}]


def test_damaged_rows_of_csv_are_failures_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfid,amount\na,1\nb\nc,2,3\n\n\xff,4\ne," + b"5" * 200_000 + b"\nf,\n")
    values, ids, errors = read(files.csv(path, Order))
    assert values == [Order("a", 1.0), Order("f", None)]
    assert ids == ["a.csv:1", "a.csv:7"]
    assert len(errors) == 4
    for error, reason in zip(errors, ["1 cells and the header 2", "3 cells", "not UTF-8", "field larger"], strict=True):
        assert reason in error


def test_an_empty_cell_is_none_only_where_it_cannot_be_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,amount\n,\n")
    assert read(files.csv(path, Order))[0] == [Order("", None)]
    assert read(files.csv(path))[0] == [{"id": "", "amount": ""}]


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,a\n1,2\n")
    with pytest.raises(StorageError, match="names a column twice"):
        read(files.csv(path))
    path.write_text("")
    assert read(files.csv(path))[0] == []


def test_folders_and_patterns_are_read_in_order_with_distinct_ids(tmp_path: Path) -> None:
    for name in ("b/x.jsonl", "a/x.jsonl", "a/y.jsonl.gz", "a/.hidden.jsonl", "a/z.txt", f"a/{PREFIX}1-x.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if not name.endswith(".gz"):
            (tmp_path / name).write_text(f'"{name}"\n')
    with gzip.open(tmp_path / "a/y.jsonl.gz", "wb") as file:
        file.write(b'"a/y.jsonl.gz"\n')
    assert read(files.jsonl(tmp_path / "a", str))[0] == ["a/x.jsonl", "a/y.jsonl.gz"]
    values, ids, _ = read(files.jsonl(tmp_path / "*" / "x.jsonl", str))
    assert values == ["a/x.jsonl", "b/x.jsonl"]
    assert ids == ["a/x.jsonl:1", "b/x.jsonl:1"]


def test_parquet_gives_rows_or_frames(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["a", "b"], "amount": [1.0, None]})
    frame.write_parquet(tmp_path / "a.parquet")
    assert read(files.parquet(tmp_path / "a.parquet"))[0] == frame.to_dicts()
    assert read(files.parquet(tmp_path, Order))[0] == [Order("a", 1.0), Order("b", None)]
    (whole,) = read(files.parquet(tmp_path, pl.DataFrame))[0]
    assert whole.equals(frame)
    (table,), ids, _ = read(files.parquet(tmp_path, pa.Table))
    assert table.to_pylist() == frame.to_dicts()
    assert ids == ["a.parquet:1"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "*.jsonl"])
def test_what_is_not_there_is_said(tmp_path: Path, name: str) -> None:
    source = MAKE[name.split(".")[1]](tmp_path / name)
    with pytest.raises(StorageError, match=r"cannot be read: .*check the path"):
        read(source)


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no file matches; check the path \(files end in .parquet\)"):
        read(files.parquet(tmp_path))


def test_a_file_that_is_no_parquet_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"junk" * 10)
    with pytest.raises(StorageError, match=r"a.parquet cannot be read: Parquet magic bytes.*; restore"):
        read(files.parquet(tmp_path))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "middle", "junk"])
def test_damaged_compression_is_an_error_and_never_a_quiet_end(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    write(files.jsonl(path), *([{"i": i, "x": str(hash(i))}] * 50 for i in range(20)))
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-5:]
    elif damage == "middle":
        data[len(data) // 2 : len(data) // 2 + 200] = b"\x7f" * 200
    else:
        data += b"some junk at the end"
    path.write_bytes(data)

    async def drain(connection: Any) -> None:
        while await connection.receive(1000) is not None:
            pass

    async def twice() -> None:
        connection = await files.jsonl(path).open()
        try:
            for _ in range(2):
                with pytest.raises(StorageError, match="restore the file"):
                    await drain(connection)
        finally:
            await connection.close()

    run(twice())


def test_released_messages_come_again_and_a_cancelled_receive_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("1\n2\n3\n")

    async def check() -> None:
        connection = await files.jsonl(path).open()
        receiving = asyncio.ensure_future(connection.receive(2))
        await asyncio.sleep(0)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        batch = await connection.receive(2)
        assert batch is not None
        assert batch.bodies == [b"1", b"2"]
        await connection.release([*batch.handles, "unknown"], attempts=3)
        again = await connection.receive(1)
        assert again is not None
        assert (again.bodies, again.attempts, again.deliveries, again.ids) == ([b"1"], [3], [2], ["a.jsonl:1"])
        await connection.acknowledge(again.handles)
        await connection.acknowledge(again.handles)
        rest = [await connection.receive(1) for _ in range(3)]
        assert [each.bodies if each else None for each in rest] == [[b"2"], [b"3"], None]
        third = rest[1]
        assert third is not None
        await connection.release(third.handles, delay=0.01)
        late = await connection.receive(5)
        assert late is not None
        assert late.bodies == [b"3"]
        await connection.close()
        await connection.close()
        assert await connection.receive(1) is None

    run(check())


def test_memory_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    write(files.jsonl(path), *(["x" * 1000] * 10_000 for _ in range(8)))
    code = f"""
        import asyncio, resource
        from warren.connectors import files
        async def main():
            connection = await files.jsonl({str(path)!r}).open()
            count = 0
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            while (batch := await connection.receive(1000)) is not None:
                count += len(batch)
                await connection.acknowledge(batch.handles)
            await connection.close()
            print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        asyncio.run(main())
    """
    count, grown = map(int, python(code).stdout.split())
    assert count == 80_000
    assert grown < 120_000


# Writing


def test_dead_letters_keep_body_and_reason_and_are_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text("1\n")

    async def bury(source: files.Files[Any]) -> None:
        connection: Any = await source.dead_letters("orders.dead").open()
        known = Metadata(id="a.jsonl:1", headers={"warren-reason": "too small"})
        await connection.write(Outgoing([b'{"broken', b"\xff"], lambda i: known))
        await connection.close()

    run(bury(files.jsonl(tmp_path / "in" / "a.jsonl")))
    for source in (files.jsonl(tmp_path / "in"), files.jsonl(tmp_path / "in" / "*.jsonl")):
        run(bury(source))
    beside = read(files.jsonl(tmp_path / "in" / "orders.dead.jsonl", dict))[0]
    assert beside[0]["body"] == '{"broken'
    assert beside[0]["headers"] == {"warren-reason": "too small"}
    assert beside[1]["body_base64"] == "/w=="
    assert len(read(files.jsonl(tmp_path / "in" / "dead-letters" / "orders.dead.jsonl"))[0]) == 4
    (tmp_path / "in" / "orders.dead.jsonl").unlink()
    assert read(files.jsonl(tmp_path / "in"))[0] == [b"1"]
    assert read(files.jsonl(tmp_path / "**" / "*.jsonl"))[0] == [b"1"]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("a.jsonl", [object(), b"{broken", 1j]),
        ("a.csv", [object(), {"other": 1}, {1: 2}, 5, {"id": object()}, {"id": "\ud800"}]),
        ("a.parquet.d", [object(), {"amount": "text"}, {}, [{"id": "x"}, 5]]),
    ],
)
def test_what_cannot_be_written_is_refused_alone(tmp_path: Path, name: str, bad: list[Any]) -> None:
    path = tmp_path / name
    good = {"id": "a", "amount": 1.0}
    write(make(path), [good])
    with pytest.raises(PartialWriteError) as caught:
        write(make(path), [good, *bad, good])
    assert set(caught.value.errors) == set(range(1, len(bad) + 1))
    assert all(isinstance(error, EncodeError) and "map" in str(error).lower() for error in caught.value.errors.values())
    assert read(make(path, Order))[0] == [Order("a", 1.0)] * 3
    with pytest.raises(PartialWriteError):
        write(make(path), bad)
    assert len(read(make(path, Order))[0]) == 3


def test_bytes_are_lines_as_they_are_and_line_breaks_in_them_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(files.jsonl(path), [b'{ "a":1 }', b'{\n "a": "x"\n}'])
    assert path.read_bytes() == b'{ "a":1 }\n{"a":"x"}\n'


def test_lists_are_rows_of_tables(tmp_path: Path) -> None:
    rows = [{"id": "a"}, {"id": "b", "amount": 2.0}]
    for name in ("a.csv", "a.parquet.d"):
        write(make(tmp_path / name), [rows, []], [[]])
        assert read(make(tmp_path / name, Order))[0] == [Order("a"), Order("b", 2.0)]
    assert len(list((tmp_path / "a.parquet.d").iterdir())) == 1


def test_parquet_keeps_columns_that_the_first_row_has_not(tmp_path: Path) -> None:
    write(files.parquet(tmp_path), [{"a": 1}, {"a": 2.5, "b": "x"}])
    assert read(files.parquet(tmp_path))[0] == [{"a": 1.0, "b": None}, {"a": 2.5, "b": "x"}]


def test_parquet_writes_frames_as_they_are_and_to_a_schema(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    write(files.parquet(tmp_path / "x"), [frame, pa.table({"a": [3], "b": ["z"]})], [frame, {"a": 5}])
    assert [row["a"] for row in read(files.parquet(tmp_path / "x"))[0]] == [1, 2, 3, 1, 2, 5]
    schema = pa.schema([("a", pa.float64()), ("b", pa.string())])
    sink = files.parquet(tmp_path / "y", schema=schema)
    write(sink, [{"a": 1}, {"b": None}], [frame])
    assert all(pq.read_schema(each).equals(schema) for each in (tmp_path / "y").glob("*.parquet"))
    with pytest.raises(PartialWriteError, match="the schema has only a, b"):
        write(sink, [{"c": 1}])


def test_a_parquet_file_cannot_be_appended_to(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="name a folder"):
        write(files.parquet(tmp_path / "a.parquet"), [{"a": 1}])


@pytest.mark.parametrize("name", LINES)
def test_one_writer_at_a_time(tmp_path: Path, name: str) -> None:
    async def two() -> None:
        first = await make(tmp_path / name).open()
        await first.write(Outgoing([{"a": 1}]))
        with pytest.raises(StorageError, match="give each writer its own file"):
            await write_all(make(tmp_path / name), [{"a": 2}])
        await first.close()
        await write_all(make(tmp_path / name), [{"a": 3}])

    run(two())
    assert len(read(make(tmp_path / name))[0]) == 2


@pytest.mark.parametrize("name", LINES)
def test_a_write_cut_off_anywhere_leaves_the_writes_before_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(make(path), [{"id": 'a"\n,', "amount": 1}])
    whole = path.stat().st_size
    write(make(path), [{"id": 'b"\nc', "amount": 2}, {"id": "d", "amount": 3}])
    data = path.read_bytes()
    kept_rows = set()
    for cut in range(whole, len(data)):
        path.write_bytes(data[:cut])
        path.with_name(f"{name}.cut").unlink(missing_ok=True)
        write(make(path), [{"id": "last", "amount": 4}])
        rows = [str(value["id"]) for value in read(make(path, dict))[0]]
        assert rows[0] == 'a"\n,'
        assert rows[-1] == "last"
        # Only the last line break may be missing from a line that is whole, and it can be seen to be whole.
        assert rows[1:-1] in ([], ['b"\nc'], ['b"\nc', "d"] if cut == len(data) - 1 and name == "a.jsonl" else [])
        kept_rows.add(len(rows))
        left = path.with_name(f"{name}.cut")
        if left.exists():
            assert data[:cut].endswith(left.read_bytes())
    assert kept_rows == {"a.jsonl": {2, 3, 4}, "a.csv": {2, 3}}.get(name, {2})


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_file_of_others_that_ends_without_a_line_break_is_kept(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(paths.compress(b'{"a":1}\n{"a":2}', paths.compression(path) or "") if suffix else b'{"a":1}\n{"a":2}')
    write(files.jsonl(path), [{"a": 3}], [{"a": 4}])
    assert [row["a"] for row in read(files.jsonl(path, dict))[0]] == [1, 2, 3, 4]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_nothing_is_appended_to_what_is_not_compressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(b'{"a":1}\n{"a":2}\n')
    with pytest.raises(StorageError, match=r"cannot be appended to: .*write to another"):
        write(files.jsonl(path), [1])
    assert path.read_bytes() == b'{"a":1}\n{"a":2}\n'


def test_frames_of_zstd_written_by_others_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    with pa.CompressedOutputStream(str(path), "zstd") as out:  # blocks, and no size in the header
        out.write(b"".join(b'{"a":%d}\n' % i for i in range(200_000)))
    size = path.stat().st_size
    write(files.jsonl(path), [{"a": -1}])
    assert path.stat().st_size > size
    assert not path.with_name("a.jsonl.zst.cut").exists()
    assert len(read(files.jsonl(path))[0]) == 200_001


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for sink in (files.jsonl(tmp_path / "file" / "a.jsonl"), files.parquet(tmp_path / "file" / "a")):
        with pytest.raises(StorageError, match=r"cannot be written: .*; (choose|check|part)"):
            write(sink, [{"a": 1}])
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(StorageError, match="name a file in it"):
        write(files.jsonl(tmp_path / "a.jsonl"), [1])


# Disks that fill up and processes that are killed


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("name", LINES)
def test_a_write_returns_after_everything_was_synced(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced, real = tmp_path / name, list[int](), os.fsync

    def fsync(file: int) -> None:
        real(file)
        synced.append(os.fstat(file).st_size if stat.S_ISREG(os.fstat(file).st_mode) else -1)

    async def check() -> None:
        connection = await make(path).open()
        for i in range(3):
            await connection.write(Outgoing([{"a": i}]))
            assert synced[-1] == path.stat().st_size
        await connection.close()

    monkeypatch.setattr(os, "fsync", fsync)
    run(check())
    assert synced[0] == -1, "the folder of a new file must be synced"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv.gz", "a.jsonl.zst", "a.parquet.d"])
def test_a_full_disk_leaves_nothing_half_visible(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    code = f"""
        import asyncio, base64, os, random, resource
        from pathlib import Path
        from warren.connectors import files
        from warren.core.errors import StorageError
        from warren.core.message import Outgoing
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        sizes = lambda: sorted((p.name, p.stat().st_size) for p in Path({str(tmp_path)!r}).rglob("*") if p.is_file())
        async def main():
            text = lambda n: base64.b64encode(random.Random(n).randbytes(n)).decode()
            sink = await files.{name.split(".")[1]}({str(path)!r}).open()
            await sink.write(Outgoing([{{"id": text(1000)}}]))
            before = sizes()
            for _ in range(2):
                try:
                    await sink.write(Outgoing([{{"id": text(500_000)}}]))
                except StorageError as error:
                    print(error)
                assert sizes() == before, sizes()
            await sink.write(Outgoing([{{"id": "small"}}]))
            await sink.close()
        asyncio.run(main())
    """
    said = python(code).stdout.splitlines()
    assert len(said) == 2
    assert "cannot be written: File too large; the file has reached the largest size" in said[0]
    values, _, errors = read(make(path, Order))
    assert ([len(order.id) for order in values], errors) == ([1336, 5], [])


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv.gz", "a.parquet.d"])
def test_what_a_killed_process_had_confirmed_is_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    code = f"""
        import asyncio
        from warren.connectors import files
        from warren.core.message import Outgoing
        async def main():
            sink = await files.{name.split(".")[1]}({str(path)!r}).open()
            number = 0
            while True:
                await sink.write(Outgoing([{{"id": str(number + i), "amount": 0.5}} for i in range(2000)]))
                number += 2000
                print(number, flush=True)
        asyncio.run(main())
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    confirmed = 0
    with process:
        for _ in range(4):
            confirmed = int(process.stdout.readline())
        until = time.monotonic() + confirmed % 7 / 1000
        while time.monotonic() < until:
            pass
        process.kill()
        confirmed = max([confirmed, *map(int, process.stdout.read().split())])
    if path.is_dir():
        (path / f"{PREFIX}{process.pid}-0-part.parquet").write_bytes(b"half")
    write(make(path), [{"id": "last", "amount": 1.0}])
    values, _, errors = read(make(path, Order))
    assert errors == []
    assert [order.id for order in values[:confirmed]] == [str(i) for i in range(confirmed)]
    assert values[-1].id == "last"
    assert not list(tmp_path.glob(f"**/{PREFIX}*"))


# In a pipeline


def test_the_runtime_reads_decodes_and_writes(tmp_path: Path) -> None:
    from warren.operators import map
    from warren.pipelines.pipeline import Pipeline

    (tmp_path / "in.csv").write_text("id,amount\na,1\nb,wrong\nc,3\n")

    def double(order: Order) -> Order:
        return Order(order.id, (order.amount or 0) * 2)

    source = files.csv(tmp_path / "in.csv", Order)
    Pipeline("double", source | map(double) | files.jsonl(tmp_path / "out.jsonl.gz")).run()
    assert read(files.jsonl(tmp_path / "out.jsonl.gz", Order))[0] == [Order("a", 2.0), Order("c", 6.0)]
    (letter,) = read(files.jsonl(tmp_path / "double.dead.jsonl", dict))[0]
    assert letter["id"] == "in.csv:2"
    assert "$.amount" in letter["headers"]["warren-reason"]
