"""The stream: push the speakers' audio, get talking video.

    model, character = load_builtin(), find_character("mira")
    engines = default_engines(model)
    stream = StreamingGenerator(model, character, find_preset("interactive"), engines=engines)
    stream.push("mira", samples)             # any number of 16 kHz samples, any cut
    while stream.ready():
        for frame in stream.tick(): ...     # video frames, in order
    rest = stream.flush()

A tick makes the video `hop` latent frames longer (schedule.py explains how); it needs the audio of
every speaker up to `needed_samples`. Fill a quiet speaker's audio with silence; an idle stream is
silence of all. Any cut of the pushed audio gives the same video, bit for bit.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from runtime.audio.features import SpeakerAudio, extend, pad_silence, reaches
from runtime.character.character import Character
from runtime.errors import BadInput, NotFound, Unsupported
from runtime.models.autoencoder.pixel_planes import Layout
from runtime.stream.engines import Engines
from runtime.stream.model import StreamModel
from runtime.stream.presets import StreamPreset
from runtime.stream.state import (
    SpeakerEmotion,
    StreamState,
    advanced,
    first_latent_from,
    rewound,
)
from runtime.stream.tick import TickStages
from runtime.timing import frames_for_samples, frames_of_latent
from runtime.values import Frame, Samples


def never() -> bool:
    """No tick is cancelled."""
    return False


class StreamingGenerator:
    """One talking video of one character. All that it remembers is in `state`.

    `engines` run the model's parts. `layout` is that of the frames' pixels: rgb, or the planes that
    a video encoder takes (pixel_planes.py). `stage_ms` has the
    milliseconds of each stage of the latest tick.
    """

    def __init__(
        self,
        model: StreamModel,
        character: Character,
        preset: StreamPreset,
        seed: int = 0,
        *,
        engines: Engines,
        layout: Layout = "rgb",
    ) -> None:
        self.model = model
        self.character = character
        self.preset = preset
        self.plan = preset.plan
        self.stage_ms: Mapping[str, float] = {}
        self._speakers = {name: place for place, name in enumerate(character.speaker_ids)}
        self.stages = TickStages(model, character, preset, seed, engines=engines, layout=layout)
        self.state: StreamState = self.stages.initial_state()

    # Audio in -----------------------------------------------------------------------------

    def push(self, speaker_id: str, pcm: Samples) -> None:
        """Appends samples (N,), 16 kHz float in [-1, 1], to the speaker's audio."""
        speaker = self._index(speaker_id)
        samples = np.asarray(pcm, np.float32)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise BadInput(
                f"The audio has shape {samples.shape}, or samples that are not numbers. "
                "Push one channel of finite float samples.",
                param="pcm",
            )
        self._set_audio(speaker, extend(self.state.audio[speaker], samples))

    def fill_silence(self, speaker_id: str, until_sample: int) -> None:
        """Pads the speaker's audio with silence up to `until_sample`; longer audio stays."""
        speaker = self._index(speaker_id)
        self._set_audio(speaker, pad_silence(self.state.audio[speaker], until_sample))

    def pushed_samples(self, speaker_id: str) -> int:
        """Where the speaker's next pushed sample will lie on the stream's time line."""
        return self.state.audio[self._index(speaker_id)].stop

    def _index(self, speaker_id: str) -> int:
        """The speaker's index; NotFound lists the speakers."""
        if speaker_id in self._speakers:
            return self._speakers[speaker_id]
        raise NotFound.among("speaker", speaker_id, self._speakers, param="speaker")

    def _set_audio(self, speaker: int, audio: SpeakerAudio) -> None:
        before = self.state.audio
        self.state = replace(self.state, audio=(*before[:speaker], audio, *before[speaker + 1 :]))

    # Video out ----------------------------------------------------------------------------

    @property
    def next_frame(self) -> int:
        """Index of the first video frame that the next tick returns."""
        return self.state.next_frame

    @property
    def needed_samples(self) -> int:
        """Samples of every speaker, counted from 0, that the next tick needs."""
        return self.state.tick.needed_samples

    def ready(self) -> bool:
        """Is there enough audio of every speaker for the next tick?"""
        return reaches(self.state.audio, self.state.tick.needed_samples)

    def tick(self) -> list[Frame]:
        """The next video frames; none if there is not enough audio or the lag is filling."""
        return list(self.begin_tick())

    @torch.inference_mode()
    def begin_tick(self, is_cancelled: Callable[[], bool] = never) -> Sequence[Frame]:
        """As `tick`; on a GPU the frames may still be on their way, and the next tick may begin.

        If `is_cancelled` turns true between two stages, the tick ends without frames and the stream
        stays where it was.
        """
        if not self.ready():
            return []
        output = self.stages.run(self.state, is_cancelled)
        if output is None:
            return []
        self.state = advanced(self.state, self.plan)
        self.stage_ms = output.stage_ms
        return output.frames

    def flush(self) -> list[Frame]:
        """All frames of the audio pushed so far; ends the stream. Shorter audio is padded."""
        total = frames_for_samples(max(audio.stop for audio in self.state.audio))
        frames: list[Frame] = []
        while self.state.next_frame < total:
            for speaker_id in self.character.speaker_ids:
                self.fill_silence(speaker_id, self.needed_samples)
            frames += self.tick()
        while self.ready():
            frames += self.tick()
        return [frame for frame in frames if frame.index < total]

    # Control ------------------------------------------------------------------------------

    @staticmethod
    def resume_frame(frame: int) -> int:
        """The first new frame after a rewind to `frame`: that one, or up to three frames later."""
        return frames_of_latent(first_latent_from(frame)).start

    def rewind(self, frame: int, clear: Collection[str] | None = None) -> int:
        """Forgets the frames from `resume_frame(frame)` on; the next tick generates them anew.

        The audio of the speakers in `clear` (None: of all) ends at `frame`; the others' stays and
        is used again. Returns `resume_frame(frame)`: latent frames are kept whole. The last 4 s are
        kept; BadInput for an earlier frame.
        """
        ids = self.character.speaker_ids if clear is None else clear
        cleared = frozenset(self._index(speaker_id) for speaker_id in ids)
        self.state = rewound(self.state, self.plan, frame, cleared)
        return self.state.next_frame

    def set_emotion(self, speaker_id: str, emotion: str, strength: float = 1.0) -> None:
        """Sets the speaker's emotion from the next tick on; strength 0 (none) to 1."""
        speaker = self._index(speaker_id)
        if not self.model.dit.config.emotion:
            raise Unsupported(
                f"This model has no emotion module, so it cannot show {emotion!r}. "
                "Use a model with one.",
                param="emotion",
            )
        references = self.stages.constants.emotion_references
        if emotion not in references:
            raise NotFound.among("emotion", emotion, references, param="emotion")
        if not 0 <= strength <= 1:
            raise BadInput(f"strength is {strength}; use 0 to 1.", param="strength")
        emotions = list(self.state.emotions)
        emotions[speaker] = SpeakerEmotion(emotion, strength)
        self.state = replace(self.state, emotions=tuple(emotions))
