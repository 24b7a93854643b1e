from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from warren.analytics import saved
from warren.core.errors import DataError, StorageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    saved.save(tmp_path / "m", "thing", {"a": 1}, "f1")
    return tmp_path / "m"


def altered(file: Path, **fields: object) -> None:
    magic, header, body = file.read_bytes().split(b"\n", 2)
    told = msgspec.json.decode(header) | fields
    file.write_bytes(b"\n".join([magic, msgspec.json.encode(told), body]))


def test_what_was_saved_is_loaded(file: Path) -> None:
    model, header = saved.load(file, "thing")
    assert model == {"a": 1}
    assert (header.kind, header.version, header.fingerprint) == ("thing", saved.VERSION, "f1")


def test_another_kind_version_and_library_are_refused(file: Path) -> None:
    with pytest.raises(DataError, match="holds a model of the kind 'thing', not 'other'"):
        saved.load(file, "other")
    altered(file, libraries={"scikit-learn": "0.1"})
    with pytest.raises(DataError, match=r"written with scikit-learn 0\.1"):
        saved.load(file, "thing")
    with pytest.raises(DataError, match="learned the data f1, not f2"):
        saved.load(file, "thing", "f2")
    altered(file, version=99)
    with pytest.raises(DataError, match="holds version 99"):
        saved.load(file, "thing")


def test_one_of_its_kind_has_a_name(tmp_path: Path) -> None:
    saved.save(tmp_path / "m", "thing/small", [1], "f")
    model, header = saved.load(tmp_path / "m", "thing", "f")
    assert (model, header.kind, header.libraries) == ([1], "thing/small", {})


def test_nothing_is_unpickled_unless_that_is_asked_for(tmp_path: Path) -> None:
    saved.save(tmp_path / "m", "thing", {3: Path()}, "f", pickled=True)
    assert saved.load(tmp_path / "m", "thing", pickled=True)[0] == {3: Path()}
    with pytest.raises(DataError, match="load it as what it is"):
        saved.load(tmp_path / "m", "thing")
    saved.save(tmp_path / "m", "thing", 1, "f")
    with pytest.raises(DataError, match="load it as what it is"):
        saved.load(tmp_path / "m", "thing", pickled=True)


def test_damage_is_told_before_anything_is_run(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"x")
    with pytest.raises(StorageError, match="is damaged"):
        saved.load(file, "thing")
    file.write_bytes(b"warren model\n{")
    with pytest.raises(StorageError, match="is damaged"):
        saved.load(file, "thing")
    file.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="holds no model"):
        saved.load(file, "thing")
    with pytest.raises(StorageError, match="cannot be read"):
        saved.load(tmp_path / "none", "thing")
    with pytest.raises(StorageError, match="cannot be written"):
        saved.save(tmp_path / "no" / "where", "thing", 1, "f")
