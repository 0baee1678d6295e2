"""A run of another image injection keeps apart from the one that ships; what the hint reads."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import save_file

from runtime.weights.checkpoint import BUILTIN_WEIGHTS, load
from training import run as run_module
from training.train.dit import (
    Learner,
    Trained,
    draw,
    export,
    hint_error,
    open_run,
    take_weights,
)


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "RUNS", tmp_path)
    return tmp_path


def test_the_released_variant_is_the_run_that_ships():
    assert open_run("add", steps=1, rate=1e-3, device="cpu")[1].name == "dit"


@pytest.mark.parametrize("injection", ["token", "channel"])
def test_another_variant_leaves_a_model_in_its_own_run(injection, runs):
    shipped = {file.name: file.stat().st_mtime_ns for file in BUILTIN_WEIGHTS.iterdir()}
    trained, run = open_run(injection, steps=1, rate=1e-3, device="cpu")
    folder = export(run, injection)
    assert folder == runs / f"dit-{injection}" / "model"
    assert {file.name: file.stat().st_mtime_ns for file in BUILTIN_WEIGHTS.iterdir()} == shipped
    dit = load(folder).dit
    assert dit.config.injection == injection
    weight = trained.dit.img_in.proj.weight
    torch.testing.assert_close(dit.img_in.proj.weight, weight, atol=1e-3, rtol=1e-3)  # half
    assert injection in json.loads((folder / "dit.json").read_text())["made_with"]


def test_the_hint_reads_the_mouths_of_every_speaker_from_sound_alone():
    torch.manual_seed(0)
    trained = Trained()
    sound, cues = torch.randn(2, 2, 12, 10, 5, 64), torch.randn(2, 2, 12, 8)
    windows = SimpleNamespace(
        cond=SimpleNamespace(audio=sound, cues=cues),
        clean=torch.zeros(2, 48, 3, 1, 1),
        drawn_mouths=torch.randn(2, 3, 2, 24),
    )
    hint_error(trained, windows).backward()
    assert all(weight.any() for weight in trained.dit.audio_frames.weight.grad)
    assert not trained.dit.cue_frames.weight.grad.any()
    with torch.no_grad():
        silent = trained.dit.embed_audio(SimpleNamespace(audio=sound, cues=None), 3)
        windows.drawn_mouths = trained.hint(silent.mean(3))
        assert hint_error(trained, windows) < 1e-10


def test_a_new_run_begins_as_the_file_of_weights(tmp_path):
    torch.manual_seed(1)
    given = Trained()
    weights = {k: v for k, v in given.state_dict().items() if k.startswith(("dit.", "hint."))}
    save_file(weights, tmp_path / "start.safetensors")
    trained, run = open_run("add", 1, 1e-3, "cpu", start=tmp_path / "start.safetensors")
    for name, value in given.state_dict().items():
        assert torch.equal(trained.state_dict()[name], value)
        assert torch.equal(run.averaged[name], value)


def test_a_new_run_begins_as_an_exported_transformer():
    trained = Trained()
    take_weights(trained, BUILTIN_WEIGHTS / "dit.safetensors")
    for name, value in load(BUILTIN_WEIGHTS).dit.state_dict().items():
        assert torch.equal(trained.dit.state_dict()[name], value)


def test_a_file_that_is_no_transformer_is_refused():
    with pytest.raises(
        typer.BadParameter,
        match=r"cannot begin with these weights.*does not fit.*missing.*unexpected",
    ):
        take_weights(Trained(), BUILTIN_WEIGHTS / "autoencoder.safetensors")


def test_noise_levels_and_flaws_are_decided_by_a_seed():
    clean = torch.zeros(64, 2, 1, 4, 4)
    first, second = (draw(torch.Generator().manual_seed(3), clean) for _ in range(2))
    assert torch.equal(first.sigma, second.sigma)
    assert torch.equal(first.noise, second.noise)
    assert 0 < first.sigma.min() < first.sigma.max() == 1
    assert np.isclose((first.sigma == 1).float().mean(), 0.6, atol=0.2)
    assert not torch.equal(first.grain, first.trace)


def test_a_learner_gives_the_gradients_of_its_loss():
    weight = torch.nn.Parameter(torch.tensor([2.0, 3.0]))
    windows = SimpleNamespace(clean=torch.ones(2, 1, 1, 1, 1))
    sampler = SimpleNamespace(device="cpu", batch=lambda *_: windows)

    def loss(trained, windows, draws):
        return (weight.square() * windows.clean.sum()).sum(), {"part": weight.sum()}

    learner = Learner(None, [weight], sampler, torch.Generator(), loss)
    (gradient,), values = learner.gradients(1, 1, 2, 24)
    assert torch.equal(gradient, 4 * weight)
    assert {k: v.item() for k, v in values.items()} == {"loss": 26.0, "part": 5.0}
    assert not any(v.requires_grad for v in values.values())
