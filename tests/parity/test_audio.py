"""The release's audio features, on data that the release itself produced."""

import json
import os
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from runtime.hunyuan.encoders.audio import (
    pad_release_features,
    release_audio_features,
    whisper_log_mel,
)
from runtime.models.audio_encoder import AudioEncoder, AudioEncoderConfig

GOLDEN = Path(os.environ.get("AVATAR_PARITY_DIR", Path(__file__).parent / "golden")) / "audio"
CASES = sorted(path.stem for path in GOLDEN.glob("audio_*.safetensors"))
ATOL = 1e-4  # torch and transformers versions differ from the recording's (README of the data)
ATOL_HALF = 2e-3


class Case:
    def __init__(self, name: str) -> None:
        self.facts = json.loads((GOLDEN / f"{name}.json").read_text())
        self.tensors = load_file(GOLDEN / f"{name}.safetensors")
        sizes = self.facts["whisper_config"]
        self.encoder = AudioEncoder(
            AudioEncoderConfig(
                width=sizes["d_model"],
                heads=sizes["encoder_attention_heads"],
                layers=sizes["encoder_layers"],
                max_steps=sizes["max_source_positions"],
                mel_bins=sizes["num_mel_bins"],
                feed_forward=sizes["encoder_ffn_dim"],
            )
        ).eval()
        prefix = "weights.encoder."
        weights = {k.removeprefix(prefix): v for k, v in self.tensors.items() if prefix in k}
        self.encoder.load_state_dict(weights, strict=True)
        with wave.open(str(GOLDEN / f"{name}.wav")) as file:
            data = file.readframes(file.getnframes())
        self.pcm = np.frombuffer(data, np.int16).astype(np.float32) / 32768.0


def test_there_is_golden_audio():
    assert CASES, f"no audio_*.safetensors in {GOLDEN}"


@pytest.fixture(params=CASES, scope="module")
def case(request):
    return Case(request.param)


def test_features_equal_the_releases(case):
    features = release_audio_features(case.encoder, case.pcm, case.facts["fps"])
    assert list(features.shape) == case.facts["features_shape"]
    torch.testing.assert_close(features, case.tensors["out.features"], atol=ATOL, rtol=0.0)


def test_padded_features_equal_the_releases(case):
    features = release_audio_features(case.encoder, case.pcm, case.facts["fps"])
    padded = pad_release_features(features)
    wanted = case.tensors["out.features_padded_fp16"]
    assert padded.dtype == wanted.dtype
    torch.testing.assert_close(padded.float(), wanted.float(), atol=ATOL_HALF, rtol=0.0)
    assert padded[:, features.shape[1] :].abs().max() == 0.0


def test_intermediate_values_equal_the_releases(case):
    if "mid.mel_float32" not in case.tensors:
        return  # only some of the recordings hold them
    mel = whisper_log_mel(case.pcm)
    torch.testing.assert_close(mel, case.tensors["mid.mel_float32"], atol=ATOL, rtol=0.0)
    states = case.encoder(mel.half().float())
    wanted = case.tensors["mid.encoder_hidden_states_stacked"]
    torch.testing.assert_close(states[:, : wanted.shape[1]], wanted, atol=ATOL, rtol=0.0)
