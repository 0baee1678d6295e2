"""A training run goes on where it was stopped, and ships averaged weights."""

import pytest
import torch
from torch import nn

from training import run as run_module
from training.run import Run


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "RUNS", tmp_path)


def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def train(run: Run, until: int) -> None:
    for step in run:
        torch.manual_seed(step)
        run.update(run.model(torch.randn(8, 3)).square().mean())
        if run.step == until:
            run.save()
            return


def test_a_stopped_run_ends_as_one_that_was_not_stopped():
    straight = Run("straight", model(), steps=30, learning_rate=1e-2)
    train(straight, 30)
    train(Run("stopped", model(), steps=30, learning_rate=1e-2), 12)
    resumed = Run("stopped", model(), steps=30, learning_rate=1e-2)
    assert resumed.step == 12
    train(resumed, 30)
    for name, value in straight.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value)
        torch.testing.assert_close(resumed.averaged[name], straight.averaged[name])


def test_averaged_weights_follow_the_trained_ones_without_their_jumps():
    run = Run("average", model(), steps=40, learning_rate=1e-1)
    before = run.averaged["weight"].clone()
    train(run, 40)
    trained = run.model.state_dict()["weight"]
    assert not torch.equal(run.averaged["weight"], before)
    assert not torch.equal(run.averaged["weight"], trained)


def test_the_rate_warms_up_and_falls():
    run = Run("rate", model(), steps=1000, learning_rate=1.0)
    rates = []
    for step in (0, 99, 500, 999):
        run.step = step
        rates.append(run.rate())
    assert rates[0] < 0.02
    assert rates[1] > 0.95
    assert 0.4 < rates[2] < 0.6
    assert rates[3] < 0.06


def test_curves_are_kept_as_lines_of_json():
    run = Run("curves", model(), steps=3, learning_rate=1e-2)
    run.log(loss=0.5)
    run.log(loss=0.25)
    assert (run.folder / "log.jsonl").read_text().count("\n") == 2


def test_gradients_that_share_memory_are_each_clipped_once():
    run = Run("shared", model(), steps=1, learning_rate=1e-2)
    gradient = torch.full((2, 3), 10.0)
    run.apply([gradient, gradient[:, 0]])
    norm = torch.cat([p.grad.flatten() for p in run.parameters]).norm()
    torch.testing.assert_close(norm, torch.tensor(1.0))
    assert torch.equal(gradient, torch.full((2, 3), 10.0))
