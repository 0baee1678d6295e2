"""A run of another image injection keeps apart from the one that ships."""

import json

import pytest
import torch

from runtime.checkpoint import BUILTIN_WEIGHTS, load
from training import run as run_module
from training.train_dit import export, open_run


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
