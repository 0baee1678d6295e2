"""The stream: push what the speakers say, get talking video.

    model, character = load_builtin(), find_character("mira")
    engines = default_engines(model)
    stream = StreamingGenerator(model, character, find_preset("interactive"), engines=engines)
    stream.push("mira", samples)             # any number of 16 kHz samples, any cut
    while stream.ready():
        for frame in stream.tick(): ...     # video frames, in order
    rest = stream.flush()

A tick makes the video `hop` latent frames longer (window_plan.py says how); it needs the sound of
every speaker up to `needed_samples`. Who is quiet is filled with silence, and idling is silence of
all. Any cut of the pushed sound gives the same video, bit for bit.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from runtime.audio.features import AudioFeatures, extend, needed_samples, window_of
from runtime.character.character import Character
from runtime.errors import BadInput, NotFound, Unsupported
from runtime.flow_matching import euler_step, noise_of_latent, noised
from runtime.models.autoencoder.pixel_planes import Layout, to_bytes
from runtime.models.dit.conditioning import Conditioning, WindowInputs
from runtime.spans import Spans, no_spans
from runtime.stream.constants import make_scene, window_cues
from runtime.stream.device_copy import to_device
from runtime.stream.engines import Engines
from runtime.stream.model import StreamModel
from runtime.stream.presets import StreamPreset
from runtime.stream.readback import HandOver
from runtime.stream.schedule import newest_frames
from runtime.stream.state import Mood, StreamState, initial_state, rewound, trimmed
from runtime.timing import frames_for_samples, frames_of_latent
from runtime.values import Frame, Samples


class StreamingGenerator:
    """One talking video of one character. Holds constants; `state` is all that it remembers.

    `engines` run the model's parts. `layout` is that of the
    frames' pixels: rgb, or the planes that a video encoder takes (pixel_planes.py).
    """

    def __init__(
        self,
        model: StreamModel,
        character: Character,
        preset: StreamPreset,
        seed: int = 0,
        spans: Spans = no_spans,
        *,
        engines: Engines,
        layout: Layout = "rgb",
    ) -> None:
        self.model = model
        self.layout = layout
        self._engines = engines
        self.character = character
        self.preset = preset
        self.plan = preset.plan
        self.seed = seed
        self._spans = spans
        self._hand_over = HandOver(model.device)
        self._features = AudioFeatures(self._engines.audio_encoder)
        self._scene = make_scene(model, character, preset, self._features)
        self._unheard: tuple[tuple[Mood, ...], WindowInputs] | None = None
        self.state: StreamState = initial_state(
            len(character.speakers), preset.steps, self._scene.decoder
        )

    # Sound in -----------------------------------------------------------------------------

    def push(self, speaker_id: str, pcm: Samples) -> None:
        """Appends samples (N,), 16 kHz float in [-1, 1], to what the speaker says."""
        speaker = self.character.speaker_index(speaker_id)
        samples = np.asarray(pcm, np.float32)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise BadInput(
                f"The sound has shape {samples.shape}, or samples that are not numbers. "
                "Push one channel of finite float samples.",
                param="pcm",
            )
        self._append(speaker, samples)

    def fill_silence(self, speaker_id: str, until_sample: int) -> None:
        """Lets the speaker be silent up to sample `until_sample`; later sound is left alone."""
        speaker = self.character.speaker_index(speaker_id)
        missing = until_sample - self.state.heard[speaker].stop
        if missing > 0:
            self._append(speaker, np.zeros(missing, np.float32))

    def heard_samples(self, speaker_id: str) -> int:
        """Where the speaker's next pushed sample will lie on the stream's time line."""
        return self.state.heard[self.character.speaker_index(speaker_id)].stop

    def _append(self, speaker: int, samples: Samples) -> None:
        heard = list(self.state.heard)
        heard[speaker] = extend(heard[speaker], samples)
        self.state = replace(self.state, heard=tuple(heard))

    # Video out ----------------------------------------------------------------------------

    @property
    def next_frame(self) -> int:
        """Index of the first video frame that the next tick hands out."""
        return self.state.next_frame

    @property
    def needed_samples(self) -> int:
        """Samples of every speaker, counted from 0, that the next tick needs."""
        return needed_samples(self.plan.heard_before(self.state.at) - 1)

    def ready(self) -> bool:
        """Has every speaker said enough for the next tick?"""
        needed = self.needed_samples
        return all(heard.stop >= needed for heard in self.state.heard)

    def tick(self) -> list[Frame]:
        """The next video frames; none when there is not enough sound yet or the lag is filling."""
        return list(self.begin_tick())

    @torch.inference_mode()
    def begin_tick(self, is_unwanted: Callable[[], bool] = lambda: False) -> Sequence[Frame]:
        """As `tick`; on a GPU the frames are on their way and the next tick may begin meanwhile.

        Where `is_unwanted` turns true between two stages the tick is given up: no frames, and the
        stream stands where it stood.
        """
        if not self.ready():
            return []
        state = self.state
        with self._spans("audio"):
            self._hear(range(max(0, self.plan.oldest_seen(state.at)), state.at + self.plan.hop))
        told: dict[range, WindowInputs] = {}  # with shift 0 all steps share one window
        for step in range(self.plan.steps):
            if is_unwanted():
                return []
            self._denoise(step, told)
        if is_unwanted():
            return []
        final = max(state.done, self.plan.final_before(state.at))
        with self._spans("decode"):
            frames = self._decode(range(state.done, final))
        advanced = replace(state, at=state.at + self.plan.hop, done=final)
        self.state = trimmed(advanced, self.plan)
        return frames

    def flush(self) -> list[Frame]:
        """All frames of the sound pushed so far; ends the stream. The quieter are silent."""
        total = frames_for_samples(max(heard.stop for heard in self.state.heard))
        frames: list[Frame] = []
        while self.next_frame < total:
            for speaker_id in self.character.speaker_ids:
                self.fill_silence(speaker_id, self.needed_samples)
            frames += self.tick()
        return [frame for frame in frames if frame.index < total]

    # Control ------------------------------------------------------------------------------

    def rewind(self, frame_index: int, clear: Collection[str] | None = None) -> int:
        """Forgets the pictures from `frame_index` on, to be generated anew: an interruption.

        The sound of the speakers in `clear` (None: of all) ends at that frame too; the others' is
        heard again. Latent frames are kept whole, so the first new picture may come up to three
        frames later: its index is returned. The last 4 s are kept; earlier raises BadInput.
        """
        ids = self.character.speaker_ids if clear is None else clear
        cleared = frozenset(self.character.speaker_index(speaker_id) for speaker_id in ids)
        self.state = rewound(self.state, frame_index, cleared)
        return self.state.next_frame

    def set_emotion(self, speaker_id: str, emotion: str, strength: float = 1.0) -> None:
        """From the next tick on the speaker is in that mood; strength 0 (none) to 1."""
        speaker = self.character.speaker_index(speaker_id)
        if not self.model.dit.config.emotion:
            raise Unsupported(
                f"This model has no emotion module, so {emotion!r} cannot be shown. "
                "Use a model with one.",
                param="emotion",
            )
        if emotion not in self._scene.moods:
            raise NotFound.among("emotion", emotion, self._scene.moods, param="emotion")
        if not 0 <= strength <= 1:
            raise BadInput(f"strength is {strength}; use 0 to 1.", param="strength")
        moods = list(self.state.moods)
        moods[speaker] = Mood(emotion, strength)
        self.state = replace(self.state, moods=tuple(moods))

    # One tick -----------------------------------------------------------------------------

    def _hear(self, latents: range) -> None:
        """Encodes what these latent frames hear, where it is not known yet."""
        for latent in latents:
            if latent not in self.state.sounds:
                self.state.sounds[latent] = self._sound(latent)

    def _sound(self, latent: int) -> Tensor:
        """Features (S, 4, 10, layers, width); the encoder runs for those who are not silent."""
        windows = [window_of(heard, latent) for heard in self.state.heard]
        loud = [speaker for speaker, window in enumerate(windows) if window.any()]
        sound = self._scene.silence.repeat(len(windows), 1, 1, 1, 1)
        if loud:
            batch = torch.from_numpy(np.stack([windows[speaker] for speaker in loud]))
            encoded = self._features.encode(to_device(batch, self.model.device))
            for speaker, features in zip(loud, encoded, strict=True):
                sound[speaker] = features
        return sound

    def _denoise(self, step: int, told: dict[range, WindowInputs]) -> None:
        """Moves the tick's latent frames from level `step` to the next."""
        state, scene = self.state, self._scene
        seen, moved = self.plan.seen(state.at, step), self.plan.moved(state.at, step)
        if moved.stop <= state.origin:
            return
        if seen not in told:
            with self._spans("conditions"):
                told[seen] = self._window(seen)
        noisy = torch.stack([self._latent(step, n) for n in seen], dim=1)[None]
        with self._spans("denoise"):
            out = self._predicted(noisy, step, told[seen])
        sigma, following = scene.sigmas[step], scene.sigmas[step + 1]
        newest = noisy[:, :, -len(moved) :]
        if self.model.dit.config.prediction == "residual":
            clean = told[seen].still[:, :, -len(moved) :] + out
            out = (newest - clean) / sigma
        stepped = euler_step(newest, out, sigma, following)[0]
        for n in moved:
            if n >= state.origin:
                state.levels[step + 1][n] = stepped[:, n - moved.start]

    def _predicted(self, noisy: Tensor, step: int, told: WindowInputs) -> Tensor:
        """The prediction for the window's last `hop` latent frames; zero at tokens left out."""
        strip, denoiser = self._scene.strip, self._engines.denoiser
        given = noisy if strip is None else strip.cut(noisy)
        out = denoiser.denoise(given, self._scene.steps[step], told)[:, :, -self.plan.hop :]
        return out if strip is None else strip.paste(out)

    def _window(self, seen: range) -> WindowInputs:
        """What the denoiser is told about a window, whatever the step."""
        silence = self._scene.silence.expand(len(self.state.heard), -1, -1, -1, -1)
        sounds = [self.state.sounds[n] if n >= 0 else silence for n in seen]
        count = self.model.dit.config.audio_frame_count(len(seen))
        cues = window_cues(self.seed, len(self.state.heard), newest_frames(seen, count))
        conditions = self._scene.conditions_of(
            torch.cat(sounds, dim=1)[:, -count:],
            to_device(torch.from_numpy(cues), self.model.device),
            self.state.moods,
        )
        with self.model.precision():
            audio = self.model.dit.audio_keys_values(conditions, len(seen))
            return replace(self._without_sound(conditions, len(seen)), audio=audio)

    def _without_sound(self, conditions: Conditioning, latent_frames: int) -> WindowInputs:
        """All that windows of the present moods are told, but for their sound: kept while these
        moods last.
        """
        if self._unheard is None or self._unheard[0] != self.state.moods:
            strip = self._scene.strip
            tokens = None if strip is None else strip.tokens
            window = self.model.dit.prepare_window(conditions, latent_frames, tokens)
            window = replace(window, tokens=None, newest=self.plan.hop)
            self._unheard = self.state.moods, window
        return self._unheard[1]

    def _latent(self, level: int, latent: int) -> Tensor:
        """Latents (C, h, w) at a noise level; before the stream the noised still picture."""
        levels, still = self.state.levels, self._scene.still
        if latent not in levels[0]:
            channels, height, width = still.shape
            noise = noise_of_latent(self.seed, latent, (channels, height, width))
            levels[0][latent] = to_device(noise, self.model.device)
        if level == 0:
            return levels[0][latent]
        if latent < 0:
            return noised(still, levels[0][latent], self._scene.sigmas[level])
        return levels[level][latent]

    def _decode(self, latents: range) -> Sequence[Frame]:
        """The pictures of final latent frames, on their way to the host."""
        clean = [self.state.levels[-1][latent] for latent in latents]
        indices = [frame for latent in latents for frame in frames_of_latent(latent)]
        if not indices:
            return []
        return self._hand_over.frames(indices, clean, lambda: self._decoded(latents, clean))

    def _decoded(self, latents: range, clean: Sequence[Tensor]) -> Tensor:
        """Pixels (F, ...) on the device; the decoder's state is kept after each latent frame."""
        state = self.state
        shown: list[Tensor] = []
        for latent, one in zip(latents, clean, strict=True):
            pictures, state.decoders[latent] = self._engines.decoder.decode(
                one[None], state.decoders[latent - 1]
            )
            shown.append(self._pixels(pictures[0, :, -len(frames_of_latent(latent)) :]))
        return torch.cat(shown)

    def _pixels(self, pictures: Tensor) -> Tensor:
        """Pictures (3, F, H, W) in [-1, 1] as bytes (F, ...) in the stream's layout."""
        if self.layout == "rgb":
            pixels = (pictures + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
            return torch.stack(pixels.unbind(), dim=-1)
        return to_bytes((pictures.movedim(1, 0) + 1) / 2, self.layout)
