import pytest

from runtime.errors import NotFound
from runtime.stream.presets import PRESETS, StreamPreset, find_preset


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_every_preset_is_a_possible_plan(preset: StreamPreset) -> None:
    assert preset.plan.cost >= preset.steps
    assert find_preset(preset.name) is preset


def test_the_interactive_preset_has_no_lag_and_the_smallest_hop() -> None:
    interactive = find_preset("interactive")
    assert interactive.lag_ms == 0
    assert interactive.hop_ms == 160


def test_presets_trade_work_for_delay() -> None:
    delays = [preset.hop_ms + preset.lag_ms for preset in PRESETS.values()]
    costs = [preset.plan.cost for preset in PRESETS.values()]
    assert delays == sorted(set(delays))
    assert costs == sorted(set(costs), reverse=True)


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(NotFound, match="balanced, broadcast, interactive"):
        find_preset("quick")
