"""Converted weights are the released ones, in files of a bounded size."""

import json

import pytest
import torch
from safetensors import safe_open

from runtime.errors import CheckpointError
from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.weights.converting import convert, plan_shards
from runtime.hunyuan.weights.loading import load_dit
from tests.support.released.released_folder import TINY_SHALLOW, write_tiny_release


@pytest.fixture
def release(tmp_path):
    return write_tiny_release(tmp_path / "release", dit=TINY_SHALLOW, parts=("dit", "fp8"))


def same(found, expected):
    found, expected = found.state_dict(), expected.state_dict()
    return set(found) == set(expected) and all(
        torch.equal(found[name].float(), tensor.float()) for name, tensor in expected.items()
    )


@pytest.mark.parametrize("form", ["bf16", "fp8"])
def test_the_converted_model_is_the_released_one(release, tmp_path, form):
    convert(release, form, out=tmp_path / "out", shard_bytes=50_000)
    assert same(load_dit(tmp_path / "out", form=form), load_dit(release, form=form))


def test_fp8_is_made_from_bf16_as_the_release_makes_it(release, tmp_path):
    expected = load_dit(release, form="fp8")
    ReleasedLayout.find(release).pickle("fp8").unlink()
    convert(release, "fp8", out=tmp_path / "out")
    assert same(load_dit(tmp_path / "out", form="fp8"), expected)


def test_shards_are_loaded_rather_than_the_pickle(release):
    expected = load_dit(release)
    convert(release)
    ReleasedLayout.find(release).pickle("bf16").unlink()
    assert same(load_dit(release), expected)


def test_tensors_keep_their_dtypes(release, tmp_path):
    done = convert(release, out=tmp_path / "out")
    with safe_open(done.shards[0], "pt") as file:
        names = ("img_in.proj.bias", "before_proj.bias")
        assert [file.get_tensor(name).dtype for name in names] == [torch.bfloat16, torch.float32]


def test_the_index_names_every_tensor_and_the_total(release, tmp_path):
    done = convert(release, out=tmp_path / "out", shard_bytes=50_000)
    index = json.loads(done.index.read_text())
    assert set(index["weight_map"]) == set(load_dit(release).state_dict())
    assert index["metadata"]["total_size"] == done.bytes


def test_no_shard_is_larger_than_asked_unless_one_tensor_is():
    assert plan_shards({"a": 4, "b": 5, "c": 20, "d": 1}, 10) == [["a", "b"], ["c"], ["d"]]


def test_progress_is_the_share_that_is_done(release, tmp_path):
    told = []
    done = convert(release, out=tmp_path / "out", shard_bytes=50_000, on_shard=told.append)
    assert len(told) == len(done.shards)
    assert told[-1] == 1.0


def test_a_stopped_conversion_leaves_nothing_to_load(release, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(release, out=tmp_path / "out", shard_bytes=50_000, on_shard=stop)
    with pytest.raises(CheckpointError, match="is missing"):
        load_dit(tmp_path / "out")


def test_a_cut_shard_is_named(release, tmp_path):
    done = convert(release, out=tmp_path / "out", shard_bytes=50_000)
    done.shards[1].write_bytes(done.shards[1].read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=rf"{done.shards[1]} is truncated"):
        load_dit(tmp_path / "out")


def test_a_lost_shard_is_named(release, tmp_path):
    done = convert(release, out=tmp_path / "out", shard_bytes=50_000)
    done.shards[1].unlink()
    with pytest.raises(CheckpointError, match=rf"{done.shards[1]} is missing"):
        load_dit(tmp_path / "out")
