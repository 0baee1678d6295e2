"""Which weights go to the device; the device without memory ("meta") stands for a GPU."""

import pytest
import torch

from runtime.models.dit.dit import DiT
from runtime.models.dit.layers import Modulation
from runtime.models.fp8.storage import Fp8Linear, quantize
from runtime.weights.device_weights import OffloadedModulation, bytes_on_device, load_to_device
from tests.support.models.small_dit import SMALL, random_dit

META = torch.device("meta")


def on_device(dit: DiT) -> set[str]:
    return {name for name, value in dit.named_parameters() if value.device == META}


@pytest.mark.parametrize("is_fp8", [False, True])
@torch.inference_mode()
def test_a_visiting_modulation_computes_the_same(is_fp8: bool) -> None:
    modulation = Modulation(16, 6).requires_grad_(False)
    if is_fp8:
        narrow = Fp8Linear(16, 96)
        narrow.weight.data, scale = quantize(modulation.linear.weight)
        narrow.weight_scale.copy_(scale)
        modulation.linear = narrow  # type: ignore[assignment]
    x = torch.randn(2, 16)
    assert torch.equal(OffloadedModulation(modulation)(x), modulation(x))


def test_all_but_the_modulations_go_to_the_device() -> None:
    dit = random_dit()
    names = set(dict(dit.named_parameters()))
    expected = bytes_on_device(dit)
    load_to_device(dit, META)
    left = names - on_device(dit)
    assert left == {name for name in names if "_mod.linear" in name or ".modulation." in name}
    placed = sum(2 * value.numel() for value in dit.parameters() if value.device == META)
    assert placed == expected == bytes_on_device(dit)


def test_blocks_that_engines_run_stay_on_the_host() -> None:
    dit = random_dit()
    load_to_device(dit, META, blocks=False)
    assert not any(name.startswith(("double_blocks", "single_blocks")) for name in on_device(dit))
    assert any(name.startswith("audio_adapter_blocks") for name in on_device(dit))


def test_the_names_of_weights_stay() -> None:
    dit = random_dit()
    before = list(dit.state_dict())
    load_to_device(dit, META)
    assert list(dit.state_dict()) == before


def test_on_a_cpu_nothing_moves() -> None:
    dit = DiT(SMALL)
    load_to_device(dit, torch.device("cpu"))
    assert isinstance(dit.double_blocks[0].img_mod, Modulation)
