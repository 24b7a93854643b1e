from __future__ import annotations

from warren.core.message import TENANT, TRACE, Batch, Metadata, Outgoing


def test_metadata_reads_tenant_and_trace_from_headers() -> None:
    metadata = Metadata(headers={TENANT: "acme", TRACE: "00-1-2-01"})
    assert (metadata.tenant, metadata.trace) == ("acme", "00-1-2-01")
    assert (Metadata().tenant, Metadata().trace, Metadata().attempt) == (None, None, 1)


def test_a_batch_with_no_columns_still_gives_metadata() -> None:
    batch = Batch(bodies=[b"a", b"b"], handles=[10, 11])
    assert len(batch) == 2
    assert batch.metadata(1) == Metadata(id="11")


def test_each_column_of_a_batch_reaches_the_metadata() -> None:
    batch = Batch(
        bodies=[b"a", b"b"],
        handles=[1, 2],
        content_type=["text/plain", "application/json"],
        ids=["x", "y"],
        keys=[None, "k"],
        headers=[None, {"h": "1"}],
        enqueued=[1.0, 2.0],
        attempts=[1, 4],
    )
    assert batch.metadata(0) == Metadata(id="x", timestamp=1.0, content_type="text/plain")
    assert batch.metadata(1) == Metadata("y", {"h": "1"}, 2.0, "k", 4, "application/json")


def test_outgoing_knows_whether_anything_is_known() -> None:
    plain = Outgoing([1, 2])
    assert (len(plain), plain.anonymous, plain.metadata(1)) == (2, True, Metadata())
    named = Outgoing([1], lambda i: Metadata(id=str(i)))
    assert (named.anonymous, named.metadata(0).id) == (False, "0")
