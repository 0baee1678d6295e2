"""Models for the processes of a pipeline, by functions that they can import."""

import torch

from runtime.weights.checkpoint import AvatarModel
from tests.support.models.small_world import small_model


def load_small(device: torch.device) -> AvatarModel:
    return small_model().to(device)


def fail_on_other_ranks(device: torch.device) -> AvatarModel:
    """The caller's process names its CPU without a number."""
    if device.index is not None:
        raise MemoryError("no room for the model")
    return small_model()
