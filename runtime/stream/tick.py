"""The stages of one tick on one device: audio features, conditions, denoising steps, decoding."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from runtime.audio.features import SpeakerAudio, audio_windows, encode_windows
from runtime.character.character import Character
from runtime.flow_matching import euler_step, noise_of_latent, noised
from runtime.models.autoencoder.pixel_planes import Layout
from runtime.models.dit.conditioning import WindowInputs
from runtime.stream.constants import WindowConditioning, stream_constants
from runtime.stream.engines import Engines
from runtime.stream.model import StreamModel
from runtime.stream.presets import StreamPreset
from runtime.stream.readback import FrameReadback, to_device
from runtime.stream.state import StreamState, initial_state
from runtime.values import Frame

STAGES = ("audio", "conditions", "denoise", "decode")  # of a tick, in order


@dataclass(frozen=True, slots=True)
class TickOutput:
    """The new frames of a tick, and the milliseconds of each of STAGES.

    On a GPU these are the times of queueing the work.
    """

    frames: Sequence[Frame]
    stage_ms: Mapping[str, float]


class TickStages:
    """The stages, as methods that update the dicts of a `StreamState`. Holds constants only."""

    def __init__(
        self,
        model: StreamModel,
        character: Character,
        preset: StreamPreset,
        seed: int,
        *,
        engines: Engines,
        layout: Layout = "rgb",
    ) -> None:
        self.plan = preset.plan
        self.constants = stream_constants(model, character, preset, engines.audio_encoder)
        self.conditioning = WindowConditioning(model, self.constants, preset, seed)
        self._speakers = len(character.speakers)
        self._seed = seed
        self._device = model.device
        self._is_residual = model.dit.config.prediction == "residual"
        self._engines = engines
        self._readback = FrameReadback(engines.decoder, model.device, layout)

    def initial_state(self) -> StreamState:
        """A stream before its first tick."""
        return initial_state(self._speakers, self.plan, self.constants.decoder_state)

    def run(self, state: StreamState, is_cancelled: Callable[[], bool]) -> TickOutput | None:
        """The new frames; None if `is_cancelled` was true between two stages.

        A cancelled tick may run again: what it has computed is computed anew, with the same result.
        """
        times_s = [time.perf_counter()]
        self.encode_audio(state)
        times_s.append(time.perf_counter())
        windows = self.window_inputs(state, range(self.plan.steps))
        times_s.append(time.perf_counter())
        for step in range(self.plan.steps):
            if is_cancelled():
                return None
            self.denoise(state, step, windows)
        if is_cancelled():
            return None
        times_s.append(time.perf_counter())
        frames = self.decode(state, state.finishes)
        times_s.append(time.perf_counter())
        stage_ms = [1000 * (stop - start) for start, stop in pairwise(times_s)]
        return TickOutput(frames, dict(zip(STAGES, stage_ms, strict=True)))

    def encode_audio(self, state: StreamState) -> None:
        """Encodes the audio of the tick's latent frames, unless that is done already."""
        for latent in state.tick.audio:
            if latent not in state.audio_features:
                state.audio_features[latent] = self._audio_features(state.audio, latent)

    def _audio_features(self, audio: Sequence[SpeakerAudio], latent: int) -> Tensor:
        """Features (S, 4, 10, layers, width); the encoder runs for speakers who are not silent."""
        windows = audio_windows(audio, latent)
        active = np.flatnonzero(windows.any(axis=1))
        features = self.constants.silence.repeat(len(windows), 1, 1, 1, 1)
        if len(active):
            batch = to_device(torch.from_numpy(windows[active]), self._device)
            encoded = encode_windows(self._engines.audio_encoder, batch)
            for speaker, one in zip(active, encoded, strict=True):
                features[speaker] = one
        return features

    def window_inputs(self, state: StreamState, steps: range) -> dict[range, WindowInputs]:
        """The denoiser's inputs by window; without a shift all steps share one window."""
        windows: dict[range, WindowInputs] = {}
        for step in steps:
            call = state.tick.steps[step]
            if call.updated.stop > state.origin and call.window not in windows:
                windows[call.window] = self.conditioning.inputs(
                    call.window, state.audio_features, state.emotions
                )
        return windows

    def denoise(self, state: StreamState, step: int, windows: dict[range, WindowInputs]) -> None:
        """Moves the step's latent frames from noise level `step` to the next."""
        call = state.tick.steps[step]
        if call.updated.stop <= state.origin:
            return
        inputs = windows[call.window]
        noisy = torch.stack([self._latent(state, step, n) for n in call.window], dim=1)[None]
        predicted = self._predict(noisy, step, inputs)
        sigma, next_sigma = self.constants.sigmas[step], self.constants.sigmas[step + 1]
        newest = noisy[:, :, -len(call.updated) :]
        if self._is_residual:
            clean = inputs.still[:, :, -len(call.updated) :] + predicted
            predicted = (newest - clean) / sigma
        stepped = euler_step(newest, predicted, sigma, next_sigma)[0]
        for n in call.updated:
            if n >= state.origin:
                state.levels[step + 1][n] = stepped[:, n - call.updated.start]

    def _predict(self, noisy: Tensor, step: int, inputs: WindowInputs) -> Tensor:
        """The prediction for the window's last `hop` latent frames; zero at inactive tokens."""
        active, denoiser = self.constants.active_tokens, self._engines.denoiser
        latents = noisy if active is None else active.take(noisy)
        predicted = denoiser.denoise(latents, self.constants.steps[step], inputs)
        predicted = predicted[:, :, -self.plan.hop :]
        return predicted if active is None else active.put(predicted)

    def _latent(self, state: StreamState, level: int, latent: int) -> Tensor:
        """Latents (C, h, w) at a noise level; before the stream, the noised reference image."""
        levels, still = state.levels, self.constants.still
        if latent not in levels[0]:
            channels, height, width = still.shape
            noise = noise_of_latent(self._seed, latent, (channels, height, width))
            levels[0][latent] = to_device(noise, self._device)
        if level == 0:
            return levels[0][latent]
        if latent < 0:
            return noised(still, levels[0][latent], self.constants.sigmas[level])
        return levels[level][latent]

    def decode(self, state: StreamState, latents: range) -> Sequence[Frame]:
        """The video frames of final latent frames, on a GPU possibly still on their way."""
        return self._readback.frames(latents, state.levels[-1], state.decoder_states)
