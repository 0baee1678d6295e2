"""The stream's properties, with a small random model in float32: equal means equal to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from runtime.character.character import Character
from runtime.engine.torch_engine import default_engines
from runtime.errors import BadInput, NotFound
from runtime.models.dit.conditioning import StepInputs, WindowInputs
from runtime.stream.engines import Engines
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import StreamPreset
from runtime.stream.tick import STAGES
from tests.support.models.small_world import (
    PRESETS,
    babble,
    pixels,
    run,
    small_character,
    small_model,
)

INTERACTIVE = PRESETS[0]
LOOKAHEAD = 1320
presets = pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Character:
    return small_character(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Character:
    return small_character(tmp_path_factory.mktemp("two"), ("ana", "ben"))


def start(character: Character, preset: StreamPreset, seed: int = 3) -> StreamingGenerator:
    return StreamingGenerator(
        small_model(), character, preset, seed, engines=default_engines(small_model())
    )


@presets
@pytest.mark.parametrize("chunk", [640, 1777, 20_000])
def test_streaming_in_chunks_equals_generating_at_once(
    one: Character, preset: StreamPreset, chunk: int
) -> None:
    sound = babble(1.5)
    whole = start(one, preset)
    whole.push("ana", sound)
    at_once = run(whole)
    streamed = start(one, preset)
    frames = []
    for at in range(0, len(sound), chunk):
        streamed.push("ana", sound[at : at + chunk])
        frames += run(streamed)
    assert [frame.index for frame in frames] == list(range(len(at_once)))
    np.testing.assert_array_equal(pixels(frames), pixels(at_once))


def test_a_latent_frame_hears_the_same_wherever_it_stands_in_a_window(one: Character) -> None:
    model, heard = small_model(), []

    class Listening:
        def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
            heard.append(window.audio[0])
            return model.dit.denoise(x, step, window)

    stream = StreamingGenerator(
        model,
        one,
        INTERACTIVE,
        engines=Engines(Listening(), model.autoencoder, model.audio_encoder),
    )
    stream.push("ana", babble(1.5))
    run(stream)
    windows = heard[:: INTERACTIVE.steps]
    for newest_in, oldest_in in zip(windows[3:], windows[5:], strict=False):
        torch.testing.assert_close(newest_in[:, -1], oldest_in[:, 0])


@presets
def test_later_sound_changes_nothing_already_final(one: Character, preset: StreamPreset) -> None:
    sound = babble(2.5)
    changed = sound.copy()
    changed[20_000:] = babble(2.5, seed=9)[20_000:]
    first, second = start(one, preset), start(one, preset)
    first.push("ana", sound)
    second.push("ana", changed)
    for _ in range(20):
        if first.needed_samples > 20_000:
            break
        np.testing.assert_array_equal(pixels_or_none(first), pixels_or_none(second))
    assert not np.array_equal(pixels(run(first)), pixels(run(second)))


def pixels_or_none(stream: StreamingGenerator) -> np.ndarray:
    frames = stream.tick()
    return pixels(frames) if frames else np.zeros(0)


@presets
def test_a_tick_needs_exactly_the_announced_samples(one: Character, preset: StreamPreset) -> None:
    stream = start(one, preset)
    for tick in range(4):
        newest = (tick + 1) * preset.hop - 1
        assert stream.needed_samples == newest * 2560 + 640 + LOOKAHEAD
        stream.fill_silence("ana", stream.needed_samples - 1)
        assert not stream.ready()
        assert stream.tick() == []
        stream.fill_silence("ana", stream.needed_samples)
        stream.tick()
        final = max(0, (tick + 1) * preset.hop - preset.plan.lag)
        assert stream.next_frame == (4 * final - 3 if final else 0)


@presets
def test_memory_does_not_grow_with_the_stream(one: Character, preset: StreamPreset) -> None:
    stream = start(one, preset)

    def remembered() -> tuple[int, ...]:
        state = stream.state
        dicts = (*state.levels, state.decoder_states, state.audio_features)
        return (*map(len, dicts), len(state.audio[0].pcm) // 8000)

    sizes = []
    for _ in range(120 // preset.hop):
        stream.fill_silence("ana", stream.needed_samples)
        stream.tick()
        sizes.append(remembered())
    half = len(sizes) * 3 // 4
    assert np.all(np.max(sizes[half:], axis=0) <= np.max(sizes[half - 4 : half], axis=0))


def test_sound_moves_the_picture_and_seeds_differ(one: Character) -> None:
    streams = [start(one, INTERACTIVE), start(one, INTERACTIVE), start(one, INTERACTIVE, seed=4)]
    streams[0].push("ana", babble(1.0))
    for silent in streams[1:]:
        silent.fill_silence("ana", 16_000)
    spoken, quiet, other = (pixels(run(stream)).astype(int) for stream in streams)
    assert np.abs(spoken - quiet).max() > 0
    assert np.abs(other - quiet).max() > 0


@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.0])
@presets
def test_flush_gives_a_picture_for_every_sample(
    one: Character, preset: StreamPreset, seconds: float
) -> None:
    stream = start(one, preset)
    stream.push("ana", babble(seconds))
    frames = run(stream) + stream.flush()
    assert [frame.index for frame in frames] == list(range(int(np.ceil(seconds * 25))))


@presets
@pytest.mark.parametrize("frame", [0, 18, 21])
def test_after_a_rewind_the_stream_is_as_if_it_had_never_gone_on(
    one: Character, preset: StreamPreset, frame: int
) -> None:
    """To the bit where the new latent frame (0 or 6 here) is where a tick began anyway."""
    stream, never = start(one, preset), start(one, preset)
    stream.push("ana", babble(2.0))
    before = run(stream)
    resumed = stream.rewind(frame)
    assert frame <= resumed <= frame + 3
    assert resumed == stream.resume_frame(frame)
    assert stream.pushed_samples("ana") == 640 * frame
    kept = before[:resumed]
    stream.push("ana", babble(2.0)[640 * frame :])
    after = run(stream)
    never.push("ana", babble(2.0))
    both = kept + after
    straight = run(never)
    count = min(len(both), len(straight))
    assert count > frame + 8
    assert [f.index for f in both] == list(range(len(both)))
    np.testing.assert_array_equal(pixels(both[:count]), pixels(straight[:count]))


def test_a_rewind_makes_room_for_other_words(one: Character) -> None:
    stream = start(one, INTERACTIVE)
    stream.push("ana", babble(2.0))
    before = pixels(run(stream))
    resumed = stream.rewind(21)
    stream.push("ana", babble(2.0, seed=5))
    after = pixels(run(stream))
    assert not np.array_equal(after[: len(before) - resumed], before[resumed:])


def test_an_interrupted_speaker_leaves_the_other_one_talking(two: Character) -> None:
    stream = start(two, INTERACTIVE)
    stream.push("ana", babble(2.0))
    stream.push("ben", babble(2.0, seed=1))
    run(stream)
    stream.rewind(13, clear={"ana"})
    assert stream.pushed_samples("ana") == 13 * 640
    assert stream.pushed_samples("ben") == 32_000


def test_going_back_is_bounded_and_says_how_far(one: Character) -> None:
    stream = start(one, INTERACTIVE)
    stream.fill_silence("ana", 16_000 * 6)
    run(stream)
    stream.rewind(stream.next_frame - 100)
    with pytest.raises(BadInput, match=r"frames \d+ to \d+ are kept"):
        stream.rewind(2)
    with pytest.raises(BadInput, match="are kept"):
        stream.rewind(stream.next_frame + 1)


def test_rewinding_over_and_over_does_not_break_the_stream(one: Character) -> None:
    rng = np.random.default_rng(0)
    stream = start(one, PRESETS[4])
    for turn in range(12):
        stream.push("ana", babble(0.8, seed=turn))
        run(stream)
        stream.rewind(max(0, stream.next_frame - int(rng.integers(0, 12))))
    assert stream.next_frame > 0


def test_each_voice_moves_its_own_face_most(two: Character) -> None:
    def shown(speaking: str | None) -> np.ndarray:
        stream = start(two, INTERACTIVE)
        if speaking:
            stream.push(speaking, babble(1.0))
        return latents_of(stream)

    def latents_of(stream: StreamingGenerator) -> np.ndarray:
        for speaker in two.speaker_ids:
            stream.fill_silence(speaker, 16_000)
        while stream.ready():
            stream.tick()
        return np.stack([latent.numpy() for latent in stream.state.levels[-1].values()])

    rest = shown(None)
    by_ana, by_ben = (np.abs(shown(name) - rest).mean((0, 1, 2)) for name in ("ana", "ben"))
    assert by_ana[:2].mean() > by_ana[2:].mean()
    assert by_ben[:2].mean() < by_ben[2:].mean()


def test_an_emotion_shows_from_the_next_tick_on(one: Character) -> None:
    plain, happy = start(one, INTERACTIVE), start(one, INTERACTIVE)
    for stream in (plain, happy):
        stream.fill_silence("ana", 32_000)
    np.testing.assert_array_equal(pixels_or_none(plain), pixels_or_none(happy))
    happy.set_emotion("ana", "happy", 0.8)
    assert not np.array_equal(pixels(run(plain)), pixels(run(happy)))


@pytest.mark.parametrize("stages", [0, 1, 2])
def test_a_tick_that_is_given_up_leaves_the_stream_as_it_stood(one: Character, stages: int) -> None:
    plain, doubtful = start(one, INTERACTIVE), start(one, INTERACTIVE)
    for stream in (plain, doubtful):
        stream.push("ana", babble(2.0))
    answers = iter([False] * stages + [True])
    assert list(doubtful.begin_tick(lambda: next(answers))) == []
    assert doubtful.next_frame == plain.next_frame
    assert np.array_equal(pixels(run(plain)), pixels(run(doubtful)))


def test_a_finished_tick_says_how_long_its_stages_took(one: Character) -> None:
    stream = start(one, INTERACTIVE)
    stream.push("ana", babble(2.0))
    stream.begin_tick(lambda: True)
    assert stream.stage_ms == {}
    stream.tick()
    assert list(stream.stage_ms) == list(STAGES)
    assert all(ms > 0 for ms in stream.stage_ms.values())


def test_unknown_names_and_wrong_values_are_refused(one: Character) -> None:
    stream = start(one, INTERACTIVE)
    with pytest.raises(NotFound, match="ana"):
        stream.push("bob", babble(0.1))
    with pytest.raises(NotFound, match="happy"):
        stream.set_emotion("ana", "furious")
    with pytest.raises(BadInput, match="0 to 1"):
        stream.set_emotion("ana", "happy", 7)
    with pytest.raises(BadInput, match="one channel"):
        stream.push("ana", np.zeros((10, 2), np.float32))
    with pytest.raises(BadInput, match="finite"):
        stream.push("ana", np.full(10, np.nan, np.float32))


class SpoiltDenoiser:
    """Predicts one value that is no number, once it `is_spoilt`."""

    def __init__(self, value: float) -> None:
        self._value = value
        self._denoiser = default_engines(small_model()).denoiser
        self.is_spoilt = False

    def denoise(self, x: Tensor, step: StepInputs, window: WindowInputs) -> Tensor:
        predicted = self._denoiser.denoise(x, step, window)
        if self.is_spoilt:
            predicted.view(-1)[-1] = self._value
        return predicted


class SpoiltDecoder:
    """Shows one value that is no number."""

    def __init__(self, value: float) -> None:
        self._value = value
        self._decoder = default_engines(small_model()).decoder

    def decode(self, latent: Tensor, state: object) -> tuple[Tensor, object]:
        video, state = self._decoder.decode(latent, state)
        video = video.clone()
        video[..., 0, 0] = self._value
        return video, state


@pytest.mark.fault("broken-model")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_latents_that_are_no_numbers_end_the_stream(one: Character, value: float) -> None:
    """A model that begins to compute NaN ends its stream instead of showing nonsense."""
    denoiser, sound = SpoiltDenoiser(value), babble(2.0)
    engines = replace(default_engines(small_model()), denoiser=denoiser)
    stream = StreamingGenerator(small_model(), one, INTERACTIVE, 3, engines=engines)
    stream.push("ana", sound)
    assert stream.tick()
    denoiser.is_spoilt = True
    with pytest.raises(FloatingPointError, match="frames 1 to 4 "):
        stream.tick()


@pytest.mark.fault("broken-model")
def test_pictures_that_are_no_numbers_end_the_stream(one: Character) -> None:
    """A decoder that computes NaN ends its stream instead of showing nonsense."""
    engines = replace(default_engines(small_model()), decoder=SpoiltDecoder(float("nan")))
    stream = StreamingGenerator(small_model(), one, INTERACTIVE, 3, engines=engines)
    stream.push("ana", babble(1.0))
    with pytest.raises(FloatingPointError):
        run(stream)
