"""Errors for damaged and wrong folders of the autoencoder name the fault and what to do."""

import json
import os
import re

import pytest
import torch

from runtime.errors import CheckpointError
from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.vae.checkpoint import VaeConfig, check_tensors, read_tensors
from tests.support.released.released_folder import write_vae

KEY = "encoder.conv_in.conv.bias"


@pytest.fixture
def folder(tmp_path):
    layout = ReleasedLayout(tmp_path)
    write_vae(layout)
    return layout.vae


def set_config(folder, **values):
    file = folder / "config.json"
    config = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_attention_is_what_the_config_says(folder):
    assert VaeConfig.read(folder).mid_block_causal_attn
    set_config(folder, mid_block_causal_attn=False)
    assert not VaeConfig.read(folder).mid_block_causal_attn


def test_attention_is_not_causal_if_the_config_does_not_say(folder):
    set_config(folder, mid_block_causal_attn=None)
    assert not VaeConfig.read(folder).mid_block_causal_attn


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sample_size", None, "'sample_size' is missing"),
        ("scaling_factor", None, "'scaling_factor' is missing"),
        ("scaling_factor", "big", "it must be a number above 0"),
        ("latent_channels", 0, "latent_channels is 0; it must be a whole number from 1 on"),
        ("sample_size", 8, "cannot overlap; they need 16 px and 8 frames at least"),
        ("block_out_channels", [8, 16], "it must be 4 multiples of norm_num_groups, 4"),
        ("block_out_channels", [8, 16, 16, 6], "it must be 4 multiples of norm_num_groups, 4"),
        ("block_out_channels", 8, "block_out_channels is no list"),
        ("time_compression_ratio", 8, "time_compression_ratio is 8; only 4 is supported"),
    ],
)
def test_a_config_that_cannot_be_is_refused(folder, name, value, message):
    set_config(folder, **{name: value})
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        VaeConfig.read(folder)
    assert "config.json" in str(error.value)
    assert "avatar weights fetch" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is no JSON"), ("[]", "holds no JSON object"), (None, "is missing")]
)
def test_a_damaged_config_is_named(folder, text, message):
    file = folder / "config.json"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(CheckpointError, match=message):
        VaeConfig.read(folder)


def test_names_lose_their_prefix_and_their_wrapping(folder):
    named = {"vae.decoder.conv_in.conv.bias": torch.zeros(8)}
    torch.save({"state_dict": named}, folder / "pytorch_model.pt")
    assert set(read_tensors(folder)) == {"decoder.conv_in.conv.bias"}


def test_files_of_the_old_pickle_form_are_read(folder):
    file = folder / "pytorch_model.pt"
    torch.save({KEY: torch.zeros(8)}, file, _use_new_zipfile_serialization=False)
    assert set(read_tensors(folder)) == {KEY}


def test_a_missing_file_is_named(folder):
    (folder / "pytorch_model.pt").unlink()
    with pytest.raises(CheckpointError, match=r"pytorch_model\.pt is missing"):
        read_tensors(folder)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_named(folder, share):
    file = folder / "pytorch_model.pt"
    os.truncate(file, int(share * file.stat().st_size))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.pt is .* avatar weights fetch"):
        read_tensors(folder)


class Command:
    def __reduce__(self):
        return os.getcwd, ()


def test_code_in_a_file_is_not_run(folder):
    torch.save({"state_dict": Command()}, folder / "pytorch_model.pt")
    with pytest.raises(CheckpointError, match="holds code"):
        read_tensors(folder)


def test_a_file_of_something_else_is_named(folder):
    torch.save({"epoch": 3}, folder / "pytorch_model.pt")
    with pytest.raises(CheckpointError, match="holds no state dict of tensors"):
        read_tensors(folder)


def test_tensors_that_fit_pass(folder):
    tensors = read_tensors(folder)
    assert check_tensors(tensors, tensors, folder) is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tensors: tensors.pop(KEY), f"1 missing: {KEY}"),
        (lambda tensors: tensors.update(more=torch.zeros(1)), "1 unexpected: more"),
        (
            lambda tensors: tensors.update({KEY: torch.zeros(3)}),
            f"1 of another shape: {KEY} (3,) instead of (8,)",
        ),
        (
            lambda tensors: tensors.update({KEY: torch.full((8,), torch.nan)}),
            f"1 tensors not finite: {KEY} in torch.float32",
        ),
        (
            lambda tensors: tensors.update({KEY: torch.full((8,), 1e6).half()}),
            f"1 tensors not finite: {KEY} in torch.float16",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder, damage, message):
    expected = read_tensors(folder)
    tensors = dict(expected)
    damage(tensors)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        check_tensors(tensors, expected, folder)


def test_only_the_first_names_are_listed(folder):
    expected = read_tensors(folder)
    with pytest.raises(CheckpointError, match=r"248 missing: .* and 243 more"):
        check_tensors({}, expected, folder)
