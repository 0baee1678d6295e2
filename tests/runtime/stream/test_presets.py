import pytest

from runtime.errors import NotFound
from runtime.stream.presets import PRESETS, RELEASED_PRESETS, find_preset, presets_of


def test_the_interactive_preset_has_no_lag_and_the_smallest_hop() -> None:
    interactive = find_preset("interactive")
    assert interactive.lag_ms == 0
    assert interactive.hop_ms == 160


@pytest.mark.parametrize("presets", [PRESETS, RELEASED_PRESETS], ids=["built-in", "released"])
def test_presets_trade_work_for_delay(presets) -> None:
    """Work: latent frames that the denoiser computes for each new one."""
    delays = [preset.hop_ms + preset.lag_ms for preset in presets.values()]
    work = [preset.steps * preset.window / preset.hop for preset in presets.values()]
    assert delays == sorted(set(delays))
    assert work == sorted(set(work), reverse=True)


def test_both_kinds_of_model_have_presets_of_the_same_names() -> None:
    assert list(PRESETS) == list(RELEASED_PRESETS)


def test_a_folder_without_our_own_transformer_is_a_released_one(tmp_path) -> None:
    assert presets_of(None) is PRESETS
    assert presets_of(tmp_path) is RELEASED_PRESETS
    (tmp_path / "dit.json").touch()
    assert presets_of(tmp_path) is PRESETS


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(NotFound, match="balanced, broadcast, interactive"):
        find_preset("quick")
