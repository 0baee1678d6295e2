"""Guidance goes on from what silence shows, past what the sound shows, and nowhere else."""

import json
from dataclasses import replace

import pytest
import torch
import typer

from tests.runtime.models.dit.test_dit import SMALL, H, W, conditioning, halves, noisy, random_dit
from training.data.latent_clips import Windows
from training.shipped import WEIGHTS
from training.train import distill_guidance
from training.train.distill_guidance import COMMAND, GUIDANCE, guided, is_guided, main
from training.train.dit import COMMAND as UNGUIDED
from training.train.dit import TIMESTEPS


def test_guidance_amplifies_what_a_voice_changes_and_keeps_what_silence_shows():
    dit = random_dit(replace(SMALL, prediction="residual"))
    cond = replace(conditioning(2), face_masks=halves())
    silence = torch.zeros_like(cond.audio)
    x, _ = noisy()
    sigma, tokens = torch.tensor([0.8]), torch.arange(H // 2 * (W // 2))
    windows = Windows(x, x, cond, tokens, x, x)
    with torch.inference_mode():
        heard = dit.predict_clean(x, TIMESTEPS * sigma, cond, tokens)
        silent = dit.predict_clean(x, TIMESTEPS * sigma, replace(cond, audio=silence), tokens)
        found = guided(dit, x, sigma, windows, silence)
        unmoved = guided(
            dit, x, sigma, replace(windows, cond=replace(cond, audio=silence)), silence
        )
    torch.testing.assert_close(found - silent, GUIDANCE * (heard - silent), atol=1e-5, rtol=1e-4)
    assert torch.equal(unmoved, silent)


def test_a_transformer_is_guided_once(tmp_path, monkeypatch):
    (tmp_path / "dit.json").write_text(json.dumps({"made_with": COMMAND}))
    monkeypatch.setattr(distill_guidance, "WEIGHTS", tmp_path)
    with pytest.raises(typer.BadParameter, match="already guided"):
        main(steps=1)


def test_the_shipped_transformer_counts_as_guided():
    card = json.loads((WEIGHTS / "dit.json").read_text())
    assert is_guided(card["made_with"])
    assert not is_guided(UNGUIDED)
