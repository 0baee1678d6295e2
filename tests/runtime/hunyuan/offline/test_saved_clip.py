from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime.errors import BadInput
from runtime.hunyuan.offline.sampler import Clip
from runtime.hunyuan.offline.saved_clip import SavedClip
from runtime.hunyuan.offline.schedule import ReleasePlan
from runtime.hunyuan.offline.step_cache import StepCache

PLAN = ReleasePlan.of_clip(129)
SETTINGS = {"seed": "1", "guidance": "7.5"}


def a_clip(step: int) -> Clip:
    return Clip(step, torch.full((1, 4, 33, 2, 2), float(step), dtype=torch.float16))


def cache_of(step: int) -> StepCache:
    cache = StepCache(PLAN, branches=1, frame_tokens=1, device="cpu")
    hidden = torch.full((1, 1 + 33 + 2, 3), float(step))
    cache.store(step, PLAN.windows(step)[0], slice(0, 1), hidden)
    return cache


def empty_cache() -> StepCache:
    return StepCache(PLAN, branches=1, frame_tokens=1, device="cpu")


@pytest.fixture
def saved(tmp_path: Path) -> SavedClip:
    return SavedClip(tmp_path / "a.mp4", SETTINGS, steps=50)


def test_nothing_saved_is_no_clip(saved: SavedClip) -> None:
    assert saved.finished_steps() == 0
    assert saved.load(empty_cache()) is None


def test_the_last_saved_step_comes_back(saved: SavedClip) -> None:
    saved.save(a_clip(1), empty_cache())
    saved.save(a_clip(2), empty_cache())
    clip = saved.load(empty_cache())
    assert clip is not None
    assert clip.step == 2
    assert torch.equal(clip.latents, a_clip(2).latents)


def test_a_cached_step_gets_the_activations_that_it_needs(saved: SavedClip) -> None:
    cache = cache_of(15)
    saved.save(a_clip(16), cache)
    saved.save(a_clip(17), cache)
    restored = empty_cache()
    assert saved.load(restored) is not None
    window = PLAN.windows(17)[0]
    expected = cache.fetch(window, slice(0, 1), torch.device("cpu"))
    assert torch.equal(restored.fetch(window, slice(0, 1), torch.device("cpu")), expected)


def test_without_its_activations_a_cached_step_does_not_go_on(saved: SavedClip) -> None:
    saved.save(a_clip(16), cache_of(15))
    saved.cache.unlink()
    with pytest.raises(BadInput, match=r"a\.mp4\.cache is missing.*Remove .*a\.mp4\.state"):
        saved.load(empty_cache())


def test_activations_of_another_step_are_refused(saved: SavedClip) -> None:
    saved.save(a_clip(16), cache_of(15))
    saved.save(a_clip(22), empty_cache())
    with pytest.raises(BadInput, match=r"is of step 15; step 22 needs the cache of step 20"):
        saved.load(empty_cache())


def test_a_full_step_needs_no_activations(saved: SavedClip) -> None:
    saved.save(a_clip(20), empty_cache())
    assert saved.load(empty_cache()) is not None


def test_other_settings_are_refused_naming_both(saved: SavedClip) -> None:
    saved.save(a_clip(3), empty_cache())
    other = replace(saved, settings={"seed": "2", "guidance": "7.5"})
    with pytest.raises(BadInput, match=r"begun with seed 1; this time it is seed 2\."):
        other.finished_steps()


def test_a_damaged_file_is_named(saved: SavedClip) -> None:
    saved.save(a_clip(3), empty_cache())
    saved.state.write_bytes(saved.state.read_bytes()[:40])
    with pytest.raises(BadInput, match=r"a\.mp4\.state cannot be read"):
        saved.load(empty_cache())


def test_a_write_that_fails_keeps_the_step_before(saved: SavedClip) -> None:
    saved.save(a_clip(3), empty_cache())
    saved.state.with_name("a.mp4.state.part").mkdir()
    with pytest.raises(BadInput, match="cannot be written"):
        saved.save(a_clip(4), empty_cache())
    assert saved.finished_steps() == 3


def test_nothing_is_left_once_it_is_removed(saved: SavedClip) -> None:
    saved.save(a_clip(16), cache_of(15))
    saved.remove()
    assert list(saved.out.parent.iterdir()) == []
