"""The Whisper encoder: sizes, names and hidden states."""

import pytest
import torch

from runtime.errors import CheckpointError
from runtime.models.audio_encoder import (
    TINY,
    AudioEncoder,
    AudioEncoderConfig,
    sinusoids,
)

SMALL = AudioEncoderConfig(width=16, heads=2, layers=2, max_steps=20)
WHISPER_TINY = AudioEncoderConfig(width=384, heads=6, layers=4, max_steps=1500)


def test_every_layer_and_the_input_are_returned():
    states = AudioEncoder(SMALL)(torch.zeros(3, 80, 40))
    assert states.shape == (3, 20, 3, 16)


def test_a_clip_may_be_shorter_than_the_positions():
    assert AudioEncoder(SMALL)(torch.zeros(1, 80, 8)).shape == (1, 4, 3, 16)


def test_the_last_hidden_state_is_normalised():
    torch.manual_seed(0)
    last = AudioEncoder(SMALL)(torch.randn(1, 80, 40))[:, :, -1]
    torch.testing.assert_close(last.mean(-1), torch.zeros(1, 20), atol=1e-5, rtol=0.0)


def test_parameters_have_the_published_names_and_shapes():
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in AudioEncoder(WHISPER_TINY).state_dict().items()}
    assert shapes["conv1.weight"] == (384, 80, 3)
    assert shapes["conv2.weight"] == (384, 384, 3)
    assert shapes["embed_positions.weight"] == (1500, 384)
    assert shapes["layers.3.self_attn.q_proj.bias"] == (384,)
    assert shapes["layers.3.fc1.weight"] == (1536, 384)
    assert shapes["layers.0.final_layer_norm.weight"] == (384,)
    assert "layers.0.self_attn.k_proj.bias" not in shapes
    assert len(shapes) == 67


def test_positions_are_sines_beside_cosines():
    marks = sinusoids(10, 8)
    torch.testing.assert_close(marks[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    torch.testing.assert_close(marks[:, 0], torch.arange(10.0).sin())


def test_a_configuration_is_read_as_written():
    assert AudioEncoderConfig.from_dict(TINY.to_dict()) == TINY


def test_an_unknown_configuration_key_is_refused():
    with pytest.raises(CheckpointError, match="wdith"):
        AudioEncoderConfig.from_dict({"wdith": 3})
