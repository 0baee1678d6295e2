"""A run of another image injection keeps apart from the one that ships; what the hint reads."""

import json
from types import SimpleNamespace

import pytest
import torch

from runtime.checkpoint import BUILTIN_WEIGHTS, load
from training import run as run_module
from training.train_dit import Trained, export, hint_error, open_run


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
        silent = trained.dit.heard_tokens(SimpleNamespace(audio=sound, cues=None), 3)
        windows.drawn_mouths = trained.hint(silent.mean(3))
        assert hint_error(trained, windows) < 1e-10
