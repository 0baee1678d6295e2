"""The five properties of the streaming schedule, over many windows, hops, shifts and steps."""

import itertools

import pytest

from runtime.audio.windows import needed_samples
from runtime.errors import BadInput
from runtime.models.dit.config import RELEASED, TINY
from runtime.stream.constants import newest_frames
from runtime.stream.schedule import WindowPlan

PLANS = [
    WindowPlan(window, hop, shift, steps)
    for window, shift, steps in itertools.product((1, 2, 3, 5, 9), (0, 1, 2, 4, 10), (1, 2, 3, 5))
    for hop in range(1, window + 1)
]
TICKS = 12


def positions(plan: WindowPlan) -> range:
    return range(0, TICKS * plan.hop, plan.hop)


def test_every_latent_frame_passes_every_level_once_and_in_order() -> None:
    for plan in PLANS:
        level: dict[int, int] = {}
        for at, step in itertools.product(positions(plan), range(plan.steps)):
            for latent in plan.tick(at).steps[step].updated:
                if latent >= 0:
                    assert level.get(latent, 0) == step
                    level[latent] = step + 1
        final = plan.tick(positions(plan)[-1]).final_before
        assert all(level[latent] == plan.steps for latent in range(final))


def test_the_context_has_reached_the_level_of_its_window() -> None:
    for plan in PLANS:
        reached = [0] * (plan.steps + 1)  # latent frames below reached[k] have a level-k value
        for at, step in itertools.product(positions(plan), range(plan.steps)):
            if step > 0:
                assert plan.tick(at).steps[step].window.stop <= max(0, reached[step])
            reached[step + 1] = plan.tick(at).steps[step].updated.stop


def test_windows_have_one_length_and_end_with_what_they_move() -> None:
    for plan in PLANS:
        for at, step in itertools.product(positions(plan), range(plan.steps)):
            call = plan.tick(at).steps[step]
            assert (len(call.window), len(call.updated)) == (plan.window, plan.hop)
            assert call.window.stop == call.updated.stop


def test_a_tick_needs_no_audio_beyond_its_newest_latent_frame() -> None:
    for plan in PLANS:
        for at, step in itertools.product(positions(plan), range(plan.steps)):
            tick = plan.tick(at)
            assert newest_frames(tick.steps[step].window, 1).stop - 1 <= 4 * tick.audio[-1]
            assert tick.needed_samples == needed_samples(tick.audio[-1])


def test_a_tick_has_the_audio_of_all_its_windows() -> None:
    for plan in PLANS:
        for at in positions(plan):
            tick = plan.tick(at)
            windows = {n for call in tick.steps for n in call.window if n >= 0}
            assert windows <= set(tick.audio)


def test_the_lag_is_known_beforehand_and_constant() -> None:
    for plan in PLANS:
        for at in positions(plan):
            tick = plan.tick(at)
            assert tick.audio.stop - tick.final_before == plan.lag
            assert tick.final_before == tick.steps[-1].updated.stop


def test_no_window_reaches_further_back_than_announced() -> None:
    for plan in PLANS:
        for at in positions(plan):
            later = itertools.product((at, at + plan.hop, at + 5 * plan.hop), range(plan.steps))
            oldest = min(plan.tick(then).steps[step].window.start for then, step in later)
            assert at - plan.tick(at).reach == oldest


@pytest.mark.parametrize(("length", "window", "shift", "steps"), [(60, 5, 2, 4), (99, 9, 3, 5)])
def test_with_hop_equal_window_it_is_the_papers_fusion_far_from_the_ends(
    length: int, window: int, shift: int, steps: int
) -> None:
    plan = WindowPlan(window, window, shift, steps)
    for step in range(steps):
        ours = {plan.tick(at).steps[step].window.start for at in range(0, length, window)}
        paper = {start - step * shift for start in range(0, length, window)}
        assert ours == paper


def test_a_window_has_the_audio_of_the_last_frames_of_its_latent_frames() -> None:
    assert list(newest_frames(range(0, 3), 9)) == list(range(0, 9))
    assert list(newest_frames(range(7, 9), 5)) == [28, 29, 30, 31, 32]
    assert list(newest_frames(range(7, 9), 8)) == list(range(25, 33))
    assert list(newest_frames(range(-2, 0), 5)) == [-8, -7, -6, -5, -4]


def test_a_model_with_frame_maps_hears_four_frames_of_the_first_latent_frame_too() -> None:
    assert RELEASED.audio_frame_count(3) == 9
    assert TINY.audio_frame_count(3) == 12


@pytest.mark.parametrize("bad", [(3, 0, 0, 3), (3, 4, 0, 3), (3, 1, -1, 3), (3, 1, 0, 0)])
def test_impossible_plans_are_refused(bad: tuple[int, int, int, int]) -> None:
    with pytest.raises(BadInput, match="use "):
        WindowPlan(*bad)
