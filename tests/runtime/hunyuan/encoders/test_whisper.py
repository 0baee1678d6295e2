"""The encoder of a Whisper folder that transformers wrote equals transformers' own."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime.errors import CheckpointError
from runtime.hunyuan.encoders.whisper import load_whisper
from runtime.hunyuan.layout import ReleasedLayout
from tests.support.released.released_folder import TINY_SHALLOW, write_tiny_release


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("release")
    write_tiny_release(root, dit=TINY_SHALLOW, parts=("whisper",))
    return ReleasedLayout.find(root).whisper


@pytest.fixture
def copied(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def rewrite(folder, change) -> None:
    """Saves the weights once more, changed."""
    file = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    save_file(change(tensors), file, metadata={"format": "pt"})


def test_hidden_states_are_those_of_transformers(folder):
    from transformers import WhisperModel

    theirs = WhisperModel.from_pretrained(folder).encoder.eval()
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = theirs(mel, output_hidden_states=True).hidden_states
        found = load_whisper(folder)(mel)
    torch.testing.assert_close(found, torch.stack(wanted, dim=2), atol=1e-5, rtol=1e-5)


def test_names_without_a_language_head_are_understood(folder, copied):
    rewrite(copied, lambda all: {n.removeprefix("model."): t for n, t in all.items()})
    ours, others = load_whisper(folder).state_dict(), load_whisper(copied).state_dict()
    assert all(torch.equal(tensor, others[name]) for name, tensor in ours.items())


def test_the_pickle_is_read_if_there_is_no_safetensors_file(folder, copied):
    file = copied / "model.safetensors"
    torch.save(load_file(file), copied / "pytorch_model.bin")
    file.unlink()
    ours, others = load_whisper(folder).state_dict(), load_whisper(copied).state_dict()
    assert all(torch.equal(tensor, others[name]) for name, tensor in ours.items())


def test_a_missing_weight_is_named(copied):
    rewrite(copied, lambda all: {n: t for n, t in all.items() if n != "model.encoder.conv1.bias"})
    with pytest.raises(CheckpointError, match=r"1 missing: conv1\.bias.*avatar weights fetch"):
        load_whisper(copied)


def test_a_folder_of_another_model_is_refused(copied):
    (copied / "config.json").write_text(json.dumps({"hidden_size": 16}))
    with pytest.raises(CheckpointError, match=r"d_model.*this is no Whisper folder"):
        load_whisper(copied)


@pytest.mark.fault("model-files")
def test_weights_that_are_no_numbers_are_refused(copied):
    """A Whisper folder with NaN weights is refused, with the tensor named."""

    def spoil(tensors):
        tensors["model.encoder.layer_norm.weight"][0] = torch.nan
        return tensors

    rewrite(copied, spoil)
    with pytest.raises(CheckpointError, match=r"NaN .* 1 tensors: layer_norm\.weight"):
        load_whisper(copied)
