"""Sizes of the video transformer (MM-DiT): the released 13 B model and the built-in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from runtime.errors import CheckpointError
from runtime.timing import FRAMES_PER_LATENT

Prediction = Literal["velocity", "residual"]
Injection = Literal["token", "channel", "add"]


@dataclass(frozen=True, slots=True)
class DiTConfig:
    """Everything that decides the shapes of the model and the meaning of its output.

    The last five fields are additions to HunyuanVideo-Avatar. With their defaults the state dict
    has exactly the names of its checkpoint.
    """

    hidden_size: int
    heads: int
    double_blocks: int
    single_blocks: int
    mlp_ratio: float = 4.0
    patch_size: tuple[int, int, int] = (1, 2, 2)  # latent frames, rows, columns per token
    rope_dims: tuple[int, int, int] = (16, 56, 56)  # of each head: time, rows, columns
    rope_theta: float = 256.0
    in_channels: int = 16
    out_channels: int = 16
    text_dim: int = 4096
    pooled_text_dim: int = 768
    refiner_blocks: int = 2
    audio_steps: int = 10  # encoder steps around each video frame
    audio_layers: int = 5  # encoder hidden states per step
    audio_dim: int = 384
    audio_hidden: int = 1024
    audio_tokens: int = 4  # tokens per video frame
    adapter_dim: int = 1024
    emotion: bool = False  # has the Audio Emotion Module (paper eq. 6)
    motion_cues: int = 0  # numbers per video frame for blinks, gaze and sway; 0: no module
    frame_maps: bool = False  # a projection of the audio for each of a latent frame's four frames;
    # windows then need audio for four frames of the first latent frame too. Cues always have one.
    prediction: Prediction = "velocity"  # "residual": the output is added to the reference
    injection: Injection = "add"  # of the reference image into the video: `image_injection`

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads or self.hidden_size % 4:
            raise CheckpointError(
                f"hidden_size {self.hidden_size} must be a multiple of heads {self.heads} and of 4."
            )
        if sum(self.rope_dims) != self.head_dim:
            raise CheckpointError(
                f"rope_dims {self.rope_dims} sum to {sum(self.rope_dims)}; they must sum to the "
                f"size of a head, hidden_size / heads = {self.head_dim}."
            )
        if self.prediction not in ("velocity", "residual"):
            raise CheckpointError(
                f"prediction {self.prediction!r} must be 'velocity' or 'residual'."
            )
        if self.injection not in get_args(Injection):
            raise CheckpointError(
                f"injection {self.injection!r} must be one of {', '.join(get_args(Injection))}."
            )
        if self.patch_size[0] != 1:
            raise CheckpointError(f"patch_size {self.patch_size} must be 1 in time.")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.heads

    def audio_frame_count(self, latent_frames: int) -> int:
        """Frames of audio for a window of T latent frames: 4 T with `frame_maps`, or 4 T - 3.

        With 4 T - 3 the first latent frame uses the audio of its last video frame four times, as in
        the release.
        """
        missing = 0 if self.frame_maps else FRAMES_PER_LATENT - 1
        return FRAMES_PER_LATENT * latent_frames - missing

    @property
    def mlp_size(self) -> int:
        return int(self.hidden_size * self.mlp_ratio)

    @property
    def adapters(self) -> int:
        """One audio adapter after every odd double block (1, 3, 5, ...)."""
        return self.double_blocks // 2

    @property
    def patch_values(self) -> int:
        """Output numbers per token."""
        return self.out_channels * self.patch_size[0] * self.patch_size[1] * self.patch_size[2]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DiTConfig:
        """The configuration that `to_dict` wrote, with lists for tuples. Raises CheckpointError."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise CheckpointError(
                f"The model's description has unknown fields {', '.join(unknown)}. Known fields "
                f"are {', '.join(sorted(known))}."
            )
        try:
            as_written: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in values.items()
            }
            return cls(**as_written)
        except TypeError as error:
            raise CheckpointError(f"The model's description is incomplete: {error}.") from error

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


# The released "HYVideo-T/2": 12,991,493,184 parameters.
RELEASED = DiTConfig(hidden_size=3072, heads=24, double_blocks=20, single_blocks=40)

# The built-in model: the same architecture in miniature, fast enough for two CPU cores.
TINY = DiTConfig(
    hidden_size=160,
    heads=5,
    double_blocks=4,
    single_blocks=2,
    rope_dims=(8, 12, 12),
    patch_size=(1, 4, 4),
    in_channels=48,
    out_channels=48,
    text_dim=64,
    pooled_text_dim=64,
    refiner_blocks=1,
    audio_dim=64,
    audio_hidden=256,
    adapter_dim=160,
    emotion=True,
    motion_cues=8,
    frame_maps=True,
    prediction="residual",
)
