from __future__ import annotations

from pathlib import Path

import pytest

from warren.apps.load import load_pipeline
from warren.core.errors import AddressError, GraphError

SHOP = """
from warren import Pipeline
from warren.connectors import memory
from warren.operators import map
orders = Pipeline("orders", memory.items([]) | map(str) | memory.into([]))
number = 3
def build(): return orders
class nested: inner = orders
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "stall").mkdir()
    (tmp_path / "stall" / "__init__.py").touch()
    (tmp_path / "stall" / "flows.py").write_text(SHOP)
    return tmp_path


@pytest.mark.parametrize("name", ["shop:orders", "shop.py:orders", "stall.flows:orders", "shop:nested.inner"])
def test_a_pipeline_is_found(name: str) -> None:
    assert load_pipeline(name).name == "orders"


def test_a_file_is_found_by_its_whole_path(folder: Path) -> None:
    assert load_pipeline(f"{folder / 'stall' / 'flows.py'}:orders").name == "orders"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shop", "'shop' names no pipeline: write module:attribute, such as shop:pipeline"),
        ("shop:", "'shop:' names no pipeline"),
        ("shp:orders", "there is no module 'shp'; did you mean 'shop'?"),
        ("stall.flow:orders", "there is no module 'stall.flow'; did you mean 'stall.flows'?"),
        ("zzz.flow:orders", "there is no module 'zzz'; it is looked for in the current folder"),
        ("shop:order", "'shop' has no attribute 'order'; did you mean 'orders'?"),
        ("shop:zzz", "'shop' has no attribute 'zzz'; its pipelines are orders"),
        ("shop:number", "shop:number is not a Pipeline but 3"),
        ("shop:build", "shop:build is not a Pipeline but a function"),
        ("shp.py:orders", "there is no file 'shp.py'; did you mean 'shop.py'?"),
        ("nowhere/shp.py:orders", "there is no file 'nowhere/shp.py'"),
        ("shop..x:orders", "there is no module"),
        (".shop:orders", "cannot be imported"),
    ],
)
def test_a_typo_is_answered_with_a_sentence(name: str, sentence: str) -> None:
    with pytest.raises(AddressError) as raised:
        load_pipeline(name)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\nraise ValueError('no')", "'bad' cannot be imported: ValueError: no (bad.py, line 2)"),
        ("import nothing_like_this", "'bad' cannot be imported: ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("x = (", "'bad' cannot be imported: SyntaxError"),
    ],
)
def test_a_module_that_fails_says_where(folder: Path, text: str, sentence: str) -> None:
    (folder / "bad.py").write_text(text)
    with pytest.raises(AddressError) as raised:
        load_pipeline("bad:orders")
    assert sentence in str(raised.value)


def test_a_refused_pipeline_says_why(folder: Path) -> None:
    (folder / "impossible.py").write_text(
        "from warren import Pipeline\nfrom warren.connectors import memory\nPipeline('p', 1)"
    )
    with pytest.raises(GraphError, match="not a flow"):
        load_pipeline("impossible:p")
