"""How well characters talk, measured from the pixels that the library generates.

Held-out voices say held-out texts. The opening of the mouth in each generated frame
(training/scores/mouth_meter.py) is compared with the jaw curve of the speech. That meter needs a
crisp inside of the mouth; a second measure is how much the mouth's box changes at all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from runtime.character.character import Character
from runtime.character.motion_cues import MOTION_CUES
from runtime.engine.torch_engine import default_engines
from runtime.stream.constants import window_cues
from runtime.stream.generator import StreamingGenerator
from runtime.stream.presets import StreamPreset
from runtime.weights.checkpoint import AvatarModel
from training.drawing.cast import CastMember, cast
from training.drawing.people import Renderer, random_scene
from training.make.characters import draw
from training.scores.mouth_meter import mouth_opening
from training.shipped import CHARACTERS
from training.voices.speech import make_track

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
LARGEST_LAG = 8  # frames, both ways
SHUT_AFTER = 8  # frames at rest before and after a frame that counts as silent
UNSEEN_SEED = 900_000


@dataclass(frozen=True, slots=True)
class Talked:
    """One generated talk: frames, and per speaker the measured opening and the true jaw."""

    frames: Pixels  # (F, H, W, 3)
    rest: Pixels  # (H, W, 3)
    opening: Floats  # (S, F)
    jaw: Floats  # (S, F)
    change: Floats  # (2, F'): of the speaking mouth's box from rest, generated and drawn
    shut_eyes: Floats  # (2,): mean error of shut eyes, generated and in the picture at rest


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over talks; docs/benchmarks.md has the goals."""

    jaw_correlation: float  # at the best lag
    lag_frames: float  # largest |lag| of a talk
    silent_opening: float  # share of the mean opening while speaking
    opening_share: float  # mean opening over what the true jaw would show
    change_correlation: float  # of the mouth's change from rest: generated, true drawing
    change_share: float  # mean change while speaking over that of the true drawing
    shut_eye_error: float  # against the true drawing, as a share of what open eyes would leave
    identity_psnr_db: float  # outside mouths and eyes, against the reference image
    silent_neighbour: float | None = None  # movement of the silent mouth over the speaking one


def talk(
    model: AvatarModel,
    preset: StreamPreset,
    member: CastMember,
    character: Character,
    seconds: float,
    seed: int,
    speaking: int = 0,
) -> Talked:
    """One speaker of a character says held-out text; the others are silent."""
    pcm, mouth = make_track(np.random.default_rng(seed), seconds, "test", silent_share=0.0)
    stream = StreamingGenerator(model, character, preset, seed, engines=default_engines(model))
    stream.push(character.speaker_ids[speaking], pcm)
    frames = np.stack([frame.pixels for frame in stream.flush()])
    rest = character.picture.pixels
    opening = np.stack([mouth_opening(frames, box, rest) for box in member.scene.mouth_boxes()])
    jaw = np.zeros_like(opening)
    count = min(len(mouth), opening.shape[1])
    jaw[speaking, :count] = mouth[:count, 0]
    drawn = draw_talk(member, speaking, mouth[:count])
    box = member.scene.mouth_boxes()[speaking]
    change = np.stack([mouth_change(each, rest, box) for each in (frames[:count], drawn)])
    return Talked(frames, rest, opening, jaw, change, shut_eyes(member, frames, rest, seed))


def draw_talk(member: CastMember, speaking: int, mouth: Floats) -> Pixels:
    """The true drawings (F, H, W, 3) of one speaker's mouth curves (F, 6), heads held still."""
    renderer, people = Renderer(member.scene), len(member.speaker_ids)
    mouths = np.zeros((len(mouth), people, mouth.shape[1]), np.float32)
    mouths[:, speaking] = mouth
    still = np.zeros((len(mouth), people, len(MOTION_CUES)), np.float32)
    return renderer.frames(mouths, still, ["neutral"] * people, np.ones(people))


def shut_eyes(member: CastMember, frames: Pixels, rest: Pixels, seed: int) -> Floats:
    """Mean absolute error (2,) in the eyes' boxes against the true drawing, in levels.

    Of the frames generated from that seed, and of the picture at rest, in frames with a blink.
    """
    people = len(member.speaker_ids)
    cues = window_cues(seed, people, range(len(frames)))
    shut = np.flatnonzero((cues[..., MOTION_CUES.index("blink")] > 0.5).any(0))
    mouths = np.zeros((len(shut), people, 6), np.float32)
    drawn = Renderer(member.scene).frames(
        mouths, cues[:, shut].transpose(1, 0, 2), ["neutral"] * people, np.ones(people)
    )
    size, errors = rest.shape[0], []
    for box in member.scene.eye_boxes():
        x, y, w, h = (round(v * size) for v in box)
        where = np.s_[..., y : y + h, x : x + w, :]
        true = drawn[where].astype(np.float32)
        errors.append([np.abs(each[where] - true).mean() for each in (frames[shut], rest)])
    return np.asarray(np.mean(errors, axis=0), np.float32)


def mouth_change(frames: Pixels, rest: Pixels, box: tuple[float, float, float, float]) -> Floats:
    """Mean absolute difference (F,) of the mouth's box from the picture at rest, in levels."""
    size = rest.shape[0]
    x, y, w, h = (round(v * size) for v in box)
    where = np.s_[..., y : y + h, x : x + w, :]
    difference = np.abs(frames[where].astype(np.float32) - rest[where])
    return np.asarray(difference.mean((1, 2, 3)), np.float32)


def best_lag(opening: Floats, jaw: Floats) -> tuple[int, float]:
    """The lag in frames (above 0: the mouth is late) of the highest correlation, and the latter."""
    scores = {}
    for lag in range(-LARGEST_LAG, LARGEST_LAG + 1):
        late = opening[max(0, lag) : len(opening) + min(0, lag)]
        true = jaw[max(0, -lag) : len(jaw) + min(0, -lag)]
        if late.std() > 1e-6 and true.std() > 1e-6:
            scores[lag] = float(np.corrcoef(late, true)[0, 1])
    lag = max(scores, key=lambda k: scores[k], default=0)
    return lag, scores.get(lag, 0.0)


def silent_frames(jaw: Floats) -> NDArray[np.bool_]:
    """Frames (F,) around which the jaw is at rest for SHUT_AFTER frames on both sides."""
    moving = np.convolve(jaw > 0.01, np.ones(2 * SHUT_AFTER + 1), "same") > 0
    return np.asarray(~moving)


def outside_psnr(talked: Talked, member: CastMember) -> float:
    """PSNR in dB of everything but mouths and eyes against the picture at rest."""
    size = talked.rest.shape[0]
    keep = np.ones((size, size), bool)
    for x, y, w, h in (*member.scene.mouth_boxes(), *member.scene.eye_boxes()):
        keep[int(y * size) : int((y + h) * size) + 1, int(x * size) : int((x + w) * size) + 1] = (
            False
        )
    error = talked.frames[:, keep].astype(np.float32) - talked.rest[keep].astype(np.float32)
    return float(10 * np.log10(255.0**2 / max(np.square(error).mean(), 1e-9)))


def judge(talks: list[tuple[CastMember, Talked, int]]) -> Quality:
    """The quality of talks, each a member of the cast, the talk and the speaker's index."""
    correlations, lags, silent, spoken, shares, psnrs, neighbours = [], [], [], [], [], [], []
    alike, sizes = [], []
    for member, talked, speaking in talks:
        opening, jaw = talked.opening[speaking], talked.jaw[speaking]
        lag, correlation = best_lag(opening, jaw)
        at_rest, open_jaw = silent_frames(jaw), jaw > 0.1
        correlations.append(correlation)
        lags.append(abs(lag))
        silent.append(float(opening[at_rest].mean()) if at_rest.any() else 0.0)
        spoken.append(float(opening[open_jaw].mean()))
        shares.append(float(opening[open_jaw].mean() / jaw[open_jaw].mean()))
        made, drawn = talked.change
        alike.append(float(np.corrcoef(made, drawn)[0, 1]))
        while_open = open_jaw[: len(drawn)]
        sizes.append(float(made[while_open].mean() / drawn[while_open].mean()))
        psnrs.append(outside_psnr(talked, member))
        for other in range(len(talked.opening)):
            if other != speaking:
                moved = talked.opening[other].std() / max(float(opening.std()), 1e-6)
                neighbours.append(float(moved))
    return Quality(
        jaw_correlation=float(np.mean(correlations)),
        lag_frames=float(max(lags)),
        silent_opening=float(float(np.mean(silent)) / max(float(np.mean(spoken)), 1e-6)),
        opening_share=float(np.mean(shares)),
        change_correlation=float(np.mean(alike)),
        change_share=float(np.mean(sizes)),
        shut_eye_error=float(np.mean([t.shut_eyes[0] / t.shut_eyes[1] for _, t, _ in talks])),
        identity_psnr_db=float(np.mean(psnrs)),
        silent_neighbour=float(np.mean(neighbours)) if neighbours else None,
    )


def unseen(people: int, count: int) -> list[CastMember]:
    """Characters that the model was not trained on."""
    return [
        CastMember(
            f"unseen-{people}-{i}",
            f"Unseen {i}",
            random_scene(np.random.default_rng(UNSEEN_SEED + 10 * i + people), people),
            tuple(f"s{p}" for p in range(people)),
            tuple(f"S{p}" for p in range(people)),
        )
        for i in range(count)
    ]


def run(
    model: AvatarModel, preset: StreamPreset, seconds: float, singles: int, pairs: int
) -> dict[str, dict[str, float | None]]:
    """Quality of the cast and of unseen characters, singles and pairs."""
    members = cast()
    rows: dict[str, dict[str, float | None]] = {}
    with TemporaryDirectory() as folder:
        groups = {
            "cast, single": members[:24][:: max(1, 24 // singles)][:singles],
            "cast, pairs": members[24:][:pairs],
            "unseen, single": unseen(1, singles),
            "unseen, pairs": unseen(2, pairs),
        }
        for name, group in groups.items():
            talks = []
            for number, member in enumerate(group):
                character = _character(member, Path(folder))
                speaking = number % len(member.speaker_ids)
                talked = talk(model, preset, member, character, seconds, 31 + number, speaking)
                talks.append((member, talked, speaking))
            rows[name] = asdict(judge(talks))
    return rows


def _character(member: CastMember, scratch: Path) -> Character:
    shipped = CHARACTERS / member.id
    if shipped.exists():
        return Character.load(shipped)
    draw(member, scratch / member.id)
    return Character.load(scratch / member.id)
