"""Which tokens a stream denoises."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from runtime.character.character import Character
from runtime.character.store import find_characters
from runtime.engine.torch_engine import default_engines
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.stream.active_tokens import find_active_tokens
from runtime.stream.constants import WindowConditioning, active_tokens_of
from runtime.stream.generator import StreamingGenerator
from runtime.values import Box
from runtime.weights.checkpoint import AvatarModel
from tests.support.models.small_model import random_model
from tests.support.models.small_world import PRESETS, babble, small_character, small_model


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Character:
    return small_character(tmp_path_factory.mktemp("one"))


def test_characters_with_as_many_speakers_share_their_number_of_tokens() -> None:
    counts: dict[int, set[int]] = {}
    for each in find_characters().values():
        tokens = find_active_tokens(each.boxes, 8, 8)
        assert tokens is not None
        counts.setdefault(len(each.speakers), set()).add(len(tokens))
    assert counts == {1: {48}, 2: {56}}


def test_head_and_shoulders_are_kept_and_a_wall_beside_them_is_not() -> None:
    tokens = find_active_tokens([Box(0.28, 0.3, 0.44, 0.36)], 8, 8)
    assert tokens is not None
    kept = np.isin(np.arange(64), tokens).reshape(8, 8)
    assert kept[1:, 2:6].all()
    assert kept[6:, 1:7].all()
    assert not kept[:, [0, 7]].any()


def test_a_face_that_fills_the_picture_keeps_every_token() -> None:
    assert find_active_tokens([Box(0.05, 0.05, 0.9, 0.9)], 8, 8) is None


def test_a_model_that_predicts_velocity_denoises_every_token(character: Character) -> None:
    model = small_model()
    assert active_tokens_of(model, character) is not None
    config = replace(model.dit.config, prediction="velocity")
    assert active_tokens_of(random_model(0, config), character) is None


def test_active_tokens_put_what_they_took(character: Character) -> None:
    active = active_tokens_of(small_model(), character)
    assert active is not None
    latents = torch.randn(2, 16, 3, 8, 8)
    put = active.put(active.take(latents))
    kept = put != 0
    assert torch.equal(put[kept], latents[kept])
    assert int(kept[0, 0, 0].sum()) == 4 * len(active.tokens)


def test_inactive_tokens_stay_the_reference_image(character: Character) -> None:
    model = small_model()
    stream = StreamingGenerator(model, character, PRESETS[0], engines=default_engines(model))
    stream.push("ana", babble(1.0))
    while stream.ready():
        stream.tick()
    active = active_tokens_of(model, character)
    assert active is not None
    final = torch.stack(list(stream.state.levels[-1].values()), dim=1)[None]
    change = final - stream.stages.constants.still[None, :, None]
    outside = change - active.put(active.take(change))
    assert outside.abs().max() < 1e-5
    assert active.take(change).abs().max() > 0.1


class Whole:
    """A denoiser that answers for all latent frames of the window."""

    def __init__(self, model: AvatarModel) -> None:
        self._dit = model.dit

    def denoise(self, x: torch.Tensor, step: StepInputs, window: WindowInputs) -> torch.Tensor:
        return self._dit.denoise(x, step, replace(window, newest=None))


def test_an_engine_may_answer_for_more_latent_frames_than_asked_for(character: Character) -> None:
    model, shown = small_model(), []
    whole = replace(default_engines(model), denoiser=Whole(model))
    for engines in (whole, default_engines(model)):
        stream = StreamingGenerator(model, character, PRESETS[0], engines=engines)
        stream.push("ana", babble(0.6))
        shown.append(np.stack([frame.pixels for frame in stream.flush()]))
    one, other = (frames.astype(int) for frames in shown)
    assert np.abs(one - other).max() <= 1  # sums in another order may round the other way


def test_cached_conditioning_is_what_the_model_prepares_anew(
    character: Character,
) -> None:
    model = small_model()
    stream = StreamingGenerator(model, character, PRESETS[0], engines=default_engines(model))
    stream.push("ana", babble(1.5))
    for emotion in ("neutral", "happy", "neutral"):
        stream.set_emotion("ana", emotion, 0.7)
        window = stream.state.tick.steps[0].window
        stream.tick()
        state, constants = stream.state, stream.stages.constants
        fresh = WindowConditioning(model, constants, PRESETS[0], seed=0)
        cached, anew = (
            one.inputs(window, state.audio_features, state.emotions)
            for one in (stream.stages.conditioning, fresh)
        )
        assert torch.equal(cached.still, anew.still)
        assert torch.equal(cached.injected, anew.injected)
        both = zip(cached.emotion + cached.audio, anew.emotion + anew.audio, strict=True)
        assert all(torch.equal(one, other) for one, other in both)
