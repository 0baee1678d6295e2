"""The released Whisper encoder behind a stream's log-mel.

Whisper was trained on clips of 30 s whose floor is eight decades below the clip's loudest band. A
stream knows neither its end nor its maximum. So the 2 s of audio behind a latent frame (see
audio/features.py) are encoded as a clip that is silent afterwards, and the stream's fixed floor is
that of a clip whose loudest band reaches 100; speech at an ordinary level comes near to that.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from runtime.audio.windows import CONTEXT_STEPS
from runtime.models.audio_encoder import AudioEncoder, AudioEncoderConfig

SILENCE = -0.5  # the stream's floor in Whisper's log-mel: (log10(1e-6) + 4) / 4


class LiveWhisper(nn.Module):
    """Log-mel of a stream's window (B, 80, 2 M) to hidden states (B, M, layers + 1, width)."""

    def __init__(self, encoder: AudioEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def config(self) -> AudioEncoderConfig:
        return self.encoder.config

    def forward(self, mel: Tensor) -> Tensor:
        steps = mel.shape[-1] // 2
        assert steps <= CONTEXT_STEPS, f"{steps} steps, a stream has at most {CONTEXT_STEPS}"
        # The stream's (log10 + 3) / 3 as Whisper's (log10 + 4) / 4.
        whisper = (3.0 * mel + 1.0) / 4.0
        missing = 2 * self.config.max_steps - mel.shape[-1]
        states: Tensor = self.encoder(functional.pad(whisper, (0, missing), value=SILENCE))
        return states[:, :steps]
