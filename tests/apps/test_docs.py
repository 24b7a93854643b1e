from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import jsonschema
import msgspec
import polars as pl
import pydantic
import pytest
from click.testing import CliRunner

from tests.apps.asyncapi import parsed, schema
from tests.house.tree import ROOT
from tests.pipelines.graphs import Story
from warren import Pipeline, exponential
from warren.apps.cli import main
from warren.apps.demo.flights import flights
from warren.apps.docs.asyncapi import document
from warren.apps.docs.contents import contents
from warren.apps.docs.page import page
from warren.connectors import files, memory, rabbitmq, sqlite
from warren.core.graph import Flow
from warren.operators import (
    aggregate,
    batch,
    broadcast,
    circuit_breaker,
    columns,
    count,
    dead_letter,
    discard,
    encode,
    explode,
    filter,
    flat_map,
    frames,
    join,
    map,
    merge,
    retry,
    route,
    scan,
    split,
    timeout,
    validate,
)


class Line(msgspec.Struct):
    sku: str
    count: Annotated[int, msgspec.Meta(ge=1)]


class Order(msgspec.Struct):
    """What a <customer> | orders."""

    id: str
    region: Literal["eu", "us"]
    lines: list[Line] = []


@dataclasses.dataclass
class Bill:
    total: float


class Model(pydantic.BaseModel):
    name: str


class Row(TypedDict):
    n: int


async def bill(order: Order) -> Bill:
    return Bill(len(order.lines))


def lines(order: Order) -> list[Line]:
    return order.lines


def add(total: int, order: Order) -> int:
    return total + 1


BROKER = rabbitmq.Broker(["amqps://app:hunter2@one.example,two.example/shop", "amqps://app:hunter2@three.example/shop"])
SOURCE = rabbitmq.queue("orders", Order, broker=BROKER)


def pipeline(flow: Flow) -> Pipeline:
    return Pipeline("orders", flow)


def types(flow: Flow) -> list[Any]:
    return [end.type for end in contents(pipeline(flow)).ends if end.role == "writes"]


ROUTED = pipeline(
    SOURCE
    | filter(lambda order: bool(order.lines))
    | retry(exponential("200ms", attempts=5), on=ConnectionError)
    | route(
        lambda order: order.region,
        eu=batch(500, "1s") | rabbitmq.exchange("billing", broker=BROKER, routing_key="eu"),
        us=map(bill) | rabbitmq.exchange("spread", broker=BROKER, kind="x-consistent-hash"),
        default=dead_letter("unroutable"),
    )
)
OTHERS = {
    "routed": ROUTED,
    "stream": pipeline(rabbitmq.stream("log", Order, broker=BROKER) | rabbitmq.partition("parts", n=4, broker=BROKER)),
    "files": pipeline(files.jsonl("in/*.jsonl", Model) | sqlite.queue("shop.db", "billed")),
    "merged": pipeline(merge(memory.queue("a", Order), memory.queue("b", Model)) | memory.into([])),
    "joined": pipeline(join(memory.queue("a", Order), memory.queue("b", Row), on=str, within="1m") | discard()),
    "bytes": pipeline(memory.items([]) | memory.queue("a queue | with `signs` <b>")),
    "frames": pipeline(memory.queue("a", pl.DataFrame) | explode(Row) | memory.queue("b")),
}


def test_asyncapi_finds_nothing_wrong_with_pipelines_of_all_kinds(tmp_path: Path) -> None:
    made = {name: document(contents(each)) for name, each in OTHERS.items()}
    made["demo"] = document(contents(flights(sqlite.queue("f.db", "flights"), None, tmp_path)))  # type: ignore[arg-type]
    check(made)


def test_asyncapi_finds_nothing_wrong_with_random_pipelines() -> None:
    told = {str(seed): contents(Story(random.Random(seed)).pipeline()) for seed in range(60)}
    assert all(page(each) for each in told.values())
    check({seed: document(each) for seed, each in told.items()})


@pytest.mark.slow
def test_asyncapi_finds_nothing_wrong_with_the_pipelines_of_the_documents(tmp_path: Path) -> None:
    program = Path(__file__).with_name("document_pipelines.py")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run([sys.executable, str(program)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "documents.json").read_text())
    assert len(made) > 15
    check(made)


def check(documents: dict[str, dict[str, Any]]) -> None:
    found = parsed({name: json.dumps(each) for name, each in documents.items()})
    assert found == {name: [] for name in documents}
    validator = jsonschema.Draft7Validator(schema())
    for name, each in documents.items():
        assert not list(validator.iter_errors(each)), name


def test_a_checker_that_finds_nothing_would_be_noticed() -> None:
    made = document(contents(ROUTED))
    del made["info"]["version"]
    assert parsed({"routed": json.dumps(made)})["routed"]
    assert list(jsonschema.Draft7Validator(schema()).iter_errors(made))


def test_no_login_is_written_anywhere(tmp_path: Path) -> None:
    for text in (json.dumps(document(contents(ROUTED))), page(contents(ROUTED))):
        assert "hunter2" not in text
        assert "app@" not in text and "app:" not in text
    servers = document(contents(ROUTED))["servers"]
    assert [each["host"] for each in servers.values()] == ["one.example:5671", "two.example:5671", "three.example:5671"]
    assert {(each["protocol"], each["pathname"]) for each in servers.values()} == {("amqps", "/shop")}


def test_amqp_s_bindings_say_what_a_queue_and_an_exchange_are() -> None:
    made = document(contents(ROUTED))
    assert made["channels"]["orders"]["bindings"]["amqp"]["queue"]["name"] == "orders"
    assert made["channels"]["billing"]["address"] == "eu"
    assert made["channels"]["billing"]["bindings"]["amqp"]["exchange"]["type"] == "topic"
    assert made["channels"]["spread"]["address"] is None
    assert "type" not in made["channels"]["spread"]["bindings"]["amqp"]["exchange"]
    assert made["operations"]["read-orders"]["bindings"]["amqp"] == {"ack": True, "bindingVersion": "0.3.0"}
    assert made["operations"]["write-billing"]["bindings"]["amqp"]["deliveryMode"] == 2
    assert list(made["operations"]) == [
        "read-orders",
        "write-billing",
        "write-spread",
        "dead-letter-orders.dead",
        "dead-letter-unroutable",
    ]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (filter(bool), Order),
        (map(bill), Bill),
        (map(bill) | filter(bool) | batch(2), list[Bill]),
        (flat_map(lines), Line),
        (map(lambda order: order), Any),
        (map(lambda order: order) | validate(Row), Row),
        (validate(lambda order: True), Order),
        (scan(add, 0), int),
        (aggregate(n=count()), dict[str, Any]),
        (timeout(map(bill), "1s"), Bill),
        (circuit_breaker(map(bill)), Bill),
        (split(bool, map(bill), filter(bool)), Bill | Order),
        (split(bool, map(bill), map(lambda order: order)), Any),
        (broadcast(one=memory.queue("x"), two=filter(bool)), Order),
        (frames(2), pl.DataFrame),
        (frames(2) | columns(pl.col("id")), Any),
        (encode("application/json"), Any),
    ],
)
def test_the_type_of_what_is_written_is_told_by_hints(steps: Any, expected: Any) -> None:
    assert types(SOURCE | steps | memory.queue("out"))[-1] == expected


def test_types_of_one_name_are_told_apart() -> None:
    class Order(msgspec.Struct):  # another one
        number: int

    def other(order: Any) -> Any:
        return order

    other.__annotations__["return"] = Order
    named = contents(pipeline(SOURCE | map(other) | memory.queue("out"))).schemas.named
    assert set(named) == {"Order", "Line", "Order-2"}
    assert list(named["Order-2"]["properties"]) == ["number"]


def test_the_page_shows_names_as_they_are() -> None:
    text = page(contents(OTHERS["bytes"]))
    assert "| writes | `memory:a queue \\| with 'signs' <b>` | memory | any |" in text
    assert "What a \\<customer\\> \\| orders." in page(contents(ROUTED))
    assert "| `count` | integer, minimum 1 |  |" in page(contents(ROUTED))
    assert "| `region` | one of eu, us |  |" in page(contents(ROUTED))


def test_the_command_writes_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop_docs.py").write_text("from tests.apps.test_docs import ROUTED as orders\n")
    done = CliRunner().invoke(main, ["docs", "shop_docs:orders", "-o", "made/orders", "--version", "2.1.0"])
    assert done.exit_code == 0, done.output
    out = tmp_path / "made/orders"
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "README.md",
        "asyncapi.json",
        "graph.mmd",
        "schemas/Bill.json",
        "schemas/Order.json",
    ]
    assert json.loads((out / "asyncapi.json").read_text())["info"]["version"] == "2.1.0"
    assert (out / "graph.mmd").read_text() == ROUTED.explain().mermaid + "\n"
    jsonschema.validate(
        {"id": "1", "region": "eu", "lines": [{"sku": "a", "count": 2}]},
        json.loads((out / "schemas/Order.json").read_text()),
    )
    printed = CliRunner().invoke(main, ["docs", "shop_docs:orders", "--json"])
    assert json.loads(printed.stdout)["operations"].keys() == document(contents(ROUTED))["operations"].keys()


@pytest.mark.parametrize("arguments", [[], ["--json", "-o", "x"]])
def test_a_folder_or_json_is_asked_for(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["docs", "shop:orders", *arguments])
    assert done.exit_code == 2
    assert "Give either a folder with -o, or --json" in done.output
