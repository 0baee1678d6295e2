"""Drawn people that talk: random scenes and their frames for any motion.

`Renderer(scene).frame(mouth, cues, emotions, strengths)` draws one frame. The columns of `mouth`
are jaw, width, round, press, teeth and tongue; those of `cues` are blink, gaze_x, gaze_y, brow,
head_x, head_y, head_roll and breath. Only the jaw opens the mouth, in every emotion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import skia

from runtime.values import EMOTIONS
from training.drawing.backgrounds import BACKGROUNDS, SIDE, draw_background
from training.drawing.expression import Expression, express
from training.drawing.eyes import BROWS_Y, EYES_Y, Eyes
from training.drawing.face import Face
from training.drawing.identity import Identity, random_identity
from training.drawing.mouth import FULL_OPENING, MOUTH_Y, Mouth
from training.drawing.painter import Painter
from training.drawing.palettes import PALETTES, Palette

__all__ = [
    "EMOTIONS",
    "DrawnScene",
    "Identity",
    "PlacedPerson",
    "Renderer",
    "random_identity",
    "random_scene",
    "render",
]

Box = tuple[float, float, float, float]
EAR = 6.0  # how far the ears stand out beyond the cheeks, units
SWAY = (2.5, 2.0, 2.5)  # head_x, head_y in pixels of 256, head_roll in degrees, at 1
COVERS_EARS = ("curly", "hijab")
BREATH = 1.4  # pixels of 256
CHIN_OF_TABLES = 67.0  # the chin that clothes.toml is drawn for, units below the origin


@dataclass(frozen=True)
class PlacedPerson:
    """One person and the place: face origin and width of a face unit, as fractions."""

    identity: Identity
    centre_x: float
    centre_y: float
    scale: float


@dataclass(frozen=True)
class DrawnScene:
    """People in a room; `size` is the side of the frames in pixels."""

    size: int
    background: str
    palette: Palette
    seed: int
    placements: tuple[PlacedPerson, ...]

    def boxes(self) -> list[Box]:
        """Face boxes (x, y, width, height), fractions: chin to brow, ear to ear, at rest."""
        return [
            _box(place, place.identity.cheek_width + EAR, BROWS_Y - 7, place.identity.chin_y)
            for place in self.placements
        ]

    def mouth_boxes(self) -> list[Box]:
        """Boxes that hold the mouth even when it is wide open."""
        return [
            _box(place, 30.0, MOUTH_Y - 17, MOUTH_Y + FULL_OPENING + 11)
            for place in self.placements
        ]

    def eye_boxes(self) -> list[Box]:
        """Boxes that hold both eyes and brows in every emotion."""
        return [_box(place, 45.0, BROWS_Y - 18, EYES_Y + 17) for place in self.placements]


def _box(place: PlacedPerson, half_width: float, top: float, bottom: float) -> Box:
    scale = place.scale
    return (
        place.centre_x - half_width * scale,
        place.centre_y + top * scale,
        2 * half_width * scale,
        (bottom - top) * scale,
    )


def random_scene(rng: np.random.Generator, people: int = 1, size: int = 256) -> DrawnScene:
    """One to three random people side by side, in a room whose colours suit them."""
    if people not in (1, 2, 3):
        raise ValueError(f"A scene has 1, 2 or 3 people, not {people!r}.")
    palette = PALETTES[int(rng.integers(len(PALETTES)))]
    background = str(rng.choice(BACKGROUNDS))
    first = int(rng.integers(len(palette.clothes)))
    placements = []
    for index in range(people):
        identity = random_identity(rng, palette, first + index)
        placements.append(_place(rng, identity, index, people))
    return DrawnScene(size, background, palette, int(rng.integers(2**31)), tuple(placements))


def _place(rng: np.random.Generator, identity: Identity, index: int, people: int) -> PlacedPerson:
    """A place for person `index`; `low` and `high` are the width of a head, ear to ear."""
    low, high = {1: (0.43, 0.455), 2: (0.335, 0.36), 3: (0.25, 0.265)}[people]
    head = 2 * (identity.cheek_width + EAR)
    scale = rng.uniform(low, high) / head
    wobble = {1: 0.03, 2: 0.012, 3: 0.006}[people]
    middle = {1: (0.5,), 2: (0.272, 0.728), 3: (0.18, 0.5, 0.82)}[people][index]
    centre_y = rng.uniform(0.475, 0.505) + {1: 0.0, 2: 0.03, 3: 0.06}[people]
    return PlacedPerson(identity, middle + rng.uniform(-wobble, wobble), centre_y, scale)


class Person:
    """Draws one person. Parts that only move as a whole are recorded once and played back."""

    def __init__(self, placement: PlacedPerson, size: int) -> None:
        identity = placement.identity
        self._place = placement
        self._size = size
        self._unit = placement.scale * size
        self._identity = identity
        rng = np.random.default_rng(int(identity.cheek_width * 1e6) % 2**31)  # scatters curls
        self._painter = Painter(vars(identity), rng)
        self._face = Face(identity, self._painter)
        self._eyes = Eyes(identity, self._painter)
        self._mouth = Mouth(identity, self._painter)
        self._hair_back = self._picture(f"hair.{identity.hair}.back")
        self._hair_front = self._picture(f"hair.{identity.hair}.front")
        self._body = _recorded(self._draw_body)
        self._ears = self._picture("face.ears")
        self._marks = self._picture("face.marks")
        self._nose = self._picture(f"nose.{identity.nose}")
        self._glasses = self._picture(f"glasses.{identity.glasses}")

    def _picture(self, part: str) -> skia.Picture:
        """A part of the tables; nothing if there is no such part, as for a bald head."""
        if not self._painter.has(part):
            return _recorded(lambda _: None)
        return _recorded(lambda canvas: self._painter.draw(canvas, part))

    def _draw_body(self, canvas: skia.Canvas) -> None:
        """Neck, garment and the ends of a headscarf at the head's rest position."""
        canvas.save()
        canvas.translate(0, self._identity.chin_y - CHIN_OF_TABLES)
        for part in ("body.neck", f"clothes.{self._identity.clothes}", "body.sleeves"):
            self._painter.draw(canvas, part)
        canvas.restore()
        if self._identity.hair == "hijab":
            self._painter.draw(canvas, "scarf_over_shoulders")

    def draw(self, canvas: skia.Canvas, e: Expression) -> None:
        """Draws the person on a canvas whose unit is the pixel."""
        pixel = self._size / SIDE / self._unit  # one pixel of a picture of 256, in face units
        canvas.save()
        canvas.translate(self._place.centre_x * self._size, self._place.centre_y * self._size)
        canvas.scale(self._unit, self._unit)
        self._in_head(canvas, e, pixel, lambda: canvas.drawPicture(self._hair_back))
        canvas.save()
        canvas.translate(0, -BREATH * pixel * e.breath)
        canvas.drawPicture(self._body)
        canvas.restore()
        self._in_head(canvas, e, pixel, lambda: self._head(canvas, e, pixel))
        canvas.restore()

    def _in_head(
        self, canvas: skia.Canvas, e: Expression, pixel: float, draw: Callable[[], None]
    ) -> None:
        canvas.save()
        canvas.translate(SWAY[0] * pixel * e.head_x, SWAY[1] * pixel * e.head_y)
        canvas.rotate(SWAY[2] * e.head_roll, 0, 70)
        draw()
        canvas.restore()

    def _head(self, canvas: skia.Canvas, e: Expression, pixel: float) -> None:
        near = (0.7 * pixel * e.head_x, 0.6 * pixel * e.head_y)
        if self._identity.hair not in COVERS_EARS:
            canvas.drawPicture(self._ears)
        self._face.draw_skin(canvas, e)
        canvas.save()
        canvas.translate(*near)
        canvas.drawPicture(self._marks)
        self._face.draw_blush(canvas, e)
        canvas.save()
        canvas.translate(0, MOUTH_Y)
        self._mouth.draw(canvas, e)
        canvas.restore()
        self._face.draw_beard_on_lip(canvas, e)
        canvas.save()
        canvas.translate(0, EYES_Y)
        self._eyes.draw(canvas, e)
        canvas.restore()
        canvas.translate(0.6 * near[0], 0.6 * near[1])
        canvas.drawPicture(self._nose)
        canvas.restore()
        canvas.drawPicture(self._hair_front)
        canvas.translate(near[0], EYES_Y + near[1])
        self._eyes.draw_brows(canvas, e)
        canvas.drawPicture(self._glasses)


def _recorded(draw: Callable[[skia.Canvas], None]) -> skia.Picture:
    """What `draw` draws, recorded once to be played back fast."""
    recorder = skia.PictureRecorder()
    draw(recorder.beginRecording(skia.Rect.MakeLTRB(-400, -400, 400, 500)))
    return recorder.finishRecordingAsPicture()


class Renderer:
    """Draws frames of one scene; the background is drawn once."""

    def __init__(self, scene: DrawnScene) -> None:
        self.scene = scene
        size = scene.size
        self._buffer = np.zeros((size, size, 4), np.uint8)
        self._surface = skia.Surface(self._buffer, colorType=skia.kRGBA_8888_ColorType)
        self._people = [Person(place, size) for place in scene.placements]
        canvas = self._surface.getCanvas()
        canvas.save()
        canvas.scale(size / SIDE, size / SIDE)
        draw_background(canvas, scene.background, scene.palette, scene.seed)
        canvas.restore()
        self._surface.flushAndSubmit()
        self._background = self._buffer.copy()

    def frame(
        self,
        mouth: npt.NDArray[np.floating],
        cues: npt.NDArray[np.floating],
        emotions: Sequence[str] | npt.NDArray[np.floating],
        strengths: Sequence[float] | npt.NDArray[np.floating],
    ) -> npt.NDArray[np.uint8]:
        """The frame (size, size, 3) for mouth (P, 6), cues (P, 8), emotions and strengths (P,).

        Emotions are names or weights (P, 5) in the order of EMOTIONS; strengths are 0..1.
        """
        count = len(self._people)
        found = (len(mouth), len(cues), len(emotions), len(strengths))
        if found != (count,) * 4:
            raise ValueError(
                f"Mouth, cues, emotions and strengths have {found} rows, but the scene has {count} "
                "people. Give one row of each for each person."
            )
        self._buffer[:] = self._background
        canvas = self._surface.getCanvas()
        for person, row in zip(
            self._people, zip(mouth, cues, emotions, strengths, strict=True), strict=True
        ):
            person.draw(canvas, express(*row))
        self._surface.flushAndSubmit()
        return self._buffer[:, :, :3].copy()

    def frames(
        self,
        mouth: npt.NDArray[np.floating],
        cues: npt.NDArray[np.floating],
        emotions: Sequence[str],
        strengths: Sequence[float] | npt.NDArray[np.floating],
    ) -> npt.NDArray[np.uint8]:
        """Frames (F, size, size, 3) of motion (F, P, 6) and (F, P, 8) with constant emotions."""
        rows = zip(mouth, cues, strict=True)
        return np.stack([self.frame(m, c, emotions, strengths) for m, c in rows])


def render(
    scene: DrawnScene,
    mouth: npt.NDArray[np.floating],
    cues: npt.NDArray[np.floating],
    emotion: Sequence[str] | npt.NDArray[np.floating],
    strength: Sequence[float] | npt.NDArray[np.floating],
) -> npt.NDArray[np.uint8]:
    """One frame of `scene` (see `Renderer.frame`, which is faster for many)."""
    return Renderer(scene).frame(mouth, cues, emotion, strength)
