"""A whole released folder, of tiny width, makes videos."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from runtime.errors import BadInput
from runtime.hunyuan.encoders.preprocess import Size
from runtime.hunyuan.encoders.prompts import Prompts
from runtime.hunyuan.offline.job import Progress, make_clips
from runtime.hunyuan.offline.sampler import OfflineSettings
from runtime.hunyuan.weights.lora import Lora
from tests.support.models.small_world import BOXES, babble
from tests.support.released.released_world import ReleasedWorld
from tests.support.wav_files import write_wav

pytestmark = pytest.mark.slow


class Reports(list[Progress]):
    """Notes how far the work is; after `most` samplings it stops it, as a crash would."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self.most = most

    def __call__(self, progress: Progress) -> None:
        self.append(progress)
        if sum(one.stage == "sampling" for one in self) == self.most:
            raise KeyboardInterrupt

    def of(self, stage: str) -> list[Progress]:
        return [one for one in self if one.stage == stage]


def silent(_: Progress) -> None:
    """Reports to nobody."""


def pictures(file: Path) -> np.ndarray:
    with av.open(str(file)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def seconds(file: Path) -> tuple[float, float]:
    """How long pictures and sound last."""
    with av.open(str(file)) as video:
        streams = (video.streams.video[0], video.streams.audio[0])
        pictures, sound = (float(stream.duration * stream.time_base) for stream in streams)
    return pictures, sound


def made(world: ReleasedWorld, out: Path, **changes: object) -> np.ndarray:
    make_clips([world.job(out, **changes)], world.choice, silent)
    return pictures(out)


def test_a_picture_and_a_voice_become_a_video(
    released_world: ReleasedWorld, tmp_path: Path
) -> None:
    reports = Reports()
    make_clips([released_world.job(tmp_path / "a.mp4")], released_world.choice, reports)
    assert pictures(tmp_path / "a.mp4").shape == (12, 64, 64, 3)
    assert seconds(tmp_path / "a.mp4") == pytest.approx((0.48, 0.48), abs=0.05)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert [(one.done, one.total) for one in reports.of("sampling")] == [
        (0, 3),
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    assert reports[-1].done == reports[-1].total == 12


def test_a_crash_changes_nothing(released_world: ReleasedWorld, tmp_path: Path) -> None:
    whole = made(released_world, tmp_path / "whole.mp4")
    job = released_world.job(tmp_path / "cut.mp4")
    with pytest.raises(KeyboardInterrupt):
        make_clips([job], released_world.choice, Reports(most=3))
    again = Reports()
    make_clips([job], released_world.choice, again)
    assert again.of("sampling")[0].done == 2
    assert np.array_equal(pictures(job.out), whole)


def test_a_clip_begun_with_other_settings_is_refused(
    released_world: ReleasedWorld, tmp_path: Path
) -> None:
    job = released_world.job(tmp_path / "a.mp4")
    with pytest.raises(KeyboardInterrupt):
        make_clips([job], released_world.choice, Reports(2))
    other = replace(job, seed=5, prompts=Prompts("A cat."))
    with pytest.raises(BadInput, match=r"begun with prompt .*, seed 128; this time it is prompt"):
        make_clips([other], released_world.choice, silent)


def test_low_memory_gives_the_same_video(released_world: ReleasedWorld, tmp_path: Path) -> None:
    usual = made(released_world, tmp_path / "a.mp4")
    job = released_world.job(tmp_path / "b.mp4")
    make_clips([job], replace(released_world.choice, low_memory=True), silent)
    difference = np.abs(pictures(tmp_path / "b.mp4").astype(int) - usual)
    assert difference.mean() < 0.5  # float32 sums of other order, rounded, and a codec


def test_two_voices_last_as_long_as_the_longer(
    released_world: ReleasedWorld, tmp_path: Path
) -> None:
    voices = tuple(released_world.folder / f"{name}.wav" for name in "ab")
    assert len(made(released_world, tmp_path / "a.mp4", voices=voices, faces=BOXES)) == 15


def test_the_picture_has_any_size_of_multiples_of_16(
    released_world: ReleasedWorld, tmp_path: Path
) -> None:
    assert made(released_world, tmp_path / "a.mp4", size=Size(96, 64)).shape[1:3] == (64, 96)
    with pytest.raises(BadInput, match="multiples of 16"):
        made(released_world, tmp_path / "a.mp4", size=Size(100, 64))


@pytest.mark.slow
def test_more_than_16_s_are_used_to_their_end_at_half_the_frame_rate(
    released_world: ReleasedWorld, tmp_path: Path
) -> None:
    write_wav(tmp_path / "long.wav", babble(16.5), 16_000)
    out = tmp_path / "a.mp4"
    video = made(
        released_world,
        out,
        voices=(tmp_path / "long.wav",),
        fps=12.5,
        sampling=OfflineSettings(steps=1, guidance_scale=1),
    )
    assert len(video) == 206
    assert seconds(out) == pytest.approx((16.48, 16.48), abs=0.05)


def test_several_jobs_share_one_loaded_model(released_world: ReleasedWorld, tmp_path: Path) -> None:
    jobs = [released_world.job(tmp_path / f"{seed}.mp4", seed=seed) for seed in (1, 2)]
    make_clips(jobs, released_world.choice, silent)
    assert not np.array_equal(pictures(tmp_path / "1.mp4"), pictures(tmp_path / "2.mp4"))


def test_mistakes_of_any_job_are_errors_before_the_first_step(
    released_world: ReleasedWorld, tmp_path: Path
) -> None:
    good = released_world.job(tmp_path / "a.mp4")
    reports = Reports()
    for bad, message in (
        (replace(good, out=tmp_path / "b.mp4", image=tmp_path / "gone.png"), "gone.png"),
        (replace(good, out=tmp_path / "b.mp4", voices=(tmp_path / "gone.wav",)), "gone.wav"),
        (replace(good, out=tmp_path / "gone" / "b.mp4"), "There is no folder"),
        (good, "Two jobs write"),
    ):
        with pytest.raises(BadInput, match=message):
            make_clips([good, bad], released_world.choice, reports)
    assert not reports.of("sampling")


def test_a_lora_is_among_the_settings(released_world: ReleasedWorld, tmp_path: Path) -> None:
    choice = replace(released_world.choice, loras=(Lora(tmp_path / "gone.safetensors"),))
    with pytest.raises(BadInput, match=r"There is no file .*gone\.safetensors"):
        make_clips([released_world.job(tmp_path / "a.mp4")], choice, silent)
