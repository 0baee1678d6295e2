"""The transformer is loaded from a released folder unchanged, or the error names the fault."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from runtime.errors import CheckpointError
from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.weights.loading import load_dit, read_config
from runtime.models.dit.config import RELEASED
from runtime.models.fp8.storage import FP8, dequantize
from tests.support.released.released_folder import TINY_RELEASE, TINY_SHALLOW, write_tiny_release


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A release that no test may change."""
    root = tmp_path_factory.mktemp("release")
    return write_tiny_release(root, dit=TINY_SHALLOW, parts=("dit", "fp8"))


@pytest.fixture
def release(whole, tmp_path):
    """A copy of it, to damage."""
    root = tmp_path / "release"
    shutil.copytree(whole, root)
    return ReleasedLayout.find(root)


def saved(layout, form="bf16"):
    return torch.load(layout.pickle(form), weights_only=True)["module"]


def save(layout, tensors, form="bf16"):
    torch.save({"module": tensors}, layout.pickle(form))


def refusal(layout, form="bf16"):
    with pytest.raises(CheckpointError) as caught:
        load_dit(layout.ckpts, form=form)
    return str(caught.value)


def test_every_tensor_of_the_full_key_set_is_the_files(tmp_path):
    layout = ReleasedLayout.find(write_tiny_release(tmp_path, dit=TINY_RELEASE, parts=("dit",)))
    loaded, stored = load_dit(tmp_path).state_dict(), saved(layout)
    assert set(loaded) == set(stored)
    assert all(torch.equal(loaded[name], value.bfloat16()) for name, value in stored.items())


def test_the_model_has_the_asked_dtype(whole):
    model = load_dit(whole, dtype=torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_model_is_for_inference(whole):
    model = load_dit(whole)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_fp8_weights_stay_float8_with_their_scales(whole):
    bf16, fp8 = load_dit(whole, dtype=torch.float32), load_dit(whole, form="fp8")
    linear, meant = fp8.single_blocks[0].linear1, bf16.single_blocks[0].linear1.weight
    assert linear.weight.dtype == FP8
    found = dequantize(linear.weight, linear.weight_scale, torch.float32)
    torch.testing.assert_close(found, meant, rtol=0.07, atol=1e-3)  # 3 bits of mantissa


def test_an_fp8_file_whose_weights_are_stored_wider_gives_the_same_model(whole, release):
    wide = {
        name: value.bfloat16() if value.dtype == FP8 else value
        for name, value in saved(release, "fp8").items()
    }
    save(release, wide, "fp8")
    expected = load_dit(whole, form="fp8").state_dict()
    found = load_dit(release.ckpts, form="fp8").state_dict()
    assert all(torch.equal(found[name].float(), value.float()) for name, value in expected.items())


@pytest.mark.parametrize("key", ["module", "ema", None])
def test_the_weights_may_stand_under_any_released_key(release, key):
    tensors = saved(release)
    torch.save(tensors if key is None else {key: tensors}, release.pickle("bf16"))
    assert load_dit(release.ckpts)


@pytest.mark.parametrize("below", ["ckpts", "."])
def test_the_folder_may_be_the_download_or_its_ckpts(whole, below):
    assert load_dit(whole / below)


def test_a_folder_without_sizes_has_the_releases_sizes(release):
    release.dit_config.unlink()
    assert read_config(release) == RELEASED


def test_a_wrong_folder_is_named_with_what_was_expected(tmp_path):
    with pytest.raises(CheckpointError, match=r"hunyuan-video-t2v-720p must be in it.*fetch"):
        load_dit(tmp_path)


def test_a_missing_key_is_named(release):
    tensors = saved(release)
    del tensors["before_proj.bias"]
    save(release, tensors)
    assert "1 missing: before_proj.bias" in refusal(release)


def test_an_unexpected_key_is_named(release):
    save(release, saved(release) | {"guidance_in.mlp.0.weight": torch.zeros(2, 2)})
    assert "1 unexpected: guidance_in.mlp.0.weight" in refusal(release)


def test_a_wrong_shape_is_named_with_the_right_one(release):
    save(release, saved(release) | {"before_proj.bias": torch.zeros(33)})
    assert "before_proj.bias (33,) instead of (32,)" in refusal(release)


def test_a_truncated_file_is_named(release):
    file = release.pickle("bf16")
    file.write_bytes(file.read_bytes()[:-4096])
    assert f"{file} is truncated or damaged" in refusal(release)


def test_a_missing_file_names_the_form_that_exists(release):
    release.pickle("bf16").unlink()
    message = refusal(release)
    assert "mp_rank_00_model_states.pt is missing" in message
    assert "The fp8 form is there" in message


def test_fp8_without_its_map_is_named(release):
    release.fp8_map.unlink()
    assert "mp_rank_00_model_states_fp8_map.pt is missing beside it" in refusal(release, "fp8")


def test_a_map_that_lacks_a_layer_is_named(release):
    scales = torch.load(release.fp8_map, weights_only=True)["module"]
    del scales["single_blocks.1.linear2"]
    torch.save({"module": scales}, release.fp8_map)
    assert "1 missing: single_blocks.1.linear2.weight" in refusal(release, "fp8")


def test_an_fp8_file_under_the_name_of_the_other_is_named(release):
    shutil.copy(release.pickle("fp8"), release.pickle("bf16"))
    assert "If it is the FP8 file, name it ..._fp8.pt" in refusal(release)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_named(release, value):
    tensors = saved(release)
    tensors["single_blocks.1.linear2.weight"][3, 3] = value
    save(release, tensors)
    assert "NaN or infinite values in 1 tensors: single_blocks.1.linear2" in refusal(release)


def test_nan_among_float8_weights_is_named(release):
    tensors = saved(release, "fp8")
    tensors["single_blocks.1.linear2.weight"].view(torch.uint8)[3, 3] = 0xFF
    save(release, tensors, "fp8")
    assert "single_blocks.1.linear2.weight" in refusal(release, "fp8")


def test_a_pickle_that_would_run_code_is_not_opened(release):
    torch.save({"module": {"weight": torch.zeros(1)}, "args": Path("x")}, release.pickle("bf16"))
    assert "is not opened" in refusal(release)


def test_a_pickle_of_something_else_is_named(release):
    torch.save([torch.zeros(1)], release.pickle("bf16"))
    assert "holds a list" in refusal(release)


def test_sizes_that_are_no_json_are_named(release):
    release.dit_config.write_text("{")
    assert "config.json is no JSON" in refusal(release)


def test_sizes_of_another_model_are_named(release):
    release.dit_config.write_text(json.dumps(TINY_RELEASE.to_dict()))
    assert "missing: audio_adapter_blocks.1" in refusal(release)
