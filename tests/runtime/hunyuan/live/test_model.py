"""A released folder, of tiny width, streams: presets, carried state, TAEHV's decoder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.audio.features import log_mel
from runtime.audio.windows import CONTEXT_STEPS, N_FFT, WINDOW_SAMPLES
from runtime.character.character import Character
from runtime.engine.choice import open_engines, stream_shape
from runtime.engine.kinds import EngineChoice
from runtime.engine.torch_engine import default_engines
from runtime.errors import BadInput, CheckpointError, NotFound, Unsupported
from runtime.hunyuan.encoders.audio import whisper_log_mel
from runtime.hunyuan.encoders.loadable import release_encoders
from runtime.hunyuan.layout import ReleasedLayout
from runtime.hunyuan.live.model import (
    BESIDE_GB,
    LiveRelease,
    check_free,
    load_live,
    weights_gb,
)
from runtime.hunyuan.live.texts import CharacterTexts
from runtime.hunyuan.live.whisper import SILENCE
from runtime.hunyuan.weights.loading import empty_dit
from runtime.models.dit.config import RELEASED
from runtime.open_model import LiveOptions, load_on
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import RELEASED_PRESETS, presets_of
from runtime.timing import SAMPLE_RATE
from runtime.weights.device_weights import bytes_on_device
from tests.support.models.small_world import babble, pixels, run, small_character
from tests.support.models.taehv_file import write_taehv
from tests.support.released.released_folder import TINY_SHALLOW
from tests.support.released.released_world import ReleasedWorld

pytestmark = pytest.mark.slow

MODULATED = ("_mod.linear.weight", "_mod.linear.bias", ".modulation.linear.weight",
             ".modulation.linear.bias")  # fmt: skip
CPU = torch.device("cpu")
PRESET = replace(RELEASED_PRESETS["interactive"], window=3, hop=2, steps=2)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_taehv(tmp_path_factory.mktemp("taehv") / "taehv.pth")


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Character:
    return small_character(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def folder(released_world: ReleasedWorld) -> Path:
    return released_world.folder / "weights"


@pytest.fixture(scope="module")
def options(released_world: ReleasedWorld, decoder: Path, character: Character) -> LiveOptions:
    embeddings = released_world.folder / "embeddings"
    return LiveOptions("fp32", decoder, embeddings, characters=(character,))


@pytest.fixture(scope="module")
def model(folder: Path, options: LiveOptions) -> LiveRelease:
    return load_live(folder, CPU, options)


Video = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def video(model: LiveRelease, character: Character) -> Video:
    def make(*pieces: np.ndarray, **options: object) -> np.ndarray:
        options.setdefault("engines", default_engines(model))
        stream = StreamingGenerator(model, character, PRESET, **options)
        frames = []
        for piece in pieces:
            stream.push("ana", piece)
            frames += run(stream)
        return pixels(frames)

    return make


def test_a_released_folder_streams(video: Video) -> None:
    shown = video(babble(1.0))
    assert shown.shape == (21, 64, 64, 3)
    assert shown.std() > 0


def test_the_cut_of_the_sound_does_not_matter(video: Video) -> None:
    sound = babble(1.0)
    assert np.array_equal(video(sound), video(sound[:5000], sound[5000:5100], sound[5100:]))


def test_the_audio_changes_the_frames(video: Video) -> None:
    assert not np.array_equal(video(babble(1.0)), video(np.zeros(SAMPLE_RATE, np.float32)))


def test_planes_for_the_encoder_show_the_same_pictures(video: Video) -> None:
    av = pytest.importorskip("av")
    planes = video(babble(0.5), layout="i420")
    assert planes.shape[1:] == (96, 64)
    shown = av.VideoFrame.from_ndarray(planes[-1], format="yuv420p").to_ndarray(format="rgb24")
    luma = np.array([0.299, 0.587, 0.114])
    expected = video(babble(0.5))[-1]
    assert np.abs(shown @ luma - expected @ luma).mean() < 2


def test_padding_of_the_text_never_reaches_the_blocks(
    model: LiveRelease, character: Character
) -> None:
    prompt = model.prompt_of(character)
    assert prompt.tokens < len(prompt.states)
    stream = StreamingGenerator(model, character, PRESET, engines=default_engines(model))
    step = stream.stages.constants.steps[0]
    assert step.text_mask is None
    assert step.text.shape[1] == prompt.tokens
    assert stream_shape(model, character, 3).text_tokens == prompt.tokens


def test_the_picture_is_encoded_once_and_cached(options: LiveOptions, model: LiveRelease) -> None:
    assert options.embeddings is not None
    assert len(list(options.embeddings.glob("live-llava-*"))) == 1
    assert len(list(options.embeddings.glob("live-clip-*"))) == 1


def test_cached_texts_need_no_encoder(
    folder: Path, options: LiveOptions, model: LiveRelease, character: Character
) -> None:
    def must_not_load() -> object:
        raise AssertionError("it was kept")

    encoders = release_encoders(folder, CPU, torch.float32)
    bare = replace(
        encoders,
        llava=replace(encoders.llava, load=must_not_load),
        clip=replace(encoders.clip, load=must_not_load),
    )
    again = CharacterTexts(bare, options.embeddings, CPU).of(character)
    assert torch.equal(again.states, model.prompt_of(character).states)


@torch.inference_mode()
def test_whisper_features_of_a_stream_are_those_of_a_clip(model: LiveRelease) -> None:
    """The 2 s of a stream's window, as a separate clip. The difference is the clip's floor,
    which lies eight decades below its maximum, and its edges.
    """
    window = babble(3.0)[:WINDOW_SAMPLES]
    live = model.audio_encoder(log_mel(torch.from_numpy(window)[None]))
    clip = whisper_log_mel(window[N_FFT // 2 :])  # column 0 of both is centred on sample 200
    whole = model.audio_encoder.encoder(clip)[:, :CONTEXT_STEPS]
    assert live.shape == whole.shape
    assert (live - whole).norm() < 0.05 * whole.norm()


@torch.inference_mode()
def test_whispers_floor_is_the_streams_silence(model: LiveRelease) -> None:
    silence = log_mel(torch.zeros(1, WINDOW_SAMPLES))
    assert torch.allclose((3 * silence + 1) / 4, torch.tensor(SILENCE))


def test_fp8_weights_stream(folder: Path, options: LiveOptions, character: Character) -> None:
    model = load_live(folder, CPU, replace(options, precision="fp8"))
    engines = open_engines(EngineChoice("torch", "fp8"), model, stream_shape(model, character, 3))
    stream = StreamingGenerator(model, character, PRESET, engines=engines)
    stream.push("ana", babble(0.5))
    assert len(run(stream)) > 0


def test_an_engine_computes_in_the_precision_of_the_loaded_weights(
    model: LiveRelease, character: Character
) -> None:
    with pytest.raises(Unsupported, match=r"loaded in fp32, but torch was asked for fp8"):
        open_engines(EngineChoice("torch", "fp8"), model, stream_shape(model, character, 3))


def test_without_a_decoder_the_error_names_its_source(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"taehv\.pth is missing.*--decoder"):
        load_live(folder, CPU)


@pytest.mark.parametrize(
    ("precision", "advice"), [("bf16", "Ask for --precision fp8"), ("fp8", "Use a larger GPU")]
)
def test_too_little_memory_is_an_error_before_anything_is_loaded(
    precision: str, advice: str
) -> None:
    with pytest.raises(Unsupported, match=rf"RTX 4090 has 22\.5 GB free.*19\.6 GB in .*{advice}"):
        check_free(22.5, 19.6, "RTX 4090", precision)
    check_free(24.0, 19.6, "RTX 4090", precision)


def test_only_weights_that_the_device_uses_are_on_it(folder: Path) -> None:
    layout = ReleasedLayout.find(folder)
    together, blocks_away = (weights_gb(layout, "bf16", on_device) for on_device in (True, False))
    model = empty_dit(TINY_SHALLOW, "bf16")
    modulations = sum(p.numel() for n, p in model.named_parameters() if n.endswith(MODULATED))
    every = sum(p.numel() for p in model.parameters())
    assert together == pytest.approx(2e-9 * (every - modulations))
    blocks = [*model.double_blocks, *model.single_blocks]
    inner = sum(p.numel() for block in blocks for p in block.parameters()) - modulations
    assert blocks_away == pytest.approx(2e-9 * (every - modulations - inner))


def test_the_13_b_weights_without_modulations_fit_20_gb_in_fp8() -> None:
    placed = {form: bytes_on_device(empty_dit(RELEASED, form)) / 1e9 for form in ("bf16", "fp8")}
    assert placed["fp8"] == pytest.approx(10.5, abs=0.5)
    assert placed["fp8"] + BESIDE_GB < 20
    assert placed["bf16"] == pytest.approx(19.2, abs=0.5)


def test_a_released_folder_has_its_own_presets(folder: Path) -> None:
    assert presets_of(folder)["balanced"].window == 9
    assert presets_of(None)["balanced"].window == 3


def test_a_precision_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(NotFound, match="bf16, fp32, fp8"):
        load_on(folder, CPU, LiveOptions(precision="int4"))


def test_only_a_released_folder_takes_a_decoder(decoder: Path) -> None:
    with pytest.raises(BadInput, match="only a released folder"):
        load_on(None, CPU, LiveOptions(decoder=decoder))
