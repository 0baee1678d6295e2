"""The released model for offline clips: the choice of weights and devices, and loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from runtime.errors import Unsupported
from runtime.hunyuan.encoders.faces import DEFAULT_MODELS
from runtime.hunyuan.layout import Form, ReleasedLayout
from runtime.hunyuan.offline.guided_dit import DevicePlacement
from runtime.hunyuan.vae.autoencoder import ReleasedVae, load_vae
from runtime.hunyuan.weights.loading import load_dit
from runtime.hunyuan.weights.lora import Lora
from runtime.models.dit.dit import DiT
from runtime.weights.offload import LayerOffload, turns_of


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which weights to use, and where they run.

    With `low_memory` the transformer's blocks and the step cache stay in host memory, the blocks
    are copied to the device in turn, and the guidance branches run one after the other; the results
    are the same. Autoencoder and encoders are float16 on a GPU, as in the release, float32 on a
    CPU.
    """

    weights: Path
    device: torch.device
    form: Form = "bf16"
    dtype: torch.dtype = torch.bfloat16
    loras: tuple[Lora, ...] = ()
    low_memory: bool = False
    embeddings: Path | None = None  # a folder that caches the encoders' results
    face_models: Path = DEFAULT_MODELS

    def __post_init__(self) -> None:
        if self.device.type not in ("cuda", "cpu"):
            raise Unsupported(
                f"The device is {self.device}. Use cuda or cpu.",
                param="device",
            )
        gpus = torch.cuda.device_count()
        if self.device.type == "cuda" and (self.device.index or 0) >= gpus:
            raise Unsupported(
                f"The device is {self.device}; PyTorch {torch.__version__} finds {gpus} NVIDIA "
                "GPUs. Install its CUDA build and a driver, or pass --device cpu, which takes "
                "days for the 13 B model.",
                param="device",
            )

    @property
    def other_dtype(self) -> torch.dtype:
        """The number type of autoencoder and text encoders."""
        return torch.float32 if self.device.type == "cpu" else torch.float16

    @property
    def placement(self) -> DevicePlacement:
        store = torch.device("cpu") if self.low_memory else self.device
        return DevicePlacement(self.device, store, branches_apart=self.low_memory)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The transformer and the autoencoder, and the devices that they run on."""

    dit: DiT
    vae: ReleasedVae
    placement: DevicePlacement


def load_model(choice: ModelChoice) -> LoadedModel:
    """Loads transformer and autoencoder to the devices that `choice` names."""
    layout = ReleasedLayout.find(choice.weights)
    there = torch.device("cpu") if choice.low_memory else choice.device
    dit = load_dit(choice.weights, there, choice.dtype, choice.loras, choice.form)
    if choice.low_memory:
        LayerOffload(dit, turns_of(dit), choice.device)  # its hooks live as long as the model
    vae = load_vae(layout.vae, choice.device, choice.other_dtype)
    return LoadedModel(dit, vae, choice.placement)
