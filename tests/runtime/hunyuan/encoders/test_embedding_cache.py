"""Entries are made once, whole or absent, and a damaged one is made again."""

import logging
from pathlib import Path

import pytest
import torch

from runtime.hunyuan.encoders.embedding_cache import EmbeddingCache, content_hash, folder_identity

CONTENT = ("weights", b"pixels")


class Maker:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, torch.Tensor]:
        self.calls += 1
        return {"states": torch.arange(6.0).half().view(2, 3).T, "mask": torch.tensor([1, 0])}


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache")


def only_file(cache_folder: Path) -> Path:
    (file,) = cache_folder.iterdir()
    return file


def assert_same(found, wanted) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_an_entry_is_made_once(cache):
    make = Maker()
    first = cache.get("text", CONTENT, make)
    second = cache.get("text", CONTENT, make)
    assert make.calls == 1
    assert_same(first, Maker()())
    assert_same(second, Maker()())


@pytest.mark.parametrize("other", [("weights", b"pixel"), ("weight", b"spixels"), ("weights",)])
def test_other_content_is_another_entry(cache, other):
    make = Maker()
    cache.get("text", CONTENT, make)
    cache.get("text", other, make)
    assert make.calls == 2


def test_another_kind_is_another_entry(cache):
    make = Maker()
    cache.get("text", CONTENT, make)
    cache.get("reference", CONTENT, make)
    assert make.calls == 2


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def change_a_value(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_short, change_a_value, empty])
def test_a_damaged_entry_is_made_again_and_logged(cache, tmp_path, caplog, damage):
    make = Maker()
    cache.get("text", CONTENT, make)
    damage(only_file(tmp_path / "cache"))
    with caplog.at_level(logging.WARNING):
        assert_same(cache.get("text", CONTENT, make), Maker()())
    assert make.calls == 2
    assert "is damaged" in caplog.text
    cache.get("text", CONTENT, make)
    assert make.calls == 2


def test_nothing_is_left_behind_when_making_fails(cache, tmp_path):
    def fail():
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        cache.get("text", CONTENT, fail)
    assert not (tmp_path / "cache").exists()


def test_only_complete_entries_are_in_the_folder(cache, tmp_path):
    cache.get("text", CONTENT, Maker())
    assert only_file(tmp_path / "cache").name == f"text-{content_hash(CONTENT)}.safetensors"


def test_a_folder_that_cannot_be_written_is_logged(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        made = EmbeddingCache(tmp_path / "file").get("text", CONTENT, Maker())
    assert_same(made, Maker()())
    assert "cannot be written" in caplog.text


def test_a_changed_weight_is_another_identity(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(3_000_000))
    before = folder_identity(tmp_path)
    assert folder_identity(tmp_path) == before
    (tmp_path / "model.safetensors").write_bytes(bytes(2_999_999) + b"1")
    assert folder_identity(tmp_path) != before
